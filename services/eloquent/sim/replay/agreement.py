"""Compare a run of the lab with its own replay in the simulator, scheme by scheme (docs/agreement.md).

Rules of this file

- Both sides are measured by the same formulas (docs/measures.md). The figures of the lab are those of its summary.
- A session and its replays are a pair: they met the same slots. What is left between them is chance within the slots, and
  what one side does and the other does not.
- The verdict is about the stall ratio at 210 ms. At 200 ms a single loss makes a gap of exactly the threshold in the
  simulator, and of a little more in the lab. So it is with late tokens at 400 ms, and not at 390: two losses make a delay of
  400 ms where the round-trip time is that.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from eloquent.errors import EloquentError
from eloquent.qoe.ratios import Measured, ratio, relative_ratio
from eloquent.qoe.session import LATE_AFTER, STALL_THRESHOLD, TOLERANT_LATE_AFTER, TOLERANT_THRESHOLD, measure
from eloquent.records.run_directory import RunDirectory, write_whole
from eloquent.report.figures import SchemeFigures, compute
from eloquent.sim.engine.batch import Point, SessionSums
from eloquent.sim.engine.experiment import Results, tell_nobody
from eloquent.sim.engine.tables import Cell, Table, show
from eloquent.sim.replay.connections import LabConnection, Recorded, replay
from eloquent.units import format_percent

NAME = "agreement"
HEADINGS = ("scheme", "model", "sessions", "measure", "lab", "simulator", "difference", "low", "high")
SESSION_HEADINGS = ("session", "stall_ratio_210", "simulated_stall_ratio_210", "stall_ratio", "simulated_stall_ratio")
_FIGURES = ("redundancy_rate", "gap_p95_s", "gap_p99_s")

Interval = tuple[float, float]


class PairedRatio(NamedTuple):
    """A ratio whose two sides are compared session by session.

    Attributes:
        name: What tables call it.
        above: The upper quantity, a field of `SessionSums`.
        below: The lower one.
        measured: Both of a session of the lab.
    """

    name: str
    above: str
    below: str
    measured: Callable[[Recorded], Measured]


def _stalls(threshold: float) -> Callable[[Recorded], Measured]:
    def measured(session: Recorded) -> Measured:
        measures = measure(session.rendered_s, session.generated_s, threshold=threshold)
        return measures.stall_s, measures.stream_s

    return measured


def _late(late_after: float) -> Callable[[Recorded], Measured]:
    def measured(session: Recorded) -> Measured:
        measures = measure(session.rendered_s, session.generated_s, late_after=late_after)
        return measures.late_tokens, measures.timed_tokens

    return measured


STALLS_AT_210 = PairedRatio("stall_ratio_210", "stall_210_s", "stream_s", _stalls(TOLERANT_THRESHOLD))
STALLS = PairedRatio("stall_ratio", "stall_s", "stream_s", _stalls(STALL_THRESHOLD))
LATE_AT_390 = PairedRatio("late_ratio_390", "late_390_tokens", "tokens", _late(TOLERANT_LATE_AFTER))
LATE = PairedRatio("late_ratio", "late_tokens", "tokens", _late(LATE_AFTER))


class DisagreementError(EloquentError):
    """The lab and the simulator differ by more than was asked for; the message says by how much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemeAgreement:
    """One scheme's figures on both sides.

    Attributes:
        connections: Its sessions in the lab.
        lab: The figures of the lab.
        results: The sums of the simulator; each session is in them as often as it was replayed.
    """

    connections: tuple[LabConnection, ...]
    lab: SchemeFigures
    results: Results

    @property
    def scheme(self) -> str:
        """Name of the scheme in the lab."""
        return self.connections[0].scheme

    def relative(self, compared: PairedRatio) -> tuple[float, Interval | None] | None:
        """Return the lab's ratio over the simulator's, and its 95 % interval over the pairs of sessions.

        Args:
            compared: Which ratio.
        """
        ours, theirs = self.lab_sums(compared), self.simulated_sums(compared)
        return relative_ratio([(ours[number], theirs[number]) for number in ours if number in theirs])

    def lab_sums(self, compared: PairedRatio) -> dict[int, Measured]:
        """Return the upper and the lower quantity of a ratio in each session of the lab, by its number."""
        sessions = (session for connection in self.connections for session in connection.sessions)
        return {session.number: compared.measured(session) for session in sessions}

    def simulated_sums(self, compared: PairedRatio) -> dict[int, Measured]:
        """Return the same of the simulator, over all replays of a session that ended well."""
        sums: dict[int, Measured] = defaultdict(lambda: (0.0, 0.0))
        for number, (above, below) in self.results.measured(compared.above, compared.below):
            before = sums[int(number)]
            sums[int(number)] = before[0] + above, before[1] + below
        return dict(sums)

    def rows(self) -> list[tuple[Cell, ...]]:
        """Return the rows of the table, one a measure."""
        lab, simulated = self.lab, self.results.figures()
        head = (self.scheme, self.results.point.scheme, lab.sessions)
        rows: list[tuple[Cell, ...]] = []
        for compared in (STALLS_AT_210, STALLS, LATE_AT_390, LATE):
            relative = self.relative(compared)
            change, ends = (None, None) if relative is None else (relative[0] - 1, relative[1])
            low, high = (None, None) if ends is None else (ends[0] - 1, ends[1] - 1)
            sides = (
                ratio(*zip(*sums.values(), strict=True)) if sums else None
                for sums in (self.lab_sums(compared), self.simulated_sums(compared))
            )
            rows.append((*head, compared.name, *sides, change, low, high))
        rows += [
            (*head, name, *_compare(getattr(lab, name), getattr(simulated, name)), None, None) for name in _FIGURES
        ]
        mean_lab = _mean_gap([stream_s for _, stream_s in self.lab_sums(STALLS).values()], lab)
        mean_simulated = _mean_gap(self.results.column("stream_s"), simulated)
        rows.append((*head, "gap_mean_s", *_compare(mean_lab, mean_simulated), None, None))
        return rows


@dataclass(frozen=True, slots=True)
class Agreement:
    """A run and its replay.

    Attributes:
        run: The run.
        repeats: How often each session was replayed.
        comparisons: One a scheme, in the order of the run's.
    """

    run: RunDirectory
    repeats: int
    comparisons: tuple[SchemeAgreement, ...]

    def require(self, tolerance: float) -> None:
        """Check that the lab's stall ratio at 210 ms is near the simulator's, for each scheme.

        Args:
            tolerance: By how much it may differ, as a share of the simulator's, 0 or more.

        Raises:
            DisagreementError: A scheme's differs by more, or is not known.
        """
        beyond = []
        for comparison in self.comparisons:
            relative = comparison.relative(STALLS_AT_210)
            if relative is None:
                beyond.append(f"{comparison.scheme} by an unknown share")
            elif abs(relative[0] - 1) > tolerance:
                beyond.append(f"{comparison.scheme} by {(relative[0] - 1) * 100:+.1f} %")
        if beyond:
            raise DisagreementError(
                f"the lab's stall ratio at 210 ms differs from the simulator's by more than {tolerance * 100:g} %:"
                f" {', '.join(beyond)}; docs/agreement.md names the causes that are known"
            )

    def table(self) -> Table:
        """Return the comparison, one row a scheme and measure; differences are shares of the simulator's value."""
        rows = tuple(row for comparison in self.comparisons for row in comparison.rows())
        return Table(NAME, f"Lab and simulator, run {self.run.read_manifest().run}", HEADINGS, rows)

    def shown(self) -> list[tuple[str, ...]]:
        """Return the comparison as people read it: headings, and a row for each scheme and measure."""
        lines: list[tuple[str, ...]] = [("scheme", "replayed by", "measure", "lab", "simulator", "difference, 95 %")]
        for one in self.comparisons:
            for place, (*_, name, lab, simulated, change, low, high) in enumerate(one.rows()):
                names = ("", "") if place else (one.scheme, one.results.point.scheme)
                ends = "" if low is None or high is None else f" [{_percent(low)}, {_percent(high)}]"
                difference = "-" if change is None else f"{_percent(change)}{ends}"
                lines.append((*names, str(name), show(lab), show(simulated), difference))
        return lines

    def sessions_table(self) -> Table:
        """Return the stall ratios of each session on both sides; the simulator's is over its replays."""
        rows: list[tuple[Cell, ...]] = []
        for one in self.comparisons:
            ratios = (STALLS_AT_210, STALLS)
            sides = [sums(compared) for compared in ratios for sums in (one.lab_sums, one.simulated_sums)]
            for session in (session for connection in one.connections for session in connection.sessions):
                measured = (side.get(session.number) for side in sides)
                rows.append((session.name, *(both and ratio(both[:1], both[1:]) for both in measured)))
        return Table(f"{NAME}-sessions", "Sessions", SESSION_HEADINGS, tuple(rows))

    def remarks(self) -> list[str]:
        """Return what the lab was made of and how well it ran, as far as its manifest says."""
        entries = self.run.read_manifest().model_extra or {}
        summary = compute(self.run)
        facts = [f"replays of each session: {self.repeats}"]
        if "congestion_control" in entries:
            told = "".join(f"; {name} {control}" for name, control in entries.get("congestion_controls", {}).items())
            facts.append(f"kernel {entries.get('kernel')}, congestion control {entries['congestion_control']}{told}")
        if processor := entries.get("processor"):
            busy, stolen = format_percent(processor["busy"]), format_percent(processor["stolen"])
            facts.append(f"processors during the rounds: {busy} busy, {stolen} taken by the hypervisor")
        if (late := (entries.get("lateness") or {}).get("p99_s")) is not None:
            facts.append(f"state changes late by {late * 1e3:.2f} ms at p99")
        if summary.load_lag_p99_s is not None:
            facts.append(f"viewers' event loops late by {summary.load_lag_p99_s * 1e3:.1f} ms at p99")
        if (extra := self._least_delay()) is not None:
            facts.append(f"from server to viewer the lab takes {extra * 1e3:.1f} ms more than the link at the least")
        facts += [f"warning of the run: {text}" for text in entries.get("warnings", ())]
        for one in self.comparisons:
            if failed := one.lab.failed:
                facts.append(f"{failed} sessions of {one.scheme} failed in the lab, and are on neither side")
            if failed := one.results.figures().failed:
                facts.append(f"{failed} replays of {one.scheme} failed, and are left out")
        return facts

    def write(self) -> None:
        """Write `agreement.csv`, `agreement-sessions.csv` and `agreement.md` into the run's directory."""
        table = self.table()
        table.write(self.run.path)
        self.sessions_table().write(self.run.path)
        lines = "\n".join(f"- {fact}" for fact in self.remarks())
        write_whole(self.run.path / f"{NAME}.md", f"#{table.to_markdown()[3:]}\n{lines}\n")

    def _least_delay(self) -> float | None:
        """Return by how much the lab's fastest token of a session is slower than its link, as a mean over sessions."""
        least = [
            min(
                rendered - generated
                for generated, rendered in zip(session.generated_s, session.rendered_s, strict=True)
            )
            - connection.scenario.rtt / 2
            for comparison in self.comparisons
            for connection in comparison.connections
            for session in connection.sessions
        ]
        return ratio(least, [1] * len(least))


def compare(
    folder: Path,
    connections: Sequence[LabConnection],
    *,
    repeats: int,
    executor: Executor | None = None,
    progress: Callable[[int], None] = tell_nobody,
) -> Agreement:
    """Replay a run, and set both sides beside each other.

    Args:
        folder: The run's directory.
        connections: Its sessions, as `read_connections` gives them.
        repeats: How often each session is replayed, 1 or more.
        executor: Who computes; None for this process.
        progress: Called with the number of sessions that have just been replayed.
    """
    run = RunDirectory(folder)
    figures = compute(run).schemes
    replayed = replay(connections, repeats=repeats, executor=executor, progress=progress)
    by_scheme: dict[str, list[tuple[LabConnection, list[SessionSums]]]] = defaultdict(list)
    for connection, sums in zip(connections, replayed, strict=True):
        by_scheme[connection.scheme].append((connection, sums))
    return Agreement(run, repeats, tuple(_comparison(figures[name], pairs) for name, pairs in by_scheme.items()))


def _comparison(lab: SchemeFigures, pairs: Sequence[tuple[LabConnection, list[SessionSums]]]) -> SchemeAgreement:
    first = pairs[0][0]
    results = Results(Point(first.model, first.scenario))
    for sums in (sums for _, lane_sums in pairs for sums in lane_sums):
        results.add(sums)
    return SchemeAgreement(connections=tuple(connection for connection, _ in pairs), lab=lab, results=results)


def _mean_gap(stream_s: Sequence[float], figures: SchemeFigures) -> float | None:
    gaps = figures.tokens - figures.sessions
    return sum(stream_s) / gaps if gaps else None


def _compare(lab: float | None, simulated: float | None) -> tuple[float | None, float | None, float | None]:
    """Return both values and the difference as a share of the simulator's."""
    return lab, simulated, None if lab is None or not simulated else lab / simulated - 1


def _percent(share: Cell) -> str:
    return f"{share * 100:+.1f} %" if isinstance(share, float) else "-"
