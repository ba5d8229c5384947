"""Virtual time and a terrible network, for endpoints and for sessions."""

import heapq
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from eloquent import schemes
from eloquent.errors import RemoteProtocolError
from eloquent.protocol.client_endpoint import ClientEndpoint
from eloquent.protocol.limits import EndpointLimits
from eloquent.protocol.server_endpoint import ServerEndpoint
from eloquent.protocol.session import StreamRequested, StreamToken

Side = str  # "a" or "b"


@dataclass
class Path:
    """What happens to each datagram: one-way delay, and a fate drawn with these odds.

    The odds of `terrible()` are trio's: deliver .7, drop .1, duplicate .1, delay .1.
    """

    delay: float = 0.05  # seconds
    drop: float = 0.0
    duplicate: float = 0.0
    late: float = 0.0
    corrupt: float = 0.0
    seed: int = 0
    until: float = float("inf")  # seconds; after that every datagram gets through
    blackouts: list[tuple[float, float]] = field(default_factory=list)
    judge: Callable[[Side, int, bytes], bool] | None = None  # (sender, its datagram count, data) -> whether it is lost

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._count = {"a": 0, "b": 0}

    def arrivals(self, side: Side, data: bytes, now: float) -> Iterator[tuple[float, bytes]]:
        self._count[side] += 1
        if any(start <= now < stop for start, stop in self.blackouts):
            return
        if self.judge is not None and self.judge(side, self._count[side], data):
            return
        odds = [self.drop, self.duplicate, self.late, self.corrupt] if now < self.until else [0.0] * 4
        effect = self._random.choices(["drop", "duplicate", "late", "corrupt", "deliver"], [*odds, 1 - sum(odds)])[0]
        if effect == "drop":
            return
        if effect == "corrupt":
            position = self._random.randrange(len(data))
            data = data[:position] + bytes([data[position] ^ self._random.randrange(1, 256)]) + data[position + 1 :]
        yield now + self.delay + (self._random.random() * 0.5 if effect == "late" else 0.0), data
        if effect == "duplicate":
            yield now + self.delay + self._random.random() * 0.2, data


def terrible(seed: int = 0, *, corrupt: float = 0.0, until: float = 20.0) -> Path:
    return Path(drop=0.1, duplicate=0.1, late=0.1, corrupt=corrupt, seed=seed, until=until)


class EndpointPair:
    """Two endpoints and the path between them, in virtual time; what happens is kept in `events` and `sent`."""

    def __init__(self, a: Any, b: Any, path: "Path | None" = None) -> None:
        self.ends = {"a": a, "b": b}
        self.path = path if path is not None else Path()
        self.now = 0.0
        self.events: dict[Side, list[Any]] = {"a": [], "b": []}
        self.sent: dict[Side, list[tuple[float, bytes]]] = {"a": [], "b": []}
        self.refused = 0
        self.on_event: Callable[[Side, Any], None] = lambda side, event: None
        self._heap: list[tuple[float, int, Callable[[], Side | None]]] = []
        self._order = itertools.count()

    def at(self, when: float, action: Callable[[], object], side: Side = "a") -> None:
        """Call `action` at an instant, then ask that side what it wants."""

        def run() -> Side:
            action()
            return side

        heapq.heappush(self._heap, (when, next(self._order), run))

    def flush(self, side: Side) -> None:
        end = self.ends[side]
        progress = True
        while progress:
            progress = False
            for data in end.datagrams_to_send(now=self.now):
                progress = True
                self.sent[side].append((self.now, data))
                for when, arrived in self.path.arrivals(side, data, self.now):
                    self._deliver(when, "b" if side == "a" else "a", arrived)
            while (event := end.next_event()) is not None:
                progress = True
                self.events[side].append(event)
                self.on_event(side, event)

    def run(self, until: float = 120.0) -> None:
        """Let time pass until nothing is left to happen, or until an instant."""
        for side in self.ends:
            self.flush(side)
        while True:
            timers = [(timer, side) for side, end in self.ends.items() if (timer := end.get_timer()) is not None]
            due = min(timers, default=None)
            at_heap = self._heap[0][0] if self._heap else float("inf")
            instant = min(at_heap, due[0] if due else float("inf"))
            if instant > until or instant == float("inf"):
                self.now = until if instant != float("inf") else self.now
                return
            self.now = max(self.now, instant)
            if at_heap <= (due[0] if due else float("inf")):
                side = heapq.heappop(self._heap)[2]()
            else:
                assert due is not None
                side = due[1]
                self._fire(side, due[0])
            if side is not None:
                self.flush(side)

    def _fire(self, side: Side, timer: float) -> None:
        """A timer makes progress: datagrams, events, or a later timer (the contract of endpoints)."""
        end = self.ends[side]
        end.handle_timer(now=self.now)
        before = len(self.sent[side]) + len(self.events[side])
        self.flush(side)
        after = end.get_timer()
        assert after is None or after > timer or len(self.sent[side]) + len(self.events[side]) > before

    def _deliver(self, when: float, side: Side, data: bytes) -> None:
        def run() -> Side | None:
            try:
                self.ends[side].receive_datagram(data, now=self.now)
            except RemoteProtocolError:
                self.refused += 1
            return side

        heapq.heappush(self._heap, (when, next(self._order), run))


CLIENT, SERVER = ("10.0.0.1", 1000), ("10.0.0.2", 7000)


class AtOneAddress:
    """A server endpoint seen by one client, so that a pair of endpoints needs no addresses.

    Attributes:
        endpoint: The endpoint.
        address: Where the client sends from.
        elsewhere: What the server sent to other addresses.
    """

    def __init__(self, endpoint: ServerEndpoint, address: tuple[str, int] = CLIENT) -> None:
        self.endpoint = endpoint
        self.address = address
        self.elsewhere: list[tuple[bytes, tuple[str, int]]] = []

    def receive_datagram(self, data: bytes, *, now: float) -> None:
        self.endpoint.receive_datagram(data, self.address, now=now)

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        sent = self.endpoint.datagrams_to_send(now=now)
        self.elsewhere += [(data, address) for data, address in sent if address != self.address]
        return [data for data, address in sent if address == self.address]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.endpoint, name)


class Talk:
    """A client endpoint (a) and a server endpoint (b) that answers each request with its tokens."""

    def __init__(
        self, path: "Path | None" = None, *, answers: Any = None, limits: EndpointLimits | None = None
    ) -> None:
        ids = itertools.count()
        self.client = ClientEndpoint(schemes.get, new_id=lambda: next(ids).to_bytes(8))
        self.limits = limits
        self.server = AtOneAddress(self.make_server())
        self.pair = EndpointPair(self.client, self.server, path)
        self.pair.on_event = self._on_event
        self.answers = answers if answers is not None else {}
        self.gap = 0.1

    def make_server(self, secret: bytes = b"s" * 16) -> ServerEndpoint:
        return ServerEndpoint(schemes.get, secret=secret, limits=self.limits)

    def restart(self) -> None:
        """Begin anew with nothing of what the server knew."""
        self.server.endpoint = self.make_server(b"t" * 16)

    @property
    def now(self) -> float:
        return self.pair.now

    def ask(self, request: bytes, scheme: str = "eloquent", *, at: float = 0.0) -> None:
        self.pair.at(at, lambda: self.client.open_stream(request, scheme=scheme, now=self.now))

    def _on_event(self, side: str, event: Any) -> None:
        if side == "b" and isinstance(event[1], StreamRequested):
            session, (stream_id, request) = event[0], (event[1].stream_id, event[1].request)
            tokens = self.answers.get(request, [b"hello", b" world"])
            for i, token in enumerate(tokens):
                self._later(
                    i * self.gap, session, lambda token=token: session.send_token(stream_id, token, now=self.now)
                )
            self._later(len(tokens) * self.gap, session, lambda: session.finish(stream_id, now=self.now))

    def _later(self, after: float, session: Any, action: Any) -> None:
        endpoint = self.server.endpoint

        def act() -> None:
            if self.server.endpoint is endpoint:  # not of a server that is no more
                action()
                endpoint.touch(session)

        self.pair.at(self.now + after, act, "b")

    def text(self, stream_id: int) -> bytes:
        events = [event for event in self.pair.events["a"] if isinstance(event, StreamToken)]
        return b"".join(event.data for event in events if event.stream_id == stream_id)

    def ends(self) -> list[Any]:
        return [event for event in self.pair.events["a"] if not isinstance(event, StreamToken)]


@pytest.fixture(scope="session")
def net() -> Any:
    """The helpers of this file, for tests that cannot import them."""

    return SimpleNamespace(
        Path=Path,
        terrible=terrible,
        EndpointPair=EndpointPair,
        Talk=Talk,
        AtOneAddress=AtOneAddress,
        CLIENT=CLIENT,
        SERVER=SERVER,
    )
