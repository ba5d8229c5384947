"""The blocking driver: the same datagrams as an event heap in virtual time, and real sockets with threads and greenlets."""

import asyncio
import heapq
import itertools
import queue
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Self

import pytest

from eloquent import schemes
from eloquent.drivers import blocking
from eloquent.drivers.blocking import PAUSE_AT, BlockingUdpClient, Stream, StreamLost
from eloquent.drivers.udp import UdpServer
from eloquent.errors import LocalProtocolError
from eloquent.protocol.datagram import Datagram, Ping, encode_datagram
from eloquent.protocol.session import (
    ServerEvent,
    ServerSession,
    StreamCancelled,
    StreamEnded,
    StreamRequested,
    StreamToken,
)


class World:
    """Virtual time around one blocking client: its socket, its selector, its server, and others' deeds while it waits."""

    def __init__(self, fate: Callable[[str, bytes], list[float]]) -> None:
        self.now = 0.0
        self.log: list[tuple[float, str, bytes]] = []
        self.server: Any
        self.client: BlockingUdpClient
        self._fate = fate
        self._order = itertools.count()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._inbox: deque[bytes] = deque()
        self._wakeups: deque[bytes] = deque()

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        udp = SimpleNamespace(
            settimeout=lambda _: None,
            connect=lambda _: None,
            send=lambda data: self.send("client", data),
            recv=lambda _: self._pop(self._inbox),
            close=lambda: None,
        )
        writer = SimpleNamespace(
            settimeout=lambda _: None, send=self._wakeups.append, fileno=lambda: 3, close=lambda: None
        )
        reader = SimpleNamespace(settimeout=lambda _: None, recv=lambda _: self._pop(self._wakeups), close=lambda: None)
        names = {name: getattr(socket, name) for name in ("AF_INET", "AF_INET6", "SOCK_DGRAM")}
        fake = SimpleNamespace(socket=lambda *_: udp, socketpair=lambda: (writer, reader), **names)
        monkeypatch.setattr(blocking, "socket", fake)
        monkeypatch.setattr(blocking, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(blocking, "selectors", SimpleNamespace(DefaultSelector=lambda: self, EVENT_READ=1))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def register(self, *_: object) -> None:
        pass

    def at(self, instant: float, deed: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (instant, next(self._order), deed))

    def send(self, side: str, data: bytes) -> None:
        self.log.append((self.now, side, data))
        for delay in self._fate(side, data):
            self.at(self.now + delay, lambda: self._arrive(side, data))

    def pump(self) -> None:
        """Let the server send, as a driver does after each input."""
        for data in self.server.datagrams_to_send(now=self.now):
            self.send("server", data)
        while self.server.next_event() is not None:
            pass

    def select(self, timeout: float | None = None) -> None:
        """Wait as the operating system does: the world goes on until there is something for the client."""
        while not (self._inbox or self._wakeups):
            # The instant itself: the timeout is a difference that rounds.
            limit = self.client._endpoint.get_timer() if timeout is not None else None
            if limit is not None and limit < self._next() and (self._timer() is None or limit <= self._timer()):
                self.now = max(self.now, limit)
                return
            self.step()

    def step(self) -> None:
        """Do the next thing that does not wait for the client."""
        timer = self._timer()
        if timer is not None and timer < self._next():
            self.now = max(self.now, timer)
            self.server.handle_timer(now=self.now)
            self.pump()
        else:
            self.now, _, deed = heapq.heappop(self._heap)
            deed()

    def finish(self) -> None:
        while self._heap or self._timer() is not None:
            self.step()

    def _timer(self) -> Any:
        return self.server.get_timer()

    def _next(self) -> float:
        return self._heap[0][0] if self._heap else float("inf")

    def _arrive(self, side: str, data: bytes) -> None:
        if side == "server":
            self._inbox.append(data)
        else:
            self.server.receive_datagram(data, now=self.now)
            self.pump()

    @staticmethod
    def _pop(waiting: "deque[bytes]") -> bytes:
        if not waiting:
            raise BlockingIOError
        return waiting.popleft()


def test_the_same_datagrams_as_a_simulator(recorded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(recorded.fate())
    world.patch(monkeypatch)
    world.server = recorded.AtClient()
    world.client = BlockingUdpClient(("10.0.0.2", 7000), schemes.get, new_id=recorded.ids())
    streams = []

    def play(side: str, what: str, argument: Any) -> None:
        match what:
            case "open":
                streams.append(world.client.open(b"request", scheme=argument))
            case "cancel":
                streams[argument].close()
            case "close":
                world.client.close()
            case _:
                recorded.act(None, world.server, what, argument, world.now)
                world.pump()

    for at, side, what, argument in recorded.SCRIPT:
        world.at(at, lambda side=side, what=what, argument=argument: play(side, what, argument))
    world.client.run()
    world.finish()
    by_heap = recorded.by_event_heap(recorded.fate())
    assert len(by_heap) > 200
    assert [sent for sent in world.log if sent[0] <= by_heap[-1][0]] == by_heap  # later only the server forgets
    for stream in streams[:2]:
        *tokens, end = stream
        assert [token.index for token in tokens] == list(range(30))
        assert isinstance(end, StreamEnded)
    assert list(streams[2]) == []  # given up


class Application:
    """Answers with what it was asked for, a token each 100 bytes; what begins with `endless` it never ends."""

    def __init__(self) -> None:
        self.server: UdpServer
        self.events: list[ServerEvent] = []

    def __call__(self, session: ServerSession, event: ServerEvent) -> None:
        self.events.append(event)
        if isinstance(event, StreamRequested):
            for start in range(0, len(event.request), 100):
                self.server.send_token(session, event.stream_id, event.request[start : start + 100])
            if not event.request.startswith(b"endless"):
                self.server.finish(session, event.stream_id, trailer=b"bye")


@contextmanager
def serving() -> Iterator[tuple[tuple[str, int], Application, Callable[[], None]]]:
    """A server in a thread of its own; gives its address, what it sees, and how to stop it."""
    application, ready, stop = Application(), threading.Event(), threading.Event()
    address: list[tuple[str, int]] = []

    async def serve() -> None:
        server = application.server = await UdpServer.bind(("127.0.0.1", 0), schemes.get, application)
        address.append(server.address)
        ready.set()
        await asyncio.to_thread(stop.wait)
        server.close()
        await asyncio.sleep(0)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(20)
    try:
        yield address[0], application, stop.set
    finally:
        stop.set()
        thread.join()


@contextmanager
def running(address: tuple[str, int]) -> Iterator[BlockingUdpClient]:
    client = BlockingUdpClient(address, schemes.get)
    loop = threading.Thread(target=client.run)
    loop.start()
    try:
        yield client
    finally:
        client.close()
        loop.join(20)
        assert not loop.is_alive()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_several_threads_read_streams_of_one_session() -> None:
    texts: dict[int, bytes] = {}
    with serving() as (address, _, _), running(address) as client:

        def read(number: int) -> None:
            *tokens, end = client.open(b"%d " % number * 500, scheme=["eloquent", "retransmit"][number % 2])
            assert isinstance(end, StreamEnded)
            assert end.trailer == b"bye"
            texts[number] = b"".join(token.data for token in tokens if isinstance(token, StreamToken))

        readers = [threading.Thread(target=read, args=(number,)) for number in range(8)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(20)
    assert texts == {number: b"%d " % number * 500 for number in range(8)}
    assert client.malformed == 0


def test_a_stream_that_is_closed_is_cancelled_at_the_server() -> None:
    with serving() as (address, application, _), running(address) as client:
        stream = client.open(b"endless", scheme="eloquent")
        assert isinstance(next(stream), StreamToken)
        with pytest.raises(TimeoutError):
            stream.next_event(0.01)
        stream.close()
        stream.close()
        assert list(stream) == []
        until(lambda: any(isinstance(event, StreamCancelled) for event in application.events))
        *_, end = client.open(b"another", scheme="eloquent")
        assert isinstance(end, StreamEnded)


def test_what_ends_without_an_end_raises() -> None:
    with serving() as (address, _, stop), running(address) as client:
        streams = [client.open(b"endless", scheme="eloquent") for _ in range(2)]
        for stream in streams:
            next(stream)
        stop()
        for stream in streams:
            with pytest.raises(StreamLost, match="closed by the server"):
                next(stream)
        assert client.alive


def test_closing_the_client_ends_its_readers() -> None:
    with serving() as (address, _, _), running(address) as client:
        stream = client.open(b"endless", scheme="eloquent")
        next(stream)
        threading.Timer(0.05, client.close).start()
        with pytest.raises(StreamLost, match="closed by the client"):
            next(stream)


def test_a_reader_that_is_behind_slows_the_server_down_and_loses_nothing() -> None:
    request = b"%0100d" * 4000 % tuple(range(4000))
    with serving() as (address, _, _), running(address) as client:
        stream = client.open(request, scheme="retransmit")
        until(lambda: stream._waiting.qsize() >= blocking.PAUSE_AT)
        time.sleep(0.3)  # whatever comes meanwhile
        assert stream._waiting.qsize() < 2 * blocking.PAUSE_AT
        *tokens, end = stream
        assert isinstance(end, StreamEnded)
    assert b"".join(token.data for token in tokens if isinstance(token, StreamToken)) == request


def test_a_loop_that_fails_fails_its_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[BaseException] = []

    def run(client: BlockingUdpClient) -> None:
        try:
            client.run()
        except RuntimeError as error:
            failures.append(error)

    with serving() as (address, _, _):
        client = BlockingUdpClient(address, schemes.get)
        loop = threading.Thread(target=run, args=(client,))
        loop.start()
        stream = client.open(b"endless", scheme="eloquent")
        next(stream)
        monkeypatch.setattr(client._endpoint, "handle_timer", broken)
        with pytest.raises(StreamLost, match="loop has failed"):
            stream.next_event(20)
        loop.join(20)
        assert [str(failure) for failure in failures] == ["a bug"]
        assert not client.alive
        with pytest.raises(LocalProtocolError, match="loop has failed"):
            client.open(b"another", scheme="eloquent")
        stream.close()
        client.close()


def broken(*, now: float) -> None:
    raise RuntimeError("a bug")


def test_garbage_is_counted_and_a_deaf_address_survived() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        with running(server.getsockname()) as client:
            client.open(b"request", scheme="eloquent")
            _, address = server.recvfrom(2000)
            for data in (b"", b"garbage", encode_datagram(Datagram(b"another!", 0, Ping()))):
                server.sendto(data, address)
            until(lambda: client.malformed == 3)
            server.close()
            deaf = client.open(b"request", scheme="eloquent")
            with pytest.raises(TimeoutError):  # the kernel says that nobody is there; the client goes on asking
                deaf.next_event(0.3)
            with pytest.raises(StreamLost, match="nobody listens"):
                deaf.next_event(20)
            assert client.alive


def test_no_way_to_the_server_is_an_error() -> None:
    with pytest.raises(PermissionError):  # broadcast
        BlockingUdpClient(("255.255.255.255", 1), schemes.get)


GREENLETS = """
from gevent import monkey; monkey.patch_all()
import gevent, sys, threading
from eloquent import schemes
from eloquent.drivers.blocking import BlockingUdpClient
client = BlockingUdpClient(("127.0.0.1", int(sys.argv[1])), schemes.get)
threading.Thread(target=client.run).start()
def read(number):
    *tokens, end = client.open(b"%d " % number * 500, scheme="eloquent")
    return b"".join(token.data for token in tokens) == b"%d " % number * 500
readers = [gevent.spawn(read, number) for number in range(50)]
gevent.joinall(readers, timeout=20)
print(sum(bool(reader.value) for reader in readers), threading.active_count())
client.close()
"""


def test_greenlets_read_streams_of_one_session() -> None:
    with serving() as (address, _, _):
        words = [sys.executable, "-c", GREENLETS, str(address[1])]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "50"


class ReadMeanwhile(queue.SimpleQueue[Any]):
    """A queue whose reader takes everything as soon as somebody has looked how much it is."""

    def qsize(self) -> int:
        size = super().qsize()
        while not self.empty():
            self.get()
        return size


def test_a_stream_whose_reader_catches_up_while_it_is_paused_is_not_paused() -> None:
    client = BlockingUdpClient(("127.0.0.1", 9), schemes.get)
    stream = Stream(client, 0)
    stream._waiting = ReadMeanwhile()
    for index in range(PAUSE_AT - 1):
        stream._waiting.put(StreamToken(0, index, b"x"))
    assert not stream.put(StreamToken(0, PAUSE_AT, b"x"))
    assert not stream._paused
    client.close()
