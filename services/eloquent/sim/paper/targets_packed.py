"""What `eloquent-packed` was made to reach, and whether it does: four targets, on seeds that it was not tuned on.

(a) A stall ratio near what nobody can beat whose packets arrive when its own did (`bound.least_stall_s`).
(b) At 50 and 200 tokens a second no more bytes on the wire than TCP with one packet a token, of events far fewer; and with twice
    the budget fewer stalls, as far as its pace allows. At 10 tokens a second no more bytes than `eloquent`.
(c) At RTT 100 ms not more stalls than `eloquent` and `eloquent-adaptive`.
(d) On a clean link no more bytes than TCP; and the first outage after a clean minute stalls the reader no longer than the outage
    and the slowest pace.

Acknowledgements are lost too; all else is as in the paper's figures. Session k of a run has the seed 1,000,000 x seed + k.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

from eloquent.protocol.senders.packed import MAX_HOLD
from eloquent.sim.engine.experiment import Results, in_order, run, tell_nobody
from eloquent.sim.engine.session import constant_rate
from eloquent.sim.engine.tables import Cell, Table
from eloquent.sim.engine.trace import SessionTrace
from eloquent.sim.paper.modern import CHANNELS, Setting, even_packets, point_of
from eloquent.sim.paper.settings import PAPER
from eloquent.sim.paper.yardsticks import CLEAN, TCP_HEADERS, longest_gap, outage_verdict, run_with_outage, verdict

PACKED, TWICE, PRINTED_SCHEME, ADAPTIVE = "eloquent-packed", "eloquent-packed-2x", "eloquent", "eloquent-adaptive"
SESSION = 30.0  # seconds
CONTENTS = ("text", "openai", "openai-obfuscated")
SETTINGS = tuple(
    Setting(rate, content, channel + rtt)
    for rate in (10, 50, 200)
    for content in CONTENTS
    for rtt in ("", "-rtt100")
    for channel in CHANNELS
)
SLOW = 10  # tokens a second: there it is compared with `eloquent`, which was made for that
NEAR_BOUND = {"text": 1.03, "openai": 1.03, "openai-obfuscated": 1.05}
NEAR_BOUND_SLOW = 1.02
OF_TCP = {"text": 1.0, "openai": 1 / 3, "openai-obfuscated": 0.6}
OF_ELOQUENT = {"text": 1.0, "openai": 0.35, "openai-obfuscated": 0.35}
FASTEST = 100  # packets a second, the scheme's least distance between them

CLEAN_RATES = (50, 200)  # tokens a second
OUTAGES = (0.2, 0.5, 1.0)  # seconds
PLACES = (0.0, 0.3, 0.6)  # seconds after the clean minute: the outage begins at each of them, and the worst counts

Found = Mapping[tuple[Setting, str], Results]


def schemes_of(setting: Setting) -> tuple[str, ...]:
    """Return what is simulated in a setting."""
    others = (ADAPTIVE,) if setting.scenario.endswith("-rtt100") else ()
    if setting.rate == SLOW:
        return (PACKED, PRINTED_SCHEME, *others)
    return (PACKED, TWICE, *((PRINTED_SCHEME, *others) if others else ()))


def count_sessions(sessions: int) -> int:
    """Return how many sessions are simulated in all.

    Args:
        sessions: Of each scheme in each setting.
    """
    return sessions * sum(len(schemes_of(setting)) for setting in SETTINGS)


def tables(
    *,
    sessions: int,
    seed: int,
    session_s: float = SESSION,
    executor: Executor | None = None,
    progress: Callable[[int], None] = tell_nobody,
) -> list[Table]:
    """Simulate all targets.

    Args:
        sessions: Sessions of each scheme in each setting.
        seed: Seed of the run.
        session_s: Length of a session in seconds.
        executor: Who computes; None for this process.
        progress: Called with the number of sessions that have just been done.
    """
    found: dict[tuple[Setting, str], Results] = {}
    for gap, group in groupby(SETTINGS, key=lambda setting: setting.gap):
        wanted = [(setting, name) for setting in group for name in schemes_of(setting)]
        points = [point_of(name, setting) for setting, name in wanted]
        generated_s = constant_rate(session_s, gap)
        results = run(
            points, sessions=sessions, generated_s=generated_s, seed=seed, executor=executor, progress=progress
        )
        found.update(zip(wanted, results, strict=True))
    cases = [CleanLinkCase(rate, content, rtt) for rate in CLEAN_RATES for content in CONTENTS for rtt in (0.4, 0.1)]
    clean = map(examine, cases) if executor is None else in_order(executor, examine, cases)
    return [near_bound_table(found), bytes_table(found), others_table(found), clean_table(list(clean))]


def near_bound_table(found: Found) -> Table:
    """Return (a)."""
    rows: list[tuple[Cell, ...]] = []
    for setting, result in _of(found, PACKED):
        figures, own = result.figures(), result.own_bound()
        over = figures.stall_ratio / own if own and figures.stall_ratio is not None else None
        allowed = NEAR_BOUND_SLOW if setting.rate == SLOW else NEAR_BOUND[setting.content]
        counts = (figures.sessions, figures.failed)
        rows.append((*setting, *counts, figures.stall_ratio, own, over, allowed, verdict(over, allowed)))
    headings = ("sessions", "failed", "stall_ratio", "own_bound", "over_own_bound", "allowed", "met")
    return _table("bound", "(a) stall ratio near the bound of its own packets", headings, rows)


def bytes_table(found: Found) -> Table:
    """Return (b)."""
    rows: list[tuple[Cell, ...]] = []
    for setting, result in _of(found, PACKED):
        spent = result.figures().wire_bytes_per_token
        if setting.rate == SLOW:
            theirs, share = found[setting, PRINTED_SCHEME].figures().wire_bytes_per_token, OF_ELOQUENT[setting.content]
            twice: tuple[Cell, ...] = (None, None, None, None)
        else:
            theirs, share = _tcp_bytes(result), OF_TCP[setting.content]
            twice = _twice(result, found[setting, TWICE], setting)
        over = spent / theirs if spent is not None and theirs else None
        against = PRINTED_SCHEME if setting.rate == SLOW else "TCP"
        rows.append((*setting, spent, against, theirs, over, share, verdict(over, share), *twice))
    headings = (
        *("bytes_per_token", "against", "theirs", "share", "allowed", "met"),
        *("stall_ratio", "stall_ratio_2x", "bytes_2x", "fewer_stalls"),
    )
    return _table("bytes", "(b) bytes on the wire, and fewer stalls for twice as many", headings, rows)


def others_table(found: Found) -> Table:
    """Return (c). A scheme that lost a session is compared with all the same; its stalls are those of the others."""
    rows: list[tuple[Cell, ...]] = []
    for setting, result in _of(found, PACKED):
        for name in (PRINTED_SCHEME, ADAPTIVE):
            other = found.get((setting, name))
            if other is None or not setting.scenario.endswith("-rtt100"):
                continue
            ours, theirs = result.figures(), other.figures()
            relative = result.relative_to(other)
            over = None if relative is None else relative.ratio
            low, high = (None, None) if relative is None or relative.ci95 is None else relative.ci95
            sizes = (ours.wire_bytes_per_token, theirs.wire_bytes_per_token, theirs.failed)
            rows.append(
                (*setting, name, ours.stall_ratio, theirs.stall_ratio, over, low, high, *sizes, verdict(over, 1.0))
            )
    headings = (
        *("against", "stall_ratio", "theirs", "ratio", "low", "high"),
        *("bytes_per_token", "their_bytes", "their_failed", "met"),
    )
    return _table("others", "(c) RTT 100 ms: not more stalls than our other schemes", headings, rows)


class CleanLinkCase(NamedTuple):
    """A clean minute on a link, and outages after it.

    Attributes:
        rate: Tokens a second.
        content: What is streamed.
        rtt: Round-trip time in seconds.
    """

    rate: int
    content: str
    rtt: float


class CleanLinkFound(NamedTuple):
    """What it gave.

    Attributes:
        case: The case.
        bytes_per_token: On the wire, over the clean minute alone.
        of_tcp: The same, as a share of TCP's with one packet a token.
        longest_gaps_s: Between two renderings from the last clean second on, for each of `OUTAGES` at the worst of its places.
    """

    case: CleanLinkCase
    bytes_per_token: float
    of_tcp: float
    longest_gaps_s: tuple[float, ...]


def examine(case: CleanLinkCase) -> CleanLinkFound:
    """Simulate one case; nothing in it is random but the content."""
    clean = _clean_run(case, begin=CLEAN, outage=0.0, seconds=CLEAN)
    tokens = len(clean.rendered_s)
    spent, size = clean.account.wire_bytes / tokens, clean.account.original_bytes / tokens
    gaps = tuple(max(_longest_gap(case, place, outage) for place in PLACES) for outage in OUTAGES)
    return CleanLinkFound(case, spent, spent / (TCP_HEADERS + size), gaps)


def _longest_gap(case: CleanLinkCase, place: float, outage: float) -> float:
    trace = _clean_run(case, begin=CLEAN + place, outage=outage, seconds=CLEAN + outage + 5.0)
    return longest_gap(trace, since=CLEAN - 1.0)


def _clean_run(case: CleanLinkCase, *, begin: float, outage: float, seconds: float) -> SessionTrace:
    choices = replace(PAPER, ack_loss=True, phase="aligned", content=case.content)
    return run_with_outage(
        PACKED, begin=begin, outage=outage, seconds=seconds, gap=1 / case.rate, rtt=case.rtt, choices=choices
    )


def clean_table(found: Sequence[CleanLinkFound]) -> Table:
    """Return (d), one row for each rate, content, round-trip time and outage."""
    rows: list[tuple[Cell, ...]] = []
    for item in found:
        rate, content, rtt = item.case
        sizes = (item.bytes_per_token, item.of_tcp, verdict(item.of_tcp, 1.0))
        for outage, longest in zip(OUTAGES, item.longest_gaps_s, strict=True):
            allowed = outage + MAX_HOLD
            met = outage_verdict(longest, allowed)
            rows.append((rate, content, _ms(rtt), *sizes, _ms(outage), _ms(longest), _ms(allowed), met))
    headings = (
        *("tokens_per_s", "content", "rtt_ms", "bytes_per_token", "of_TCP", "bytes_met", "outage_ms"),
        *("longest_gap_ms", "allowed_ms", "outage_met"),
    )
    title = f"(d) {PACKED}: a clean minute, and the first outage after it"
    return Table("targets-packed-clean", title, headings, tuple(rows))


def _of(found: Found, name: str) -> list[tuple[Setting, Results]]:
    return [(setting, result) for (setting, scheme), result in found.items() if scheme == name]


def _table(name: str, title: str, headings: tuple[str, ...], rows: Sequence[tuple[Cell, ...]]) -> Table:
    title = title.replace(")", f") {PACKED}:", 1)
    return Table(f"targets-packed-{name}", title, ("tokens_per_s", "content", "scenario", *headings), tuple(rows))


def _tcp_bytes(result: Results) -> float | None:
    """Return the bytes a token of TCP with one packet a token, of which none is lost."""
    size = result.token_bytes()
    return None if size is None else TCP_HEADERS + size


def _twice(result: Results, twice: Results, setting: Setting) -> tuple[Cell, ...]:
    """Return the stalls of both, the bytes of the second, and whether it stalls less or the first has the fastest pace already."""
    once, more = result.figures(), twice.figures()
    packets = even_packets(result, setting)
    met = verdict(more.stall_ratio, once.stall_ratio or 0.0)
    if packets is not None and packets[0] > 0.95 * min(setting.rate, FASTEST):
        met = "fastest"
    return once.stall_ratio, more.stall_ratio, more.wire_bytes_per_token, met


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
