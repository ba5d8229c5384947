"""An origin's door over TCP, on real sockets: who has the key gets answers, and strangers cost little."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from eloquent import schemes, telemetry
from eloquent.drivers.udp import UdpServer
from eloquent.protocol.session import StreamEnded, StreamFailed, StreamRequested, StreamToken
from eloquent.relay.carriers import listener as listener_module
from eloquent.relay.carriers import websocket
from eloquent.relay.carriers.listener import STRANGER_MESSAGES, ConnectionLimits, WebSocketListener
from eloquent.relay.sealed import udp

KEY = bytes(range(32))
TOKENS = [b"token %d " % i for i in range(50)]


class Door:
    """An origin's two ways in, and what it counts."""

    def __init__(self, server: UdpServer, address: tuple[str, int], registry: CollectorRegistry) -> None:
        self.server = server
        self.address = address
        self.url = f"ws://127.0.0.1:{address[1]}/"
        self._registry = registry

    @property
    def connections(self) -> float | None:
        return self._registry.get_sample_value("eloquent_tcp_connections")

    def refused(self, reason: str) -> float | None:
        return self._registry.get_sample_value("eloquent_refused_connections_total", {"reason": reason})


@asynccontextmanager
async def door(*, gap: float = 0.0, limits: ConnectionLimits | None = None, tls: Any = None) -> AsyncIterator[Door]:
    """Listen with a server that answers each request with the tokens, so many seconds apart."""
    tasks = []

    async def answer(session: Any, stream_id: int) -> None:
        for token in TOKENS:
            server.send_token(session, stream_id, token)
            await asyncio.sleep(gap)
        server.finish(session, stream_id)

    def on_event(session: Any, event: Any) -> None:
        if isinstance(event, StreamRequested):
            tasks.append(asyncio.create_task(answer(session, event.stream_id)))

    server = await udp.bind(("127.0.0.1", 0), schemes.get, on_event, key=KEY)
    registry = CollectorRegistry()
    listener = WebSocketListener(server, telemetry.ListenerMetrics(registry), limits=limits)
    accepting = socket.create_server(("127.0.0.1", 0))
    address = accepting.getsockname()
    listener.open(accepting, tls=tls)
    try:
        yield Door(server, address, registry)
    finally:
        server.close()
        await listener.close()


class Reader:
    def __init__(self) -> None:
        self.tokens: list[bytes] = []
        self.ends: list[Any] = []

    def __call__(self, event: Any) -> None:
        if isinstance(event, StreamToken):
            self.tokens.append(event.data)
        elif isinstance(event, StreamEnded | StreamFailed):
            self.ends.append(event)


async def knock(address: tuple[str, int], words: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(words)
    return reader, writer


@pytest.mark.parametrize("scheme", ["eloquent-packed", "retransmit"])
def test_an_answer_comes_whole_over_a_websocket(relaying: Any, scheme: str) -> None:
    async def main() -> None:
        async with door() as here:
            reader = Reader()
            client = websocket.connect(here.url, reader, key=KEY)
            client.open_stream(b"question", scheme=scheme)
            await relaying.until(lambda: reader.ends)
            assert (reader.tokens, reader.ends) == (TOKENS, [StreamEnded(0, b"")])
            assert here.connections == 1
            client.close()
            await relaying.until(lambda: not here.server.endpoint.associations)  # the farewell came
            await relaying.until(lambda: here.connections == 0)

    relaying.run(main())


def test_an_answer_goes_on_over_the_next_connection_when_one_is_cut(relaying: Any) -> None:
    """The association moves as from one port to another: no token is lost, and nothing is asked again."""

    async def main() -> None:
        async with door(gap=0.05) as here, Cutter(here.address) as cutter:
            reader = Reader()
            client = websocket.connect(cutter.url, reader, key=KEY)
            client.open_stream(b"question", scheme="eloquent-packed")
            await relaying.until(lambda: len(reader.tokens) >= 5)
            cutter.cut()
            await relaying.until(lambda: reader.ends)
            assert (reader.tokens, reader.ends) == (TOKENS, [StreamEnded(0, b"")])
            assert cutter.connections == 2
            assert here.server.endpoint.associations == 1
            client.close()

    relaying.run(main())


def test_both_ways_lead_to_one_server(relaying: Any) -> None:
    async def main() -> None:
        async with door() as here:
            readers = [Reader(), Reader()]
            clients = [
                websocket.connect(here.url, readers[0], key=KEY),
                await udp.connect(here.server.address, schemes.get, readers[1], key=KEY),
            ]
            for client in clients:
                client.open_stream(b"question", scheme="eloquent")
            await relaying.until(lambda: all(reader.ends for reader in readers))
            assert [reader.tokens for reader in readers] == [TOKENS, TOKENS]
            assert here.server.endpoint.associations == 2
            for client in clients:
                client.close()

    relaying.run(main())


def test_an_edge_that_does_not_read_costs_a_bounded_memory(relaying: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with door() as here, aiohttp.ClientSession() as session:
            attached = []
            attach = here.server.attach
            monkeypatch.setattr(
                here.server, "attach", lambda host, way: attached.append((attach(host, way), way)) or attached[-1][0]
            )
            async with session.ws_connect(here.url):
                await relaying.until(lambda: attached)
                address, way = attached[0]
                for _ in range(20_000):  # 24 MB
                    here.server._send(bytes(1200), address)
                    if way.queue.size > 8 * websocket.MAX_WAITING:
                        break
                    await asyncio.sleep(0)
                assert way.queue.size <= websocket.MAX_WAITING + 2 * 1200

    relaying.run(main())


def test_a_flood_of_connections_has_a_bound_and_leaves_room_for_edges(relaying: Any) -> None:
    async def main() -> None:
        limits = ConnectionLimits(connections=100, connections_per_source=20)
        async with door(limits=limits) as here:
            flood = [await knock(here.address) for _ in range(50)]
            await relaying.until(lambda: here.refused("source") == 30)
            assert here.connections == 20
            for _, writer in flood:
                writer.close()
            await relaying.until(lambda: here.connections == 0)
            reader = Reader()
            client = websocket.connect(here.url, reader, key=KEY)
            client.open_stream(b"question", scheme="eloquent")
            await relaying.until(lambda: reader.ends)
            assert reader.tokens == TOKENS
            client.close()

    relaying.run(main())


def test_connections_have_a_bound_in_all(relaying: Any) -> None:
    async def main() -> None:
        async with door(limits=ConnectionLimits(connections=5, connections_per_source=20)) as here:
            flood = [await knock(here.address) for _ in range(8)]
            await relaying.until(lambda: here.refused("full") == 3)
            assert here.connections == 5
            for _, writer in flood:
                writer.close()

    relaying.run(main())


UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@pytest.mark.parametrize("words", [b"", b"GET / HT", UPGRADE], ids=["nothing", "half a request", "a WebSocket"])
def test_a_stranger_is_shown_out_in_time(relaying: Any, monkeypatch: pytest.MonkeyPatch, words: bytes) -> None:
    monkeypatch.setattr(listener_module, "STRANGER_TIME", 0.2)

    async def main() -> None:
        async with door() as here:
            reader, writer = await knock(here.address, words)
            await relaying.until(lambda: here.connections == 1)
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await reader.readexactly(10_000)
            await relaying.until(lambda: here.connections == 0)
            writer.close()

    relaying.run(main())


def test_who_never_begins_tls_is_counted_and_shown_out_in_time(relaying: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "STRANGER_TIME", 0.5)

    async def main() -> None:
        limits = ConnectionLimits(connections=100, connections_per_source=5)
        async with door(tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), limits=limits) as here:
            flood = [await knock(here.address) for _ in range(8)]
            await relaying.until(lambda: here.refused("source") == 3)
            assert here.connections == 5
            await relaying.until(lambda: here.connections == 0)
            for _, writer in flood:
                writer.close()

    relaying.run(main())


def test_who_has_the_key_stays_after_the_time_of_strangers(relaying: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "STRANGER_TIME", 0.5)

    async def main() -> None:
        async with door(gap=0.04) as here, Cutter(here.address) as cutter:
            reader = Reader()
            client = websocket.connect(cutter.url, reader, key=KEY)
            client.open_stream(b"question", scheme="eloquent")
            await relaying.until(lambda: reader.ends)
            assert reader.tokens == TOKENS
            assert cutter.connections == 1
            client.close()

    relaying.run(main())


def test_garbage_gets_no_answer_and_no_more_than_some_messages(relaying: Any) -> None:
    async def main() -> None:
        async with door() as here, aiohttp.ClientSession() as session:
            async with session.ws_connect(here.url) as stranger:
                for _ in range(STRANGER_MESSAGES + 1):
                    await stranger.send_bytes(b"\x30" + bytes(1199))
                message = await stranger.receive()
                assert message.type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED}
            assert here.server.malformed == STRANGER_MESSAGES
            async with session.get(here.url.replace("ws", "http", 1)) as response:
                assert response.status == 426

    relaying.run(main())


class Cutter:
    """Passes connections on, and cuts them when told to."""

    def __init__(self, to: tuple[str, int]) -> None:
        self._to = to
        self._writers: list[asyncio.StreamWriter] = []
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        there, to = await asyncio.open_connection(*self._to)
        self._writers += [writer, to]

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
            sink.close()

        await asyncio.gather(copy(reader, to), copy(there, writer), return_exceptions=True)
