"""What a report says in words: its headline, why it may be less than it seems, and how the run was made."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from eloquent.report.figures import RelativeStallRatio, SchemeFigures, Summary
from eloquent.report.run_data import RunData
from eloquent.report.styles import label, printable

HERO = "eloquent"
_TOLD_ELSEWHERE = {
    "scenario",
    "seed",
    "schemes",
    "carrier",
    "datapath",
    "runs",
    "topology",
    "prometheus_port",
    "first_client",
}


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of how a run was made.

    Attributes:
        name: What it is.
        value: What it was.
    """

    name: str
    value: str


def headline(run: RunData) -> str:
    """Return the run's result in one sentence."""
    summary = run.summary
    measured = {name: one for name, one in summary.schemes.items() if one.stall_ratio is not None}
    if not measured:
        return "No session of this run ended well, so there is nothing to compare."
    if not summary.is_valid:
        return "This run is not valid: the machine did not keep up, so nothing is compared."
    name, figures = _hero(summary, measured)
    stalled = f"{label(name)} stalled {share(figures.stall_ratio)} of the time"
    relative = figures.relative_stall_ratio
    if relative is not None:
        theirs = share(summary.schemes[relative.baseline].stall_ratio)
        return f"{stalled}, {label(relative.baseline)} {theirs}: {_change(relative, pairs(run, name))}."
    others = [f"{label(other)} {share(one.stall_ratio)}" for other, one in measured.items() if other != name]
    if others:
        return f"{stalled}, {', '.join(others)}."
    low, high = figures.stall_ratio_ci95 or (None, None)
    interval = f" [{_number(low)}..{_number(high)}]" if low is not None and high is not None else ""
    return f"{stalled}{interval}, over {_count(figures.sessions, 'session')}."


def pairs(run: RunData, scheme: str) -> int:
    """Return how many sessions of a scheme have a counterpart of the baseline: same client, same round, both ended well."""
    baseline = next(iter(run.summary.schemes))
    theirs = {(one.row.client, one.row.round) for one in run.of(baseline)}
    return sum((one.row.client, one.row.round) in theirs for one in run.of(scheme))


def shortcomings(run: RunData) -> list[str]:
    """Return why the run is not whole; nothing for one that is."""
    found = []
    if run.note("partial") not in (None, False):
        found.append("the run itself says that it ended before its time")
    if not run.logged:
        found.append("no session was logged")
    elif run.note("options") is not None and run.note("lateness") is None:
        found.append("the rounds did not end as planned: what was to be measured after them is missing")
    options = run.note("options")
    if isinstance(options, Mapping) and all(isinstance(options.get(key), int) for key in ("clients", "rounds")):
        asked = options["clients"] * options["rounds"] * len(run.manifest.schemes)
        if len(run.logged) < asked:
            found.append(f"{len(run.logged)} of {_count(asked, 'session')} asked for were logged")
    failed = {label(name): one.failed for name, one in run.summary.schemes.items() if one.failed}
    if failed:
        counts = ", ".join(f"{name} {count}" for name, count in failed.items())
        found.append(f"failed sessions enter no figure, which flatters a scheme that has some: {counts}")
    return found


def warnings(run: RunData) -> list[str]:
    """Return the run's own warnings."""
    found = run.note("warnings")
    return [printable(str(one)) for one in found] if isinstance(found, list) else []


def facts(run: RunData) -> dict[str, list[Fact]]:
    """Return how the run was made, in groups; what the manifest does not tell is left out."""
    groups = {
        "asked for": list(_asked(run)),
        "made of": list(_machine(run)),
        "how well it was run": list(_quality(run)),
        "versions": [
            Fact(printable(str(name)), printable(str(version)))
            for name, version in _mapping(run.note("versions")).items()
            if version is not None
        ],
    }
    return {name: group for name, group in groups.items() if group}


def self_tests(run: RunData) -> list[tuple[str, str, str, str, str]]:
    """Return of each link: its name, the RTT measured and expected, the loss in the bad state measured and expected."""
    links, rows = run.note("links"), []
    for link in links if isinstance(links, list) else []:
        test = _mapping(_mapping(link).get("self_test"))
        if test:
            rows.append(
                (
                    printable(str(_mapping(link).get("name"))),
                    milliseconds(test.get("rtt_s"), digits=1),
                    milliseconds(test.get("rtt_expected_s")),
                    share(test.get("bad_loss")),
                    share(test.get("bad_loss_expected")),
                )
            )
    return rows


def share(value: Any) -> str:
    """Write a share, 0..1 or more, in percent, as exactly as a sentence wants it."""
    return f"{_number(value)}\N{NO-BREAK SPACE}%" if isinstance(value, int | float) else "-"


def milliseconds(seconds: Any, *, digits: int = 0) -> str:
    """Write a time in milliseconds, with so many decimals where it is 100 ms or longer."""
    if not isinstance(seconds, int | float):
        return "-"
    return f"{seconds * 1e3:.{digits}f} ms" if abs(seconds) >= 0.1 else f"{seconds * 1e3:.2g} ms"


def _hero(summary: Summary, measured: Mapping[str, SchemeFigures]) -> tuple[str, SchemeFigures]:
    """Choose whom the headline is about: Eloquent, else the best of those that are compared, else the first."""
    compared = [name for name, one in measured.items() if one.relative_stall_ratio is not None]
    if HERO in measured:
        name = HERO
    else:
        name = min(compared, key=lambda name: summary.schemes[name].stall_ratio or 0.0, default=next(iter(measured)))
    return name, measured[name]


def _change(relative: RelativeStallRatio, count: int) -> str:
    over = f"over {_count(count, 'paired session')}"
    less = 1 - relative.ratio
    word = "less" if less >= 0 else "more"
    amount = f"{abs(less) * 100:.0f}\N{NO-BREAK SPACE}% {word}"
    if relative.ci95 is None:
        return f"{amount}, {over}, which is too few to say how sure that is"
    low, high = (1 - end for end in relative.ci95)
    if low >= 0 >= high:
        return f"no clear difference [{-low * 100:+.0f}..{-high * 100:+.0f}\N{NO-BREAK SPACE}%] {over}"
    near, far = sorted((abs(low), abs(high)))
    return f"{amount} [{near * 100:.0f}..{far * 100:.0f}] {over}"


def _asked(run: RunData) -> Iterator[Fact]:
    if run.manifest.scenario.line:
        yield Fact("scenario", printable(run.manifest.scenario.line))
        yield Fact("seed", str(run.manifest.seed))
    for key, value in _mapping(run.note("measured")).items():
        if value:
            yield Fact(printable(str(key)), printable(str(value)))
    yield Fact("schemes", ", ".join(printable(name) for name in run.manifest.schemes))
    for key, value in {**_mapping(run.note("options")), **_mapping(run.note("load"))}.items():
        if key not in _TOLD_ELSEWHERE and value is not None:
            yield Fact(printable(key.removesuffix("_s").replace("_", " ")), printable(_option(key, value)))


def _machine(run: RunData) -> Iterator[Fact]:
    for key in ("carrier", "datapath"):
        name, why = run.note(key, "name"), run.note(key, "why")
        if name is not None:
            yield Fact(key, printable(f"{name} ({why})" if why else str(name)))
    for key, name in {"kernel": "kernel", "congestion_control": "TCP's congestion control", "created": "begun"}.items():
        if run.note(key) is not None:
            yield Fact(name, printable(str(run.note(key))))


def _quality(run: RunData) -> Iterator[Fact]:
    summary = run.summary
    yield Fact("loss measured by the link probes", _exact(summary.loss_rate))
    yield Fact("the schedule's own loss", _exact(summary.scheduled_loss_rate))
    late = run.note("lateness", "p99_s")
    if late is not None:
        worst = milliseconds(run.note("lateness", "max_s"))
        yield Fact("changes of a link's state late by", f"{milliseconds(late)} at p99, {worst} at most")
    yield Fact("lag of those who render, p99", milliseconds(summary.load_lag_p99_s))
    yield Fact("lag of relays and servers, p99", milliseconds(summary.node_lag_p99_s))
    if (found := summary.concurrency) is not None:
        yield Fact("sessions at once", f"{found.mean:.1f} on average, {found.peak} at most")
        yield Fact("tokens rendered a second", f"{found.tokens_per_s:.0f}")
    busy, stolen = run.note("processor", "busy"), run.note("processor", "stolen")
    if busy is not None:
        yield Fact("processor time", f"{_exact(busy)} busy, {_exact(stolen)} stolen by the hypervisor")
    counts = run.note("directions")
    overflowed = [_mapping(one).get("overflowed") for one in counts] if isinstance(counts, list) else []
    if overflowed and all(isinstance(one, int) for one in overflowed):
        yield Fact("packets dropped by full queues", str(sum(one for one in overflowed if one is not None)))


def _option(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if key.endswith("_s") and isinstance(value, int | float):
        return f"{value:g} s" if value >= 1 else milliseconds(value)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: float) -> str:
    return f"{value * 100:.0f}" if value >= 0.0995 or value == 0 else f"{value * 100:.1f}"


def _exact(value: Any) -> str:
    return f"{value * 100:.1f}\N{NO-BREAK SPACE}%" if isinstance(value, int | float) else "-"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
