"""The edge's side of a WebSocket: by which way it gets out, and what it does when it cannot."""

import asyncio
from typing import Any

import pytest

from eloquent.relay.carriers import websocket
from eloquent.relay.carriers.websocket import MAX_WAITING, DatagramQueue, WebSocketTransport


class Listener(asyncio.DatagramProtocol):
    """Takes nothing."""


def test_a_wss_connection_goes_by_the_proxy_that_the_environment_names(
    relaying: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(proxy, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        transport = WebSocketTransport("wss://relay.example/eloquent", Listener())
        transport.sendto(b"datagram")
        await relaying.until(lambda: transport.failure is not None)
        transport.close()
        await transport.wait_closed()
        server.close()

    relaying.run(main())
    assert asked == [b"CONNECT relay.example:443 HTTP/1.1\r\n"]


def test_a_connection_that_fails_is_not_opened_again_at_once(relaying: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "RECONNECT_PAUSE", 0.5)
    connections = 0

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        transport = WebSocketTransport(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", Listener())
        began = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < began + 1.2:
            transport.sendto(b"datagram")
            await asyncio.sleep(0.01)
        transport.close()
        await transport.wait_closed()
        server.close()

    relaying.run(main())
    assert 1 <= connections <= 3


def test_nothing_is_opened_after_the_end(relaying: Any) -> None:
    async def main() -> None:
        transport = WebSocketTransport("ws://127.0.0.1:1/", Listener())
        transport.close()
        transport.sendto(b"datagram")
        await transport.wait_closed()
        assert transport.failure is None
        assert transport.get_write_buffer_size() == 0

    relaying.run(main())


def test_a_queue_drops_what_comes_when_too_much_waits(relaying: Any) -> None:
    async def main() -> None:
        beyond = 0
        queue = DatagramQueue(lambda: beyond)
        for _ in range(1000):
            queue.put(bytes(1200))
        assert MAX_WAITING < queue.size <= MAX_WAITING + 1200
        queue.clear()
        beyond = MAX_WAITING + 1
        queue.put(bytes(1200))
        assert queue.size == beyond

    relaying.run(main())
