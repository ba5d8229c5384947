"""Answers that share one connection between two relays, by each way, on the same losses: who stalls how much, for what bytes.

Rules of this file

- The connection is there before the first loss, as an edge's is; the questions are asked before that, too, and all tokens are
  made at the same instants by every way. From `BEGIN` on both directions lose, each by a schedule of its own.
- A run is one connection. Its answers meet the same losses, so that an interval counts runs, and a run's stall ratio is that of all
  its answers together. Run k has the seed 1,000,000 x seed + k by every way, whatever the number of answers.
- An answer that is not whole `PATIENCE` after its last token was made counts as stalled from the last rendering until then.
- The link has no bottleneck: what its rate would hold back is another matter (`fairness`).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import NamedTuple

from eloquent import scenarios
from eloquent.channel.schedule import Direction, Schedule
from eloquent.qoe.ratios import percentile, ratio, share_interval
from eloquent.qoe.session import STALL_THRESHOLD, TOLERANT_THRESHOLD, measure
from eloquent.sim.engine.batch import SEEDS_APART
from eloquent.sim.engine.experiment import in_order, tell_nobody
from eloquent.sim.engine.session import LINK
from eloquent.sim.engine.shared_link import SharedLink
from eloquent.sim.engine.tables import Cell, Table
from eloquent.sim.engine.workload import Workload
from eloquent.sim.quic.ways import REFERENCE, WAYS

SCENARIO = "paper-default"
CONNECT, ASK, BEGIN = 0.0, 3.0, 5.0  # seconds
PATIENCE = 10.0  # seconds
ANSWERS = (1, 10, 30, 100)  # at once on a connection
ALLOWED = 0.03  # of the stall ratio, by which `eloquent-quic` may be above sealed UDP
CARRIER, OURS = "quic", "eloquent-quic"
_PAIR = "connection"  # name under which packets are counted


class TextLoad(NamedTuple):
    """What is streamed.

    Attributes:
        rate: Tokens a second of each answer.
        content: Of the answers (`eloquent.content`).
        session_s: Seconds of text in each answer.
    """

    rate: float
    content: str
    session_s: float


LOADS = (TextLoad(10.0, "text", 20.0), TextLoad(50.0, "openai", 10.0))
"""The paper's, and today's."""


class Run(NamedTuple):
    """One connection.

    Attributes:
        way: Name of the way (`ways`).
        load: What is streamed.
        answers: At once.
        seed: Of its losses.
        scenario: Name of the link.
    """

    way: str
    load: TextLoad
    answers: int
    seed: int
    scenario: str = SCENARIO


class RunSums(NamedTuple):
    """What is kept of a run, summed over its answers.

    Attributes:
        stall_s: Seconds in gaps of more than 200 ms.
        stall_210_s: The same, of more than 210 ms.
        stream_s: Seconds from the first rendering to the last one.
        late_p50_s: Seconds that a token took, at the median.
        late_p99_s: At the 99th percentile.
        whole: Answers that were whole in time.
        tokens: Tokens made.
        down_bytes: Sent towards the client, with IPv4 and UDP headers, from `BEGIN` on.
        up_bytes: The other way.
    """

    stall_s: float
    stall_210_s: float
    stream_s: float
    late_p50_s: float
    late_p99_s: float
    whole: int
    tokens: int
    down_bytes: int
    up_bytes: int


def run(what: Run) -> RunSums:
    """Simulate a run.

    Args:
        what: Which.
    """
    way, scenario = WAYS[what.way], scenarios.load(what.scenario)
    ways = (Direction.DOWN, Direction.UP)
    schedules = {to: Schedule(scenario.loss_down, seed=what.seed, link=LINK, direction=to) for to in ways}
    link = SharedLink(rtt=scenario.rtt, schedules=schedules, lossy_from=BEGIN, seed=what.seed)
    workload = Workload(
        link, way.make_server(what.seed), scheme=way.scheme, content=what.load.content, rate=what.load.rate
    )
    client = workload.join(way.make_client(what.seed), _PAIR)
    link.at(CONNECT, lambda: workload.call(client, lambda machine: machine.say_hello(now=link.now)))
    gap, tokens = 1 / what.load.rate, round(what.load.session_s * what.load.rate)

    def ask() -> None:
        for number in range(what.answers):
            workload.ask(client, number, tokens=tokens, begins=BEGIN + number / what.answers * gap)

    link.at(ASK, ask)
    link.run(BEGIN)
    before = [link.sent[_PAIR, to][1] for to in ways]
    link.run(BEGIN + what.load.session_s + PATIENCE)
    sizes = [link.sent[_PAIR, to][1] - size for to, size in zip(ways, before, strict=True)]
    return _sum_up(workload, sizes, now=link.now)


def _sum_up(workload: Workload, sizes: Sequence[int], *, now: float) -> RunSums:
    stall = stall_210 = stream = 0.0
    delays: list[float] = []
    for answer, made in workload.made.items():
        rendered = workload.arrived[answer]
        generated = made[: len(rendered)]
        strict = measure(rendered, generated, threshold=STALL_THRESHOLD)
        rest = 0.0 if answer in workload.ended else now - (rendered[-1] if rendered else made[0])
        stall += strict.stall_s + rest
        stall_210 += measure(rendered, generated, threshold=TOLERANT_THRESHOLD).stall_s + rest
        stream += strict.stream_s + rest
        delays += [after - before for after, before in zip(rendered, generated, strict=True)]
        delays += [now - instant for instant in made[len(rendered) :]]
    median, late = (percentile(delays, share) or 0.0 for share in (0.5, 0.99))
    tokens = sum(map(len, workload.made.values()))
    return RunSums(stall, stall_210, stream, median, late, len(workload.ended), tokens, *sizes)


class Finding(NamedTuple):
    """The runs of one way with one load and number of answers."""

    way: str
    load: TextLoad
    answers: int
    runs: tuple[RunSums, ...]

    def column(self, name: str) -> list[float]:
        """Return one number of each run.

        Args:
            name: A field of `RunSums`.
        """
        return [getattr(sums, name) for sums in self.runs]

    @property
    def stall_ratio(self) -> float:
        """Of all runs, 0..1."""
        return ratio(self.column("stall_s"), self.column("stream_s")) or 0.0


def count_runs(runs: int) -> int:
    """Return how many runs are simulated in all.

    Args:
        runs: Of each way, load and number of answers.
    """
    return runs * len(LOADS) * len(ANSWERS) * len(WAYS)


def simulate(
    *,
    runs: int,
    seed: int,
    ways: Sequence[str] = tuple(WAYS),
    loads: Sequence[TextLoad] = LOADS,
    answers: Sequence[int] = ANSWERS,
    executor: Executor | None = None,
    progress: Callable[[int], None] = tell_nobody,
) -> list[Finding]:
    """Simulate every way.

    Args:
        runs: Of each way, load and number of answers.
        seed: Of all of it.
        ways: Names of ways.
        loads: What is streamed.
        answers: At once on a connection.
        executor: Who computes; None for this process.
        progress: Called with 1 after each run.
    """
    cases = [(way, load, count) for load in loads for count in answers for way in ways]
    wanted = [Run(*case, seed=seed * SEEDS_APART + number) for case in cases for number in range(runs)]
    done = []
    for sums in map(run, wanted) if executor is None else in_order(executor, run, wanted):
        done.append(sums)
        progress(1)
    return [Finding(*case, tuple(done[place * runs : (place + 1) * runs])) for place, case in enumerate(cases)]


def table(found: Sequence[Finding]) -> Table:
    """Return all that was found, a row for each way, load and number of answers; the last column is of `eloquent-quic` alone.

    Args:
        found: What `simulate` gave.
    """
    sealed = {(one.load, one.answers): one for one in found if one.way == REFERENCE}
    rows: list[tuple[Cell, ...]] = []
    for one in found:
        stalls, streams, tokens = (one.column(name) for name in ("stall_s", "stream_s", "tokens"))
        low, high = share_interval(stalls, streams) or (None, None)
        over = (
            one.stall_ratio - sealed[one.load, one.answers].stall_ratio if (one.load, one.answers) in sealed else None
        )
        met = None if one.way != OURS or over is None else "yes" if over <= ALLOWED else "NO"
        rows.append(
            (
                *(one.load.rate, one.load.content, one.answers, one.way, len(one.runs)),
                *(one.stall_ratio, low, high, ratio(one.column("stall_210_s"), streams)),
                *(ratio(one.column(name), [1.0] * len(one.runs)) for name in ("late_p50_s", "late_p99_s")),
                sum(one.column("whole")) / (one.answers * len(one.runs)),
                *(ratio(one.column(name), tokens) for name in ("down_bytes", "up_bytes")),
                over,
                met,
            )
        )
    headings = (
        *("tokens_per_s", "content", "answers", "way", "runs", "stall_ratio", "low", "high", "stall_ratio_210"),
        *("late_p50_s", "late_p99_s", "whole", "bytes_down", "bytes_up", "over_sealed", "met"),
    )
    title = "Answers that share one connection: stalls, seconds that tokens took, and bytes a token"
    return Table("quic", title, headings, tuple(rows))
