"""The asyncio driver: the same datagrams as an event heap in virtual time, real sockets, and bad input to a live server."""

import asyncio
import math
import random
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from eloquent import schemes
from eloquent.drivers.udp import RECEIVE_BUFFER, UdpClient, UdpServer
from eloquent.protocol.address_token import AddressTokens
from eloquent.protocol.datagram import (
    CLIENT_KINDS,
    Answer,
    Cancel,
    Cancelled,
    Close,
    Datagram,
    Hello,
    Open,
    Ping,
    Pong,
    Retry,
    decode_datagram,
    encode_datagram,
)
from eloquent.protocol.session import (
    ClientEvent,
    RequestState,
    ServerEvent,
    ServerSession,
    SessionLost,
    StreamEnded,
    StreamFailed,
    StreamRequested,
    StreamToken,
)

ID = b"sessionA"
SERVER = ("10.0.0.2", 7000)
SCHEMES = ["eloquent", "retransmit", "duplicate-2"]


def test_the_same_datagrams_as_a_simulator(virtual: Any, recorded: Any) -> None:
    async def main(loop: Any) -> None:
        server = await UdpServer.bind(SERVER, schemes.get, lambda session, event: None, secret=recorded.SECRET)
        client = await UdpClient.connect(SERVER, schemes.get, lambda event: None, new_id=recorded.ids())

        def play(what: str, argument: Any) -> None:
            match what:
                case "open":
                    client.open_stream(b"request", scheme=argument)
                case "cancel":
                    client.cancel_stream(argument)
                case "close":
                    client.close()
                case "token":
                    server.send_token(recorded.session_of(server.endpoint, argument[0]), *argument)
                case "finish":
                    server.finish(recorded.session_of(server.endpoint, argument), argument)

        for at, _side, what, argument in recorded.SCRIPT:
            loop.call_at(at, play, what, argument)
        await asyncio.sleep(40.0)
        server.close()

    loop = virtual.run(main, recorded.fate())
    by_heap = recorded.by_event_heap(recorded.fate(), when=lambda due: math.ceil(due * 1000) / 1000)
    until = by_heap[-1][0]  # later the server is closed
    by_driver = [(at, "server" if who == SERVER else "client", data) for at, who, data in loop.log if at <= until]
    assert len(by_heap) > 200
    assert by_driver == by_heap


class Alarm:
    """An endpoint that is only to be called at an instant, which it puts off when it is told to."""

    def __init__(self) -> None:
        self.due: float | None = None
        self.calls = 0

    def get_timer(self) -> float | None:
        return self.due

    def handle_timer(self, *, now: float) -> None:
        self.calls += 1
        if self.due is not None and now >= self.due:
            self.due = None

    def resume(self, _: int) -> None:
        """Like any call of the driver's, one after which it asks for the timer."""

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        return []

    def next_event(self) -> None:
        return None


def test_the_coarse_clock_of_uvloop_makes_no_timer_spin() -> None:
    """It has whole milliseconds, and rounds: a timer set to the instant itself fires before it, hundreds of times."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        alarm: Any = Alarm()
        client = await UdpClient.carry(alarm, ("127.0.0.1", 9), lambda event: None)
        for part in range(10):
            alarm.due = math.floor(loop.time() * 1000) / 1000 + 0.020 + part * 1e-4
            client.resume(0)
            await until(lambda: alarm.due is None)
        client.abandon()
        assert alarm.calls == 10

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_a_timer_is_not_set_anew_when_it_is_put_off(virtual: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(loop: Any) -> None:
        set_to: list[float] = []
        alarm: Any = Alarm()
        client = await UdpClient.carry(alarm, SERVER, lambda event: None)
        call_at = loop.call_at
        monkeypatch.setattr(
            loop, "call_at", lambda at, *rest, **more: (set_to.append(at), call_at(at, *rest, **more))[1]
        )
        for step in range(100):
            alarm.due = 100.0 + step
            client.resume(0)
        assert set_to == [100.0]
        alarm.due = 99.0
        client.resume(0)
        assert set_to == [100.0, 99.0]
        await asyncio.sleep(150.0)
        assert alarm.due is None

    virtual.run(main, lambda side, data: [])


class Application:
    """Answers every request with what it was asked for, token by token; reads on as the client does."""

    def __init__(self) -> None:
        self.server: UdpServer
        self.events: list[ServerEvent] = []
        self.tasks: list[asyncio.Task[None]] = []

    def __call__(self, session: ServerSession, event: ServerEvent) -> None:
        self.events.append(event)
        if isinstance(event, StreamRequested):
            self.tasks.append(asyncio.get_running_loop().create_task(self.answer(session, event)))

    async def answer(self, session: ServerSession, event: StreamRequested) -> None:
        for start in range(0, len(event.request), 100):
            while session.backlog(event.stream_id) > 1000:  # noqa: ASYNC110 - no event tells of progress
                await asyncio.sleep(0.001)
            self.server.send_token(session, event.stream_id, event.request[start : start + 100])
            await asyncio.sleep(0)
        self.server.finish(session, event.stream_id)


async def serve(address: Any = ("127.0.0.1", 0), **options: Any) -> tuple[UdpServer, Application]:
    application = Application()
    application.server = await UdpServer.bind(address, schemes.get, application, **options)
    return application.server, application


class Reader:
    """Collects a client's events and knows when `count` streams are over."""

    def __init__(self, count: int = 1) -> None:
        self.events: list[ClientEvent] = []
        self.over = asyncio.Event()
        self._left = count

    def __call__(self, event: ClientEvent) -> None:
        self.events.append(event)
        self._left -= isinstance(event, StreamEnded | StreamFailed)
        if not self._left:
            self.over.set()

    def text(self, stream_id: int) -> bytes:
        tokens = [event for event in self.events if isinstance(event, StreamToken)]
        return b"".join(token.data for token in tokens if token.stream_id == stream_id)


async def ask(server: UdpServer, request: bytes, *names: str) -> tuple[UdpClient, Reader]:
    reader = Reader(len(names))
    client = await UdpClient.connect(server.address, schemes.get, reader)
    for scheme in names:
        client.open_stream(request, scheme=scheme)
    async with asyncio.timeout(10):
        await reader.over.wait()
    return client, reader


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the sockets are the kernel's, and set no event of ours
            await asyncio.sleep(0)


def test_over_real_sockets() -> None:
    async def main() -> None:
        server, application = await serve()
        request = b"a long prompt " * 300
        client, reader = await ask(server, request, *SCHEMES)
        assert [reader.text(stream_id) for stream_id in range(3)] == [request] * 3
        assert len(server.endpoint.sessions) == 3
        client.close()
        await until(lambda: not server.endpoint.sessions)
        assert isinstance(application.events[-1], SessionLost)
        assert (client.malformed, server.malformed) == (0, 0)
        server.close()

    asyncio.run(main())


def test_garbage_is_counted_and_survived() -> None:
    async def main() -> None:
        server, _ = await serve()
        loop = asyncio.get_running_loop()
        garbage, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=server.address)
        draw = random.Random(1)
        for size in range(100):
            garbage.sendto(draw.randbytes(size * 11 + 1))
        client, reader = await ask(server, b"still there", "eloquent")
        assert reader.text(0) == b"still there"
        tokens = AddressTokens(b"s" * 16)
        server.endpoint._tokens = tokens
        ours = tokens.issue(garbage.get_extra_info("sockname"), now=loop.time())
        garbage.sendto(encode_datagram(Datagram(b"sessionB", 9, Pong(0))))  # what only a server says
        garbage.sendto(encode_datagram(Datagram(b"sessionB", 9, Open(ours, 0, b"\x0b"))))  # not a payload
        await until(lambda: server.malformed >= 102)
        assert len(server.endpoint.sessions) == 1
        client.close()
        garbage.close()
        server.close()

    asyncio.run(main())


def test_a_burst_that_nobody_reads_at_once_waits_in_the_kernel(needs_root: None) -> None:
    async def main() -> None:
        server, _ = await serve()
        room = server._transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        assert room >= RECEIVE_BUFFER
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(3000):
                sender.sendto(b"no datagram of ours", server.address)
        await until(lambda: server.malformed == 3000)
        server.close()

    asyncio.run(main())


def test_two_servers_do_not_answer_each_other_for_ever() -> None:
    """A forged source cannot be had on loopback, so one server's socket says what the other is to answer."""

    async def main() -> None:
        one, other = (await serve())[0], (await serve())[0]
        said = [Cancel(3), Hello(), Ping(), Close(0, "x"), Cancelled(3), Retry(0, bytes(22)), Open(bytes(22), 0, b"x")]
        for body in said:
            one._transport.sendto(encode_datagram(Datagram(ID, 0, body)), other.address)
            one._transport.sendto(encode_datagram(Datagram(ID, 0, body)), one.address)
        taken = 2 * len(said)
        replies = 2 * sum(isinstance(body, CLIENT_KINDS) for body in said)  # each of which its receiver drops
        await until(lambda: one.malformed + other.malformed >= taken)
        await asyncio.sleep(0.2)
        assert one.malformed + other.malformed == taken
        sent = Counter(one.endpoint.tally.sent) + Counter(other.endpoint.tally.sent)
        assert sum(sent.values()) == replies
        one.close()
        other.close()

    asyncio.run(main())


def test_a_restarted_server_fails_the_streams(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        reader = Reader()
        server = await UdpServer.bind(SERVER, schemes.get, lambda session, event: None)
        client = await UdpClient.connect(SERVER, schemes.get, reader)
        client.open_stream(b"request", scheme="eloquent")
        await asyncio.sleep(1.0)
        server.send_token(server.endpoint.sessions[0], 0, b"half")
        await asyncio.sleep(1.0)
        loop.sockets.pop(SERVER)  # killed: nothing is said
        server = await UdpServer.bind(SERVER, schemes.get, lambda session, event: None)
        await reader.over.wait()
        assert loop.time() < 4.0
        assert [type(event) for event in reader.events] == [StreamToken, StreamFailed, SessionLost]
        assert server.endpoint.sessions == []

    virtual.run(main, lambda _sender, _data: [0.05])


def test_a_closed_server_tells_its_clients_and_does_not_begin_again(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        reader = Reader()
        server = await UdpServer.bind(SERVER, schemes.get, lambda session, event: None)
        client = await UdpClient.connect(SERVER, schemes.get, reader)
        client.open_stream(b"request", scheme="eloquent")
        await asyncio.sleep(1.0)
        server.close_session(server.endpoint.sessions[0])
        await reader.over.wait()
        assert server.endpoint.sessions == []
        first = next(data for _, address, data in loop.log if address != SERVER and data[0] & 0x0F == 1)
        server.datagram_received(first, ("10.0.0.1", 1001))
        assert server.endpoint.sessions == []
        server.close()

    loop = virtual.run(main, lambda _sender, _data: [0.05])
    assert isinstance(decode_datagram(loop.log[-1][2]).body, Close)


def test_an_error_of_the_owner_is_logged_and_stops_nobody(virtual: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main(loop: Any) -> None:
        def fail(session: ServerSession, event: ServerEvent) -> None:
            if isinstance(event, StreamRequested):
                server.send_token(session, event.stream_id, b"x")  # from within an event
                server.finish(session, event.stream_id)
            raise RuntimeError("the owner's mistake")

        reader = Reader()
        server = await UdpServer.bind(SERVER, schemes.get, fail)
        client = await UdpClient.connect(SERVER, schemes.get, reader)
        client.open_stream(b"request", scheme="eloquent")
        await reader.over.wait()
        assert [type(event) for event in reader.events] == [StreamToken, StreamEnded]

    virtual.run(main, lambda _sender, _data: [0.05])
    assert "the owner's mistake" in caplog.text


def test_a_clients_disappearance_is_noticed(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        server, application = await serve(SERVER)
        client = await UdpClient.connect(SERVER, schemes.get, lambda event: None)
        client.open_stream(b"request" * 100, scheme="eloquent")
        await asyncio.sleep(0.16)
        loop.fate = lambda _sender, _data: []
        client._transport.close()
        await asyncio.sleep(105.0)
        assert {type(event) for event in application.events} == {StreamRequested, StreamFailed, SessionLost}
        assert server.endpoint.sessions == []
        client.close()
        server.close()

    loop = virtual.run(main, lambda _sender, _data: [0.05])
    assert sum(at > 10.0 and address == SERVER for at, address, _ in loop.log) <= 21


def test_malformed_input_to_a_client_is_counted(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        client = await UdpClient.connect(SERVER, schemes.get, lambda event: None, new_id=lambda: ID)
        client.open_stream(b"request", scheme="eloquent")
        for data in (
            b"",
            b"garbage",
            encode_datagram(Datagram(b"another!", 0, Close(0, ""))),
            encode_datagram(Datagram(ID, 0, Ping())),
            encode_datagram(Datagram(ID, 0, Answer(0, b"\x00\x00"))),  # nothing was asked yet
        ):
            client.datagram_received(data, SERVER)
        assert client.malformed == 5
        client.datagram_received(encode_datagram(Datagram(ID, 0, Pong(0))), SERVER)
        assert client.malformed == 5
        client.close()

    virtual.run(main, lambda _sender, _data: [0.05])


def test_what_the_kernel_has_no_room_for_is_dropped_and_counted(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        client = await UdpClient.connect(SERVER, schemes.get, lambda event: None)
        client._transport.get_write_buffer_size = lambda: 1 << 20
        client.open_stream(b"request", scheme="eloquent")
        assert client.unsent == 1
        client.close()

    loop = virtual.run(main, lambda _sender, _data: [0.05])
    assert loop.log == []


def test_nobody_listens_is_known_in_3_s() -> None:
    async def main() -> float:
        server, _ = await serve()
        address = server.address
        server.close()
        await asyncio.sleep(0.01)
        loop, reader = asyncio.get_running_loop(), Reader()
        began = loop.time()
        client = await UdpClient.connect(address, schemes.get, reader)
        client.open_stream(b"request", scheme="eloquent")
        async with asyncio.timeout(30):
            await reader.over.wait()
        assert reader.events[0] == StreamFailed(0, "nobody listens at the server's address", RequestState.UNFINISHED)
        client.close()
        return loop.time() - began

    assert asyncio.run(main()) < 10
