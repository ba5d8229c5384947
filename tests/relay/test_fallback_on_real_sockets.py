"""UDP blocked, back again, and dead in the middle of an answer, on real sockets: every answer comes whole, once."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from eloquent import telemetry
from eloquent.relay import fallback
from eloquent.relay.carriers.listener import WebSocketListener
from eloquent.relay.fallback import FallbackUplink
from eloquent.relay.fronts.http import HttpFront
from eloquent.relay.origin import Origin
from eloquent.relay.settings import MAX_REQUEST
from eloquent.relay.uplink import CarrierName, Uplink
from eloquent.relay.upstreams.http import HttpUpstream

KEY = bytes(range(32))
CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"%d"},"finish_reason":null}]}\n\n'
DONE = b"data: [DONE]\n\n"
CHAT = "/v1/chat/completions"


class Pair:
    """An origin with both carriers, and an edge whose UDP goes by a path that a test may break."""

    def __init__(self, url: str, path: Any, client: aiohttp.ClientSession, registry: CollectorRegistry) -> None:
        self.url = url
        self.path = path
        self.client = client
        self._registry = registry

    def is_on(self, carrier: str) -> bool:
        return self._registry.get_sample_value("eloquent_carrier", {"carrier": carrier}) == 1

    def count(self, name: str, *, carrier: str) -> float | None:
        return self._registry.get_sample_value(name, {"scheme": "eloquent-packed", "carrier": carrier})


@asynccontextmanager
async def sealed_pair(relaying: Any, handler: Any, *, is_down: bool = False) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        upstream = HttpUpstream(await stack.enter_async_context(relaying.serving(handler)))
        await upstream.open()
        stack.push_async_callback(upstream.close)
        origin = Origin(http=upstream)
        await origin.open("127.0.0.1:0", key=KEY)
        websockets = WebSocketListener(origin.server, telemetry.ListenerMetrics(CollectorRegistry()))
        accepting = socket.create_server(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{accepting.getsockname()[1]}/"
        websockets.open(accepting)
        stack.push_async_callback(websockets.close)
        stack.callback(origin.server.close)
        stack.push_async_callback(origin.drain, 0.0)
        path = await relaying.Path.open(origin.server.address)
        stack.callback(path.close)
        path.is_down = is_down
        registry = CollectorRegistry()
        metrics = telemetry.UplinkMetrics(registry)

        async def open_udp() -> Uplink:
            return await Uplink.connect(path.address, metrics, key=KEY)

        async def open_tcp() -> Uplink:
            return Uplink.connect_over_tcp(url, metrics, key=KEY)

        now = asyncio.get_running_loop().time()
        openers = {CarrierName.UDP: open_udp, CarrierName.TCP: open_tcp}
        uplink = FallbackUplink(await open_udp(), openers, metrics, now=now)
        stack.push_async_callback(uplink.wait_closed)
        stack.callback(uplink.close)
        watching = asyncio.create_task(uplink.watch(metrics))
        stack.callback(watching.cancel)
        front = HttpFront(
            uplink,
            scheme_of=lambda _: "eloquent-packed",
            keep_alive=None,
            max_request=MAX_REQUEST,
            max_held=MAX_REQUEST,
            metrics=telemetry.FrontMetrics(registry),
        )
        listener = socket.create_server(("127.0.0.1", 0))
        await front.open(listener)
        stack.push_async_callback(front.drain, 0.0)
        client = await stack.enter_async_context(aiohttp.ClientSession())
        yield Pair(f"http://127.0.0.1:{listener.getsockname()[1]}{CHAT}", path, client, registry)


def test_a_question_that_finds_udp_blocked_is_answered_over_tcp(relaying: Any) -> None:
    """It was asked over UDP, and is asked again over TCP: the model sees it once."""
    events = [CHUNK % i for i in range(50)] + [DONE]
    asked = []

    async def handle(request: Any) -> Any:
        asked.append(await request.read())
        return await relaying.event_stream(*events, gap=0.01)(request)

    async def main() -> None:
        async with (
            sealed_pair(relaying, handle, is_down=True) as pair,
            pair.client.post(pair.url, data=b"?") as response,
        ):
            assert await response.read() == b"".join(events)
            assert pair.is_on("tcp")
        assert asked == [b"?"]

    relaying.run(main())


@pytest.mark.parametrize("after", [1, 40])
def test_an_answer_goes_on_over_tcp_when_udp_dies(relaying: Any, after: int) -> None:
    events = [CHUNK % i for i in range(160)] + [DONE]

    async def main() -> None:
        handler = relaying.event_stream(*events, gap=0.05)
        async with sealed_pair(relaying, handler) as pair, pair.client.post(pair.url) as response:
            first = b"".join([await response.content.readuntil(b"\n\n") for _ in range(after)])
            assert pair.is_on("udp")
            pair.path.is_down = True
            assert first + await response.read() == b"".join(events)
            assert pair.is_on("tcp")
            stalled = {name: pair.count("eloquent_stall_seconds_total", carrier=name) or 0.0 for name in CarrierName}
            assert stalled[CarrierName.UDP] > fallback.PATIENCE  # UDP left the client waiting, whoever brought the rest
            assert stalled[CarrierName.UDP] > stalled[CarrierName.TCP]

    relaying.run(main())


def test_new_streams_go_over_udp_when_it_is_back_and_old_ones_end_over_tcp(
    relaying: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fallback, "RETRY_PAUSE", 1.0)
    events = [CHUNK % i for i in range(120)] + [DONE]

    async def main() -> None:
        handler = relaying.event_stream(*events, gap=0.05)
        async with sealed_pair(relaying, handler, is_down=True) as pair, pair.client.post(pair.url) as response:
            first = await response.content.readuntil(b"\n\n")
            assert pair.is_on("tcp")
            pair.path.is_down = False
            await relaying.until(lambda: pair.is_on("udp"))
            carried = pair.path.carried
            async with pair.client.post(pair.url) as another:
                assert await another.read() == b"".join(events)
            assert pair.path.carried > carried + 50
            assert first + await response.read() == b"".join(events)

    relaying.run(main())
