"""The asyncio driver: the same datagrams as an event heap in virtual time, real sockets, and bad input to a live server."""

import asyncio
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from eloquent import schemes
from eloquent.drivers.udp import Peer, UdpClient, UdpServer
from eloquent.protocol.datagram import Answer, Close, Datagram, Open, Ping, encode_datagram
from eloquent.protocol.session import (
    ClientSession,
    ServerSession,
    SessionEvent,
    SessionLost,
    StreamEnded,
    StreamFailed,
    StreamRequested,
    StreamToken,
)

ID = b"sessionA"
SERVER = ("10.0.0.2", 7000)
make_session = partial(ServerSession, scheme_of=schemes.get)
SCHEMES = ["eloquent", "retransmit", "duplicate-2"]


def test_the_same_datagrams_as_a_simulator(virtual: Any, recorded: Any) -> None:
    async def main(loop: Any) -> None:
        server = await UdpServer.bind(SERVER, make_session, lambda peer, event: None)
        client = await UdpClient.connect(SERVER, ClientSession(ID, schemes.get), lambda event: None)

        def play(side: str, what: str, argument: Any) -> None:
            peer = server.peers[0] if server.peers else None
            recorded.act(client.session, peer.session if peer else None, what, argument, loop.time())
            if side == "client":
                client.flush()
            elif peer is not None:
                peer.flush()

        for at, side, what, argument in recorded.SCRIPT:
            loop.call_at(at, play, side, what, argument)
        await asyncio.sleep(40.0)
        server.close()

    loop = virtual.run(main, recorded.fate())
    by_driver = [(at, "server" if address == SERVER else "client", data) for at, address, data in loop.log]
    by_heap = recorded.by_event_heap(recorded.fate())
    assert len(by_heap) > 200
    assert by_driver == by_heap


class Application:
    """Answers every request with what it was asked for, token by token."""

    def __init__(self) -> None:
        self.server: UdpServer
        self.events: list[SessionEvent] = []
        self.tasks: list[asyncio.Task[None]] = []

    def __call__(self, peer: Peer, event: SessionEvent) -> None:
        self.events.append(event)
        if isinstance(event, StreamRequested):
            self.tasks.append(asyncio.get_running_loop().create_task(self.answer(peer, event)))

    async def answer(self, peer: Peer, event: StreamRequested) -> None:
        time = asyncio.get_running_loop().time
        for start in range(0, len(event.request), 100):
            peer.session.send_token(event.stream_id, event.request[start : start + 100], now=time())
            peer.flush()
            await asyncio.sleep(0)
        peer.session.finish(event.stream_id, now=time())
        peer.flush()


async def serve() -> tuple[UdpServer, Application]:
    application = Application()
    return await UdpServer.bind(("127.0.0.1", 0), make_session, application), application


class Reader:
    """Collects a client's events and knows when `count` streams are over."""

    def __init__(self, count: int = 1) -> None:
        self.events: list[SessionEvent] = []
        self.over = asyncio.Event()
        self._left = count

    def __call__(self, event: SessionEvent) -> None:
        self.events.append(event)
        self._left -= isinstance(event, StreamEnded | StreamFailed)
        if not self._left:
            self.over.set()

    def text(self, stream_id: int) -> bytes:
        tokens = [event for event in self.events if isinstance(event, StreamToken)]
        return b"".join(token.data for token in tokens if token.stream_id == stream_id)


async def ask(server: UdpServer, request: bytes, *names: str, connection_id: bytes = ID) -> tuple[UdpClient, Reader]:
    reader = Reader(len(names))
    client = await UdpClient.connect(server.address, ClientSession(connection_id, schemes.get), reader)
    for scheme in names:
        client.session.open_stream(request, scheme=scheme, now=asyncio.get_running_loop().time())
    client.flush()
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
        assert len(server.peers) == 1
        client.close()
        await until(lambda: not server.peers)
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
        garbage.sendto(encode_datagram(Datagram(ID, 9, Ping())))  # another address than the session's
        garbage.sendto(encode_datagram(Datagram(b"sessionB", 9, Open(0, b"\x09"))))  # not a payload
        await until(lambda: server.malformed >= 102)
        client.close()
        garbage.close()
        server.close()

    asyncio.run(main())


def test_a_restarted_server_fails_the_streams(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        reader = Reader()
        server = await UdpServer.bind(SERVER, make_session, lambda peer, event: None)
        client = await UdpClient.connect(SERVER, ClientSession(ID, schemes.get), reader)
        client.session.open_stream(b"request", scheme="eloquent", now=loop.time())
        client.flush()
        await asyncio.sleep(1.0)
        server.peers[0].session.send_token(0, b"half", now=loop.time())
        server.peers[0].flush()
        await asyncio.sleep(1.0)
        loop.sockets.pop(SERVER)  # killed: nothing is said
        server = await UdpServer.bind(SERVER, make_session, lambda peer, event: None)
        await reader.over.wait()
        assert loop.time() < 6.0
        assert [type(event) for event in reader.events] == [StreamToken, StreamFailed, SessionLost]
        assert server.peers == []

    virtual.run(main, lambda _sender, _data: [0.05])


def test_a_closed_server_tells_its_clients_and_does_not_begin_again(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        reader = Reader()
        server = await UdpServer.bind(SERVER, make_session, lambda peer, event: None)
        client = await UdpClient.connect(SERVER, ClientSession(ID, schemes.get), reader)
        client.session.open_stream(b"request", scheme="eloquent", now=loop.time())
        client.flush()
        await asyncio.sleep(1.0)
        server.peers[0].session.close(now=loop.time())
        server.peers[0].flush()
        await reader.over.wait()
        assert server.peers == []
        first = next(data for _, address, data in loop.log if address != SERVER)
        server._receive(first, ("10.0.0.1", 1001))
        assert server.peers == []
        server.close()

    loop = virtual.run(main, lambda _sender, _data: [0.05])
    assert loop.log[-1][2][0] & 0x0F == 6  # Close


def test_an_error_of_the_owner_is_logged_and_stops_nobody(virtual: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main(loop: Any) -> None:
        def fail(peer: Peer, event: SessionEvent) -> None:
            if isinstance(event, StreamRequested):
                peer.session.send_token(event.stream_id, b"x", now=loop.time())
                peer.session.finish(event.stream_id, now=loop.time())
                peer.flush()  # from within an event
            raise RuntimeError("the owner's mistake")

        reader = Reader()
        await UdpServer.bind(SERVER, make_session, fail)
        client = await UdpClient.connect(SERVER, ClientSession(ID, schemes.get), reader)
        client.session.open_stream(b"request", scheme="eloquent", now=loop.time())
        client.flush()
        await reader.over.wait()
        assert [type(event) for event in reader.events] == [StreamToken, StreamEnded]

    virtual.run(main, lambda _sender, _data: [0.05])
    assert "the owner's mistake" in caplog.text


def test_a_clients_disappearance_is_noticed(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        application = Application()
        server = await UdpServer.bind(SERVER, make_session, application)
        client = await UdpClient.connect(SERVER, ClientSession(ID, schemes.get), lambda event: None)
        client.session.open_stream(b"request" * 100, scheme="eloquent", now=loop.time())
        client.flush()
        await asyncio.sleep(0.06)
        loop.fate = lambda _sender, _data: []
        client._transport.close()
        await asyncio.sleep(45.0)
        assert {type(event) for event in application.events} == {StreamRequested, StreamFailed, SessionLost}
        assert server.peers == []
        client.close()
        server.close()

    loop = virtual.run(main, lambda _sender, _data: [0.05])
    assert sum(at > 10.0 and address == SERVER for at, address, _ in loop.log) <= 20


def test_malformed_input_to_a_client_is_counted(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        client = await UdpClient.connect(SERVER, ClientSession(ID, schemes.get), lambda event: None)
        for data in (
            b"",
            b"garbage",
            encode_datagram(Datagram(b"another!", 0, Close(0, ""))),
            encode_datagram(Datagram(ID, 0, Ping())),
        ):
            client._receive(data, SERVER)
        assert client.malformed == 4
        client._receive(encode_datagram(Datagram(ID, 0, Answer(3, b"\x02\x00"))), SERVER)  # no such stream
        assert client.malformed == 4
        client.close()

    virtual.run(main, lambda _sender, _data: [0.05])
