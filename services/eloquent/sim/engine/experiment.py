"""Schemes x links x sessions: run what was asked for, in pairs, on many processors, and make figures of it.

Rules of this file

- Session k of every point has the same seed, so that every scheme meets the same losses and comparisons are paired.
- Results come in the order of the points and sessions, whoever computed them and when: a run's files are the same on one
  processor as on many.
- Of a session a few numbers are kept, and of the gaps their lengths in whole milliseconds. Memory does not grow with what
  is under way: a worker gets its next batch when an earlier one is done.
- The formulas are those of `qoe` (docs/measures.md). An interval counts sessions that are independent of one another: those
  that all begin with the same trace are one.
"""

from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import TypeVar

from eloquent import schemes
from eloquent.errors import ConfigurationError
from eloquent.qoe.ratios import Measured, percentile, ratio, redundancy_rate, relative_ratio, share_interval
from eloquent.records.rows import SUCCESS
from eloquent.report.figures import RelativeStallRatio, SchemeFigures
from eloquent.sim.engine.batch import Batch, Point, SessionSums, run_batch

SESSIONS_A_BATCH = 5  # a fifth of a second of work, so that no worker is long without at the end
BATCHES_UNDER_WAY = 32  # enough for sixteen workers that are never without

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Results:
    """The sums of one point, 80 bytes a session.

    Args:
        point: What was simulated.

    Attributes:
        point: The same.
        gaps_ms: How many gaps there were of each length in whole milliseconds.
        outcomes: How many sessions ended how.
    """

    _COLUMNS = (
        *("session", "stall_s", "stall_210_s", "excess_s", "least_stall_s", "stream_s"),
        *("late_tokens", "late_390_tokens", "tokens", "ttft_s"),
    )
    _TOTALS = ("stalls", "original_bytes", "redundant_bytes", "packets", "wire_bytes")

    def __init__(self, point: Point) -> None:
        self.point = point
        self.gaps_ms: Counter[int] = Counter()
        self.outcomes: Counter[str] = Counter()
        self._columns = {name: array("d") for name in self._COLUMNS}
        self._totals: Counter[str] = Counter()
        self._kept: dict[int, Results] = {}

    def add(self, sums: SessionSums) -> None:
        """Count one session; one that failed counts as that and nothing else."""
        self.outcomes[sums.outcome] += 1
        if sums.outcome != SUCCESS:
            return
        for name, column in self._columns.items():
            column.append(getattr(sums, name))
        for name in self._TOTALS:
            self._totals[name] += getattr(sums, name)
        for length, count in sums.gaps_ms:
            self.gaps_ms[length] += count

    def first(self, sessions: int) -> "Results":
        """Return what the first sessions alone give.

        Args:
            sessions: How many of them, among those that the run was told to keep apart.
        """
        return self._kept.get(sessions, self)

    def keep(self) -> None:
        """Keep what there is so far, for `first`."""
        kept = Results(self.point)
        kept.gaps_ms, kept.outcomes, kept._totals = self.gaps_ms.copy(), self.outcomes.copy(), self._totals.copy()
        kept._columns = {name: column[:] for name, column in self._columns.items()}
        self._kept[self.outcomes.total()] = kept

    def column(self, name: str) -> Sequence[float]:
        """Return one number of each session that ended well, in order.

        Args:
            name: A field of `SessionSums`.
        """
        return self._columns[name]

    def packets_per_token(self) -> float | None:
        """Return how many packets a token took, over all sessions; None where none ended well."""
        return ratio([self._totals["packets"]], [sum(self.column("tokens"))])

    def token_bytes(self) -> float | None:
        """Return the mean length of a token in bytes; None as above."""
        return ratio([self._totals["original_bytes"]], [sum(self.column("tokens"))])

    def own_bound(self) -> float | None:
        """Return what no scheme can beat whose packets arrive when these did (`bound.least_stall_s`); None as above."""
        return ratio(self.column("least_stall_s"), self.column("stream_s"))

    def figures(self, baseline: "Results | None" = None) -> SchemeFigures:
        """Return the figures over all sessions (docs/measures.md).

        Args:
            baseline: What to compare the stall ratio with, if anything.
        """
        stream_s, totals = self.column("stream_s"), self._totals
        tokens = sum(self.column("tokens"))
        return SchemeFigures(
            sessions=len(stream_s),
            tokens=round(tokens),
            stall_ratio=ratio(self.column("stall_s"), stream_s),
            stall_ratio_ci95=None
            if self.point.scenario.begins_alike
            else share_interval(self.column("stall_s"), stream_s),
            stall_ratio_210=ratio(self.column("stall_210_s"), stream_s),
            relative_stall_ratio=None if baseline is None else self.relative_to(baseline),
            stall_excess_ratio=ratio(self.column("excess_s"), stream_s),
            stalls=totals["stalls"],
            accounted=len(stream_s),
            redundancy_rate=redundancy_rate(totals["original_bytes"], totals["redundant_bytes"]),
            wire_bytes_per_token=ratio([totals["wire_bytes"]], [tokens]),
            late_ratio=ratio(self.column("late_tokens"), self.column("tokens")),
            ttft_p50_s=percentile(self.column("ttft_s"), 0.50),
            ttft_p95_s=percentile(self.column("ttft_s"), 0.95),
            gap_p95_s=self._gap(0.95),
            gap_p99_s=self._gap(0.99),
            failed=self.outcomes.total() - self.outcomes[SUCCESS],
        )

    def relative_to(
        self, baseline: "Results", column: str = "stall_s", per: str = "stream_s"
    ) -> RelativeStallRatio | None:
        """Return how a ratio compares with the baseline's, over the sessions that ended well with both.

        Args:
            baseline: The other scheme, on the same sessions.
            column: The upper quantity, by default what makes the stall ratio.
            per: The lower one.
        """
        theirs = dict(baseline.measured(column, per))
        pairs = [(measured, theirs[number]) for number, measured in self.measured(column, per) if number in theirs]
        relative = relative_ratio(pairs)
        if relative is None:
            return None
        interval = None if self.point.scenario.begins_alike else relative[1]
        return RelativeStallRatio(baseline=baseline.point.scheme, ratio=relative[0], ci95=interval)

    def measured(self, column: str, per: str) -> Iterator[tuple[float, Measured]]:
        """Yield the number of each session that ended well, and two of its quantities."""
        numbers = zip(self.column(column), self.column(per), strict=True)
        return zip(self.column("session"), numbers, strict=True)

    def _gap(self, share: float) -> float | None:
        """Return the smallest length, in seconds to 1 ms, that a share of the gaps does not exceed."""
        left = share * self.gaps_ms.total()
        for length, count in sorted(self.gaps_ms.items()):
            left -= count
            if left <= 0:
                return length / 1e3
        return None


def tell_nobody(*_: object) -> None:
    """Take what is told of progress, and do nothing."""


def run(
    points: Sequence[Point],
    *,
    sessions: int,
    generated_s: tuple[float, ...],
    seed: int,
    keep: int = 0,
    executor: Executor | None = None,
    progress: Callable[[int], None] = tell_nobody,
    each: Callable[[Point, SessionSums], None] = tell_nobody,
) -> list[Results]:
    """Simulate every point.

    Args:
        points: What to simulate.
        sessions: Sessions of each point, from 1.
        generated_s: When the tokens of a session are generated, in seconds from 0.
        seed: Seed of the run.
        keep: How many of the first sessions are also kept apart, see `Results.first`.
        executor: Who computes; None for this process.
        progress: Called with the number of sessions that have just been done.
        each: Called with each session in the order of points and sessions, for what wants to keep more than sums.

    Returns:
        The sums of each point, in the order of the points.

    Raises:
        ConfigurationError: A scheme is unknown or has no endpoints, or there is nothing to simulate.
    """
    if sessions < 1:
        raise ConfigurationError("a simulation has one session or more")
    for point in points:
        schemes.get(point.scheme).make_receiver()  # refuses a scheme without endpoints before anything runs
    batches = [
        Batch(point, generated_s, seed, first, min(SESSIONS_A_BATCH, sessions - first))
        for point in points
        for first in range(0, sessions, SESSIONS_A_BATCH)
    ]
    results = [Results(point) for point in points]
    done_by = in_order(executor, run_batch, batches) if executor is not None else map(run_batch, batches)
    batches_a_point = -(-sessions // SESSIONS_A_BATCH)
    for number, batch_sums in enumerate(done_by):
        result = results[number // batches_a_point]
        for sums in batch_sums:
            result.add(sums)
            each(result.point, sums)
            if result.outcomes.total() == keep:
                result.keep()
        progress(len(batch_sums))
    return results


def in_order(executor: Executor, function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """Yield the results in the order of the items, with a bounded number of items under way."""
    pending: deque[Future[_Result]] = deque()
    for item in items:
        pending.append(executor.submit(function, item))
        if len(pending) >= BATCHES_UNDER_WAY:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
