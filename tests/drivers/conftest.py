"""A loop whose clock jumps to the next deadline, and UDP that never leaves the process."""

import asyncio
import heapq
import itertools
import random
import selectors
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from eloquent import schemes
from eloquent.protocol.client_endpoint import ClientEndpoint
from eloquent.protocol.server_endpoint import ServerEndpoint
from eloquent.protocol.session import ServerSession

Address = tuple[str, int]
Fate = Callable[[Any, bytes], list[float]]

CLIENT, SECRET = ("10.0.0.1", 1001), b"s" * 16
SCHEMES = ["eloquent", "retransmit", "duplicate-2"]

# A recorded script: (seconds, side, what). The client's requests and a cancel, and the server's tokens.
SCRIPT: list[tuple[float, str, str, Any]] = [
    *((0.013 * i, "client", "open", scheme) for i, scheme in enumerate(SCHEMES)),
    *(
        (5.0 + 0.0371 * i, "server", "token", (i % 3, f"token {i} ".encode() * (400 if i == 20 else 1)))
        for i in range(90)
    ),
    (6.5, "client", "cancel", 2),
    (8.9, "server", "finish", 0),
    (9.0, "server", "finish", 1),
    (30.0, "client", "close", None),
]


def fate(seed: int = 1) -> Fate:
    """The same odds for the same sequence of datagrams: deliver .7, drop .1, duplicate .1, delay .1."""
    draw = random.Random(seed)

    def judge(_sender: Any, _data: bytes) -> list[float]:
        what = draw.random()
        delay = 0.1 + draw.random() * 0.01
        if what < 0.7:
            return [delay]
        return [] if what < 0.8 else [delay, delay + 0.05] if what < 0.9 else [delay + 0.3]

    return judge


def ids() -> Callable[[], bytes]:
    """Draw connection ids that are the same each time."""
    numbers = itertools.count(1)
    return lambda: next(numbers).to_bytes(8)


def session_of(server: ServerEndpoint, stream_id: int) -> ServerSession:
    """The session that has, or had, a stream."""
    return next(one for one in server.sessions if stream_id in one._streams or stream_id in one._gone)


def act(client: Any, server: Any, what: str, argument: Any, now: float) -> None:
    """Play a step of the script on a client endpoint, or on a server endpoint."""
    match what:
        case "open":
            client.open_stream(b"request", scheme=argument, now=now)
        case "cancel":
            client.cancel_stream(argument, now=now)
        case "close":
            client.close(now=now)
        case "token":
            session = session_of(server, argument[0])
            session.send_token(argument[0], argument[1], now=now)
            server.touch(session)
        case "finish":
            session = session_of(server, argument)
            session.finish(argument, now=now)
            server.touch(session)


class AtClient:
    """A server endpoint seen by the one client."""

    def __init__(self) -> None:
        self.endpoint = ServerEndpoint(schemes.get, secret=SECRET)

    def receive_datagram(self, data: bytes, *, now: float) -> None:
        self.endpoint.receive_datagram(data, CLIENT, now=now)

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        return [data for data, _ in self.endpoint.datagrams_to_send(now=now)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.endpoint, name)


def by_event_heap(judge: Fate, *, when: Callable[[float], float] = float) -> list[tuple[float, str, bytes]]:
    """Play the script as a simulator does: an event heap, in virtual time; `when` tells by what is due when that is done."""
    ends: dict[str, Any] = {"client": ClientEndpoint(schemes.get, new_id=ids()), "server": AtClient()}
    order = itertools.count()
    heap: list[Any] = [(at, next(order), side, what, argument) for at, side, what, argument in SCRIPT]
    heapq.heapify(heap)
    log = []
    now = 0.0
    while heap:
        timers = [(when(timer), side) for side, end in ends.items() if (timer := end.get_timer()) is not None]
        if timers and min(timers)[0] < heap[0][0]:
            timer, side = min(timers)
            now = max(now, timer)  # a new estimate of the round trip may have moved a timer into the past
            ends[side].handle_timer(now=now)
        else:
            now, _, side, what, argument = heapq.heappop(heap)
            if what == "arrive":
                ends[side].receive_datagram(argument, now=now)
            else:
                act(ends["client"], ends["server"], what, argument, now)
        for data in ends[side].datagrams_to_send(now=now):
            log.append((now, side, data))
            for delay in judge(side, data):
                heapq.heappush(
                    heap, (now + delay, next(order), "server" if side == "client" else "client", "arrive", data)
                )
        while ends[side].next_event() is not None:
            pass
    return log


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """The selector loop with virtual time: where it would sleep, its clock jumps instead.

    Datagram sockets made on it are in memory: `fate` says, for each datagram, after how many seconds (none or several) it
    arrives. `log` keeps what was sent, with instant and sender.
    """

    def __init__(self, fate: Callable[[Address, bytes], list[float]]) -> None:
        super().__init__(_JumpingSelector(self))
        self.clock = 0.0
        self.fate = fate
        self.log: list[tuple[float, Address, bytes]] = []
        self.sockets: dict[Address, MemoryTransport] = {}
        self._clock_resolution = 1e-12  # seconds: a timer fires at its instant, not a tick before

    def time(self) -> float:
        return self.clock

    async def create_datagram_endpoint(  # type: ignore[override]  # only what the driver uses
        self, factory: Any, local_addr: Address | None = None, remote_addr: Address | None = None
    ) -> Any:
        address = local_addr if local_addr and local_addr[1] else ("10.0.0.1", 1000 + len(self.sockets))
        protocol = factory()
        transport = MemoryTransport(self, protocol, address, remote_addr)
        self.sockets[address] = transport
        protocol.connection_made(transport)
        return transport, protocol


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise AssertionError("nothing will ever happen")
        scheduled = self._loop._scheduled  # type: ignore[attr-defined]  # the exact instant, not a difference that rounds
        if timeout > 0 and scheduled:
            self._loop.clock = max(self._loop.clock, scheduled[0]._when)
        return super().select(0)


class MemoryTransport:
    """What the driver needs of a datagram transport."""

    def __init__(self, loop: VirtualTimeLoop, protocol: Any, address: Address, remote: Address | None) -> None:
        self._loop, self._protocol, self._address, self._remote = loop, protocol, address, remote

    def sendto(self, data: bytes, addr: Address | None = None) -> None:
        target = addr or self._remote
        assert target is not None
        self._loop.log.append((self._loop.time(), self._address, data))
        for delay in self._loop.fate(self._address, data):
            self._loop.call_at(self._loop.time() + delay, self._arrive, target, data)

    def _arrive(self, target: Address, data: bytes) -> None:
        if (other := self._loop.sockets.get(target)) is not None:
            other._protocol.datagram_received(data, self._address)

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str) -> Any:
        return self._address if name == "sockname" else None

    def close(self) -> None:
        self._loop.sockets.pop(self._address, None)


@pytest.fixture
def virtual() -> Iterator[Any]:
    loops: list[VirtualTimeLoop] = []

    def run(main: Callable[[VirtualTimeLoop], Any], fate: Callable[[Address, bytes], list[float]]) -> VirtualTimeLoop:
        loop = VirtualTimeLoop(fate)
        loops.append(loop)
        loop.run_until_complete(main(loop))
        return loop

    yield SimpleNamespace(run=run)
    for loop in loops:
        loop.close()


@pytest.fixture
def recorded() -> Any:
    """The recorded script, and the datagrams that an event heap makes of it."""
    return SimpleNamespace(
        SCRIPT=SCRIPT,
        SECRET=SECRET,
        fate=fate,
        ids=ids,
        act=act,
        session_of=session_of,
        AtClient=AtClient,
        by_event_heap=by_event_heap,
    )
