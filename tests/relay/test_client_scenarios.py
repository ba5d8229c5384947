"""The scenarios of the QUIC network simulator, in virtual time: every token comes once, in order, sealed and over QUIC."""

import heapq
import importlib.util
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from eloquent import schemes
from eloquent.channel.link import LinkModel
from eloquent.protocol.session import StreamEnded, StreamToken

WORDS = [f"word {i} ".encode() for i in range(200)]  # ten a second
RATE, QUEUE, DELAY = 125_000.0, 25, 0.015  # bytes a second, packets, seconds: of a narrow link that others use
HEADERS = 28  # bytes
BURST = 30  # datagrams of who else sends
BURST_GAP = BURST * (1200 + HEADERS) / (0.9 * RATE)  # seconds


def in_bursts(seed: int) -> Callable[[str, int, bytes], bool]:
    """Lose 30 % of each direction's datagrams, in bursts of three."""
    draw, left = random.Random(seed), {"a": 0, "b": 0}

    def is_lost(side: str, count: int, data: bytes) -> bool:
        if not left[side] and draw.random() < 1 / 7:  # 3 lost for 7 that are not
            left[side] = 3
        left[side] -= (lost := left[side] > 0)
        return lost

    return is_lost


SCENARIOS: dict[str, dict[str, Any]] = {
    "delay of 750 ms": {"delay": 0.75},
    "loss of 30 % in bursts of 3": {"judge": in_bursts(1)},
    "corruption of 2 %": {"corrupt": 0.02, "seed": 2},
    "corruption of 30 %": {"corrupt": 0.3, "seed": 3},
    "blackhole, 5 s on and 2 s off": {"blackouts": [(start + 5.0, start + 7.0) for start in range(0, 200, 7)]},
}


@pytest.fixture(params=["sealed", "quic"], scope="module")
def between(request: pytest.FixtureRequest) -> Any:
    """A client and a server in virtual time, and sealed datagrams or QUIC between: the helpers of either folder's tests."""
    file = Path(__file__).parent / request.param / "conftest.py"
    spec = importlib.util.spec_from_file_location(f"scenarios_{request.param}", file)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if request.param == "sealed":
        return SimpleNamespace(Talk=module.SealedTalk, Path=module.network.Path, phases=20)
    return SimpleNamespace(Talk=module.QuicTalk, Path=module.network.Path, phases=4)  # which take ten times as long


@pytest.mark.parametrize("scheme", ["eloquent", "eloquent-packed", "retransmit"])
class TestScenarios:
    @pytest.mark.parametrize("scenario", SCENARIOS)
    def test_of_the_path(self, between: Any, scheme: str, scenario: str) -> None:
        talk = between.Talk(between.Path(**{"delay": 0.015, **SCENARIOS[scenario]}), answers={b"q": WORDS})
        assert_whole(talk, scheme)

    @pytest.mark.parametrize("interval", [1.0, 5.0])
    def test_of_another_port(self, between: Any, scheme: str, interval: float) -> None:
        talk = between.Talk(between.Path(delay=0.015), answers={b"q": WORDS})
        for step in range(1, int(30 / interval)):
            talk.rebind(step * interval)
        assert_whole(talk, scheme)

    def test_of_another_port_each_second_after_an_outage(self, between: Any, scheme: str) -> None:
        """A ping shows the new port, to which little may go until a challenge has come back; by the next one it is another."""
        for phase in range(between.phases):
            talk = between.Talk(between.Path(delay=0.015, blackouts=[(5.0, 9.0)]), answers={b"q": WORDS})
            for step in range(1, 30):
                talk.rebind(step + phase / between.phases)
            assert_whole(talk, scheme, until=25.0)

    def test_of_another_address(self, between: Any, scheme: str) -> None:
        talk = between.Talk(between.Path(delay=0.015), answers={b"q": WORDS})
        for step in range(1, 6):
            talk.pair.at(5.0 * step, lambda step=step: setattr(talk.server, "address", (f"10.9.0.{step}", 77)))
        assert_whole(talk, scheme)

    @pytest.mark.parametrize("other", ["udp", "tcp"])
    def test_of_cross_traffic(self, between: Any, scheme: str, other: str) -> None:
        talk = between.Talk(answers={b"q": WORDS})
        talk.pair.path = link = NarrowLink(talk)
        flood = Datagrams(link) if other == "udp" else Connection(link)
        talk.pair.at(0.0, flood.begin)
        assert_whole(talk, scheme)
        assert link.links["b"].overflowed > 20  # it was full, again and again
        assert flood.carried > 0.5 * RATE * 20


def assert_whole(talk: Any, scheme: str, *, until: float = 100.0) -> None:
    talk.ask(b"q", scheme)
    talk.pair.run(until=until)
    assert [event.data for event in talk.pair.events["a"] if isinstance(event, StreamToken)] == WORDS
    assert talk.ends() == [StreamEnded(0, b"")]


class NarrowLink:
    """A path of 1 Mbit/s each way, with a queue that drops at its tail."""

    def __init__(self, talk: Any) -> None:
        self.pair = talk.pair
        self.links = {side: LinkModel(delay=DELAY, rate=RATE, queue=QUEUE, rng=random.Random(1)) for side in ("a", "b")}

    def admit(self, side: str, size: int, now: float, arrive: Callable[[], object] = lambda: None) -> None:
        """Carry so many bytes, unless the queue is full."""
        out = self.links[side].admit(size + HEADERS, now, 0.0)
        if out is not None:
            self.pair.at(out, lambda: (self.links[side].leave(), arrive()), side)

    def arrivals(self, side: str, data: bytes, now: float) -> Iterator[tuple[float, bytes]]:
        link = self.links[side]
        out = link.admit(len(data) + HEADERS, now, 0.0)
        if out is not None:
            self.pair.at(out, link.leave, side)
            yield out, data


class Datagrams:
    """Somebody who sends the same way as the answer for 30 s: nine tenths of the rate, in bursts longer than the queue."""

    def __init__(self, link: NarrowLink) -> None:
        self.link = link
        self.carried = 0

    def begin(self) -> None:
        for burst in range(int(30 / BURST_GAP)):
            self.link.pair.at(burst * BURST_GAP, self._send, "b")

    def _send(self) -> None:
        for _ in range(BURST):
            self.link.admit("b", 1200, self.link.pair.now, self._arrive)

    def _arrive(self) -> None:
        self.carried += 1200


class Connection:
    """A modelled TCP connection that carries as much as it can, the same way as the answer, for 30 s."""

    def __init__(self, link: NarrowLink) -> None:
        self.link = link
        scheme = schemes.get("tcp")
        self.sender, self.receiver = scheme.make_sender(), scheme.make_receiver()
        self._timers: list[float] = []

    @property
    def carried(self) -> int:
        return self.sender.account.original_bytes - 1000 * self.sender.backlog

    def begin(self) -> None:
        self._turn()

    def _turn(self) -> None:
        now = self.link.pair.now
        while now < 30.0 and self.sender.backlog < 200:
            self.sender.send_token(bytes(1000), now=now)
        for data in self.sender.datagrams_to_send(now=now):
            self.link.admit("b", len(data), now, lambda data=data: self._arrive(self.receiver, data))
        for data in self.receiver.datagrams_to_send(now=now):
            self.link.admit("a", len(data), now, lambda data=data: self._arrive(self.sender, data))
        for end in (self.sender, self.receiver):
            while end.next_event() is not None:
                pass
            if (due := end.get_timer()) is not None and (not self._timers or due < self._timers[0]) and now < 60.0:
                heapq.heappush(self._timers, due)
                self.link.pair.at(max(due, now), self._wake)

    def _wake(self) -> None:
        heapq.heappop(self._timers)
        for end in (self.sender, self.receiver):
            end.handle_timer(now=self.link.pair.now)
        self._turn()

    def _arrive(self, end: Any, data: bytes) -> None:
        end.receive_datagram(data, now=self.link.pair.now)
        self._turn()
