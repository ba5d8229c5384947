"""Whether a run's figures say something of the schemes, or of the machine that it ran on.

Rules of this file: it is the one place where that is decided, from what the manifest and the lag logs hold, for rounds and load
tests alike. A run that is not valid says why, and shows no comparison: in the terminal, the summary, the report and on the board.
What a manifest does not hold is no reason, but for what it says itself should have been measured.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

LATENESS_BOUND = 0.005  # seconds, p99 of the links' changes of state
LATE_AS = {
    "worked": "as the carrier had too many packets to carry",
    "waited": "as others had the processors",
    "slept": "as the machine itself stood still: its hypervisor let others run",
}
LAG_BOUND = 0.020  # seconds, p99 of those who render: one who is starved invents stalls
BUSY_BOUND = 0.85  # share of the processors that the lab keeps busy; beyond, what arrives waits for relays and switches
PROCESS_BOUND = 0.95  # of one processor, which is all that a relay, a switch's thread or a carrier can use
SECONDS_BOUND = 0.05  # share of the seconds in which a thread kept a processor busy, or waited for one
LOSSES = {
    "socket_losses": "in full socket buffers",
    "device_drops": "at devices that nobody emptied in time",
    "queue_drops": "in the kernel's queues",
}
THROTTLED_BOUND = 0.01  # share of the time for which a control group denied processors, all of them added up
MOST_NAMED = 3  # of those whom one cause befell
STEAL_WARNING = 0.05  # share of the processor time that a hypervisor takes, from which one has to look at the rest
STEAL_BOUND = 0.10  # share from which what nobody measured has waited too


def flaws(
    made: Mapping[str, Any], *, lag_p99_s: Mapping[str, float], node_lag_p99_s: Mapping[str, float] | None = None
) -> tuple[str, ...]:
    """Return why a run is not valid; nothing for one that is.

    Args:
        made: The manifest. Of it counts what is there: `lateness`, `processor`, `processors`, `processors_used`, `threads`,
            `throttled`, `socket_losses`, `device_drops`, `queue_drops`, `unmeasured`.
        lag_p99_s: 99th percentile of the lag of each of those who render, in seconds: one who is starved is not made up for by the
            others, however many they are.
        node_lag_p99_s: The same of relays, token server and link probe.
    """
    return (
        *_late(made),
        *_lagging(lag_p99_s, node_lag_p99_s or {}),
        *_unmeasured(made),
        *_busy(made),
        *_denied(made),
        *_lost(made),
    )


def _late(made: Mapping[str, Any]) -> Iterator[str]:
    late = _number(made, "lateness", "p99_s")
    if late is not None and late > LATENESS_BOUND:
        yield (
            f"the links changed their state late, by {late * 1e3:.1f} ms at p99: more than {LATENESS_BOUND * 1e3:g} ms"
            + _why_late(_mapping(made, "lateness"))
        )


def _why_late(lateness: Mapping[str, Any]) -> str:
    """Return what made the changes late, where the carrier told."""
    told = _many(lateness, "late")
    causes = ", ".join(f"{count} {LATE_AS[cause]}" for cause, count in told.items() if cause in LATE_AS)
    return f" (of {lateness.get('instants')} instants, {causes})" if causes else ""


def _lagging(lags: Mapping[str, float], node_lags: Mapping[str, float]) -> Iterator[str]:
    if starved := _starved(lags):
        yield f"{starved[0]} who render {starved[1]}: they are starved, and some of the stalls are their own"
    if starved := _starved(node_lags):
        yield f"{starved[0]} relays and servers {starved[1]}: they are starved, and some of the stalls are theirs"


def _unmeasured(made: Mapping[str, Any]) -> Iterator[str]:
    unmeasured = made.get("unmeasured")
    for what in unmeasured if isinstance(unmeasured, list) else ():
        yield f"{what} was not measured"


def _busy(made: Mapping[str, Any]) -> Iterator[str]:
    used = {name: share for name, share in _mapping(made, "processors_used").items() if isinstance(share, int | float)}
    processors = _number(made, "processors")
    if processors is not None and sum(used.values()) > BUSY_BOUND * processors:
        yield (
            f"the lab used {sum(used.values()):.2f} of {processors:g} processors: tokens waited for its relays and switches"
        )
    for name, share in used.items():
        if share > PROCESS_BOUND:
            yield f"{name} kept a whole processor busy ({share:.0%}), and what it serves waited for it"
    seconds = _number(made, "threads", "seconds") or 0.0
    if full := _many(_mapping(made, "threads"), "full", more_than=SECONDS_BOUND * seconds):
        yield f"a whole processor was kept busy, and what was served there waited, in so many of {seconds:g} s: {_most(full)}"


def _denied(made: Mapping[str, Any]) -> Iterator[str]:
    """Yield who else had the processors."""
    seconds = _number(made, "threads", "seconds") or 0.0
    if waiting := _many(_mapping(made, "threads"), "starved", more_than=SECONDS_BOUND * seconds):
        yield (
            f"other work of this machine came first, and so many of {seconds:g} s long had to wait for a processor:"
            f" {_most(waiting)}"
        )
    throttled, of_s = _number(made, "throttled", "for_s") or 0.0, _number(made, "throttled", "of_s") or 0.0
    if throttled > THROTTLED_BOUND * of_s:
        yield (
            f"a control group's processor limit (such as of docker run --cpus) stopped the lab for {throttled:.1f} s of"
            f" {of_s:.0f} s, whatever the machine had left"
        )
    stolen = _number(made, "processor", "stolen")
    if stolen is not None and stolen > STEAL_BOUND:
        yield f"the hypervisor took {stolen:.0%} of this machine's processor time: more than {STEAL_BOUND:.0%}"


def _lost(made: Mapping[str, Any]) -> Iterator[str]:
    for key, where in LOSSES.items():
        if losses := _many(made, key):
            yield f"packets were lost {where}, which no link has done: {_most(losses)}"


def _starved(lags: Mapping[str, float]) -> tuple[str, str] | None:
    """Return how many of them lag, and by how much; None where all keep up."""
    starved = {who: lag for who, lag in lags.items() if lag > LAG_BOUND}
    if not starved:
        return None
    most = max(starved, key=starved.__getitem__)
    lagged = f"lagged by more than {LAG_BOUND * 1e3:g} ms at p99, {most} by {starved[most] * 1e3:.0f} ms"
    return f"{len(starved)} of {len(lags)}", lagged


def _many(made: Mapping[str, Any], key: str, *, more_than: float = 0.0) -> dict[str, int]:
    """Return who has a count above a bound, the highest first."""
    counts = {who: count for who, count in _mapping(made, key).items() if isinstance(count, int) and count > more_than}
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def _most(counts: Mapping[str, int]) -> str:
    named = [f"{who} {count}" for who, count in islice(counts.items(), MOST_NAMED)]
    others = [f"and {len(counts) - MOST_NAMED} more"] if len(counts) > MOST_NAMED else []
    return ", ".join((*named, *others))


def _mapping(made: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = made.get(key)
    return found if isinstance(found, Mapping) else {}


def _number(made: Mapping[str, Any], *keys: str) -> float | None:
    value: Any = made
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
