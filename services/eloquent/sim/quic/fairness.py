"""What text over sealed UDP or QUIC and a TCP leave each other on a slow line, and sessions each other.

Rules of this file

- The line has a round trip of 100 ms and a queue that counts packets; nothing else is lost. Text begins first, the TCP some
  seconds later. What counts is from `SETTLED` on.
- A session is one connection with its answers: thirty answers on one connection have one controller, thirty connections thirty.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import NamedTuple

from eloquent.sim.engine.experiment import in_order, tell_nobody
from eloquent.sim.engine.shared_link import SharedLink
from eloquent.sim.engine.tables import Cell, Table
from eloquent.sim.engine.workload import CLIENTS_APART, Workload, join_tcp
from eloquent.sim.quic.ways import WAYS

RTT = 0.1  # seconds
HEADERS = 42  # bytes of Ethernet, IPv4 and UDP
TCP_AFTER = 2.0  # seconds after the last client begins
SETTLED = 15.0  # seconds


class Line(NamedTuple):
    """A bottleneck.

    Attributes:
        name: What tables call it.
        rate: Bytes a second.
        queue: Packets that it holds at most, those on their way included.
    """

    name: str
    rate: float
    queue: int


NARROW, BROAD = Line("64 kbit/s", 64_000 / 8, 30), Line("1 Mbit/s", 1_000_000 / 8, 200)


class Case(NamedTuple):
    """Who shares a line.

    Attributes:
        way: Name of the way by which text goes (`ways`).
        line: The line.
        connections: Clients.
        answers: At once for each.
        rate: Tokens a second of each answer.
        tcp: Whether there is a TCP that sends all it can.
        seconds: How long all of it takes.
    """

    way: str
    line: Line
    connections: int
    answers: int
    rate: float = 10.0
    tcp: bool = True
    seconds: float = 60.0


class Shares(NamedTuple):
    """What each got.

    Attributes:
        text: Of the line, by all datagrams with text, 0..1.
        tcp: Of the line, by the TCP, 0..1.
        least: Of the line, by the connection that got least, times the number of them.
        wait_p50_s: Seconds that packets waited for the line, at the median.
        wait_p95_s: At the 95th percentile.
        late_p50_s: Seconds that tokens took, at the median.
        late_p95_s: At the 95th percentile.
        begun: Of the answers, those of which something has arrived, 0..1.
        arrived: Of the tokens that were made, how many have arrived, 0..1.
    """

    text: float
    tcp: float
    least: float
    wait_p50_s: float
    wait_p95_s: float
    late_p50_s: float
    late_p95_s: float
    begun: float
    arrived: float


def share(case: Case) -> Shares:
    """Let time pass on the line, and return what each got.

    Args:
        case: Who shares which line.
    """
    way, line = WAYS[case.way], case.line
    link = SharedLink(rtt=RTT, rate=line.rate, queue=line.queue, headers=HEADERS)
    workload = Workload(link, way.make_server(0), scheme=way.scheme, rate=case.rate)
    clients = [way.make_client(number) for number in range(case.connections)]
    workload.ask_in_turn(clients, answers=case.answers, seconds=case.seconds)
    last = (case.connections - 1) * CLIENTS_APART
    if case.tcp:
        join_tcp(link, at=last + TCP_AFTER)
    link.run(case.seconds)
    since = last + SETTLED
    each = [link.rate(f"chat {number}", since) / line.rate for number in range(case.connections)]
    return Shares(
        sum(each),
        link.rate("tcp", since) / line.rate,
        min(each) * case.connections,
        link.wait(since, 0.5),
        link.wait(since, 0.95),
        workload.delay(0.5),
        workload.delay(0.95),
        len(workload.arrived) / (case.connections * case.answers),
        workload.arrived_share(),
    )


CASES = tuple(
    Case(way, line, connections, answers, tcp=tcp, seconds=seconds)
    for line in (NARROW, BROAD)
    for connections, answers, tcp, seconds in (
        (1, 1, True, 60.0),
        (1, 30, True, 60.0),
        (1, 200, True, 60.0),
        (30, 1, True, 90.0),
        (1, 30, False, 60.0),
        (1, 200, False, 60.0),
        (30, 1, False, 60.0),
        (200, 1, False, 120.0),
    )
    for way in ("sealed", "eloquent-quic")
)


def table(
    cases: Sequence[Case] = CASES,
    *,
    executor: Executor | None = None,
    progress: Callable[[int], None] = tell_nobody,
) -> Table:
    """Return what each got in every case.

    Args:
        cases: The cases.
        executor: Who computes; None for this process.
        progress: Called with 1 after each case.
    """
    found = map(share, cases) if executor is None else in_order(executor, share, cases)
    rows: list[tuple[Cell, ...]] = []
    for case, shares in zip(cases, found, strict=True):
        rows.append((case.line.name, case.way, case.connections, case.answers, "CUBIC" if case.tcp else "", *shares))
        progress(1)
    headings = ("line", "way", "connections", "answers_each", "beside", *Shares._fields)
    return Table("fairness", "What text and a TCP leave each other on a slow line", headings, tuple(rows))
