"""Today's rates: who is on the frontier of stalls against bytes when models stream 10, 50 and 200 tokens a second.

Rules of this file

- Tokens are a book's, or OpenAI's events around them (`eloquent.content`). Acknowledgements are lost too; all else is as in the
  paper's figures.
- A scheme is on the frontier of a setting if no other has both fewer stalls and fewer bytes. One that lost a session is not on it,
  for a lost session enters no ratio and flatters; nor is the oracle.
- Beside each scheme stands its own bound: what nobody can beat whose packets arrive when its own did. Another number tells what as
  many packets at even distances would reach in the long run, each with all that is missing. That is no bound: who sends more
  packets in bad times than in good ones can come below it.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

from eloquent import scenarios, schemes
from eloquent.sim.engine.batch import Point
from eloquent.sim.engine.bound import stall_ratio_bound
from eloquent.sim.engine.experiment import Results, run, tell_nobody
from eloquent.sim.engine.session import constant_rate
from eloquent.sim.engine.tables import Cell, Table
from eloquent.sim.paper.settings import PAPER

SESSION = 20.0  # seconds
EXTRA = ("eloquent-all", "eloquent-packed-2x")  # beside the schemes of the paper's figures
_MILLISECOND = 0.001  # seconds: the distance of packets is taken to that, at least one


class Setting(NamedTuple):
    """One panel.

    Attributes:
        rate: Tokens a second.
        content: What is streamed.
        scenario: Name of the link.
    """

    rate: int
    content: str
    scenario: str

    @property
    def gap(self) -> float:
        """Seconds between tokens."""
        return 1 / self.rate


CHANNELS = ("paper-default", "paper-frequent", "paper-long")
SETTINGS = tuple(
    Setting(rate, content, channel + rtt)
    for rate in (10, 50, 200)
    for content in ("text", "openai")
    for rtt in ("", "-rtt100")
    for channel in CHANNELS
)
SAMPLE = tuple(setting for setting in SETTINGS if setting.rate == 50 and setting.scenario == "paper-default")
"""What is computed where nobody asks for more: that it works, and no more."""

Found = Mapping[Setting, Sequence[Results]]


def settings_of(sessions: int) -> tuple[tuple[Setting, ...], int]:
    """Return what to simulate, and how many sessions of each.

    Args:
        sessions: Sessions of every setting; 0 for one of each in `SAMPLE`.
    """
    return (SETTINGS, sessions) if sessions else (SAMPLE, 1)


def simulate(
    names: Sequence[str],
    *,
    sessions: int,
    seed: int,
    session_s: float = SESSION,
    executor: Executor | None = None,
    progress: Callable[[int], None] = tell_nobody,
) -> dict[Setting, list[Results]]:
    """Simulate the schemes in each setting.

    Args:
        names: Schemes.
        sessions: As for `settings_of`.
        seed: Seed of the run.
        session_s: Length of a session in seconds.
        executor: Who computes; None for this process.
        progress: Called with the number of sessions that have just been done.
    """
    settings, each = settings_of(sessions)
    found: dict[Setting, list[Results]] = {}
    for gap, group in groupby(settings, key=lambda setting: setting.gap):
        alike = list(group)
        points = [point_of(name, setting) for setting in alike for name in names]
        generated_s = constant_rate(session_s, gap)
        results = iter(
            run(points, sessions=each, generated_s=generated_s, seed=seed, executor=executor, progress=progress)
        )
        found.update({setting: [next(results) for _ in names] for setting in alike})
    return found


def point_of(name: str, setting: Setting) -> Point:
    """Return what one scheme is simulated with in a setting."""
    return Point(name, scenarios.load(setting.scenario), replace(PAPER, ack_loss=True, content=setting.content))


def frontier(results: Sequence[Results]) -> list[Results]:
    """Return the results that are on the frontier, those with the fewest bytes first.

    Args:
        results: Of one setting.
    """
    best: list[Results] = []
    lowest = 1.0
    for _, stall_ratio, place in sorted(_standing(results)):
        if not best or stall_ratio < lowest:
            best.append(results[place])
            lowest = stall_ratio
    return best


def _standing(results: Sequence[Results]) -> list[tuple[float, float, int]]:
    """Return bytes a token, stall ratio and place of each result that may be on the frontier."""
    standing = []
    for place, result in enumerate(results):
        figures = result.figures()
        size, stalls = figures.wire_bytes_per_token, figures.stall_ratio
        is_oracle = schemes.get(result.point.scheme).kind == "bound"
        if not (figures.failed or is_oracle or size is None or stalls is None):
            standing.append((size, stalls, place))
    return standing


def even_packets(result: Results, setting: Setting) -> tuple[float, float] | None:
    """Return the packets a second of a scheme, and the least stall ratio of as many at even distances.

    Args:
        result: What the scheme reached.
        setting: Where.

    Returns:
        Both, or None where no session ended well.
    """
    packets = result.packets_per_token()
    if not packets:
        return None
    spacing = max(round(setting.gap / packets / _MILLISECOND), 1) * _MILLISECOND
    return packets * setting.rate, stall_ratio_bound(result.point.scenario.loss_down, gap=setting.gap, spacing=spacing)


_HEADINGS = (
    "tokens_per_s",
    "content",
    "scenario",
    "scheme",
    "sessions",
    "failed",
    "stall_ratio",
    "stall_ratio_low",
    "stall_ratio_high",
    "wire_bytes_per_token",
    "packets_per_s",
    "own_bound",
    "over_own_bound",
    "even_packets",
)


def points_table(found: Found) -> Table:
    """Return every scheme in every setting, and whether it is on the frontier.

    Args:
        found: What `simulate` gave.
    """
    rows = []
    for setting, results in found.items():
        best = frontier(results)
        rows += [(*_row(result, setting), "yes" if result in best else "no") for result in results]
    title = "Today's rates: stalls, bytes, and the bound of each scheme's own packets"
    return Table("modern", title, (*_HEADINGS, "on_frontier"), tuple(rows))


def frontier_table(found: Found) -> Table:
    """Return who is on the frontier of each setting.

    Args:
        found: What `simulate` gave.
    """
    rows = tuple(_row(result, setting) for setting, results in found.items() for result in frontier(results))
    return Table("frontier_modern", "Today's rates: who is on the frontier of stalls against bytes", _HEADINGS, rows)


def _row(result: Results, setting: Setting) -> tuple[Cell, ...]:
    figures = result.figures()
    low, high = figures.stall_ratio_ci95 or (None, None)
    rate, even = even_packets(result, setting) or (None, None)
    reached, own = figures.stall_ratio, result.own_bound()
    return (
        *setting,
        result.point.scheme,
        figures.sessions,
        figures.failed,
        reached,
        low,
        high,
        figures.wire_bytes_per_token,
        rate,
        own,
        reached / own if own and reached is not None else None,
        even,
    )
