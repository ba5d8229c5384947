"""A relay pair in one event loop, on real sockets: a model server that does what a test says, and a path that can be broken."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from eloquent import schemes, telemetry
from eloquent.drivers.udp import UdpServer
from eloquent.relay.fronts.http import HttpFront
from eloquent.relay.origin import Origin, OriginObserver
from eloquent.relay.serve import limits_for
from eloquent.relay.settings import MAX_REQUEST
from eloquent.relay.uplink import Uplink
from eloquent.relay.upstreams.http import HttpUpstream

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
PATIENCE = 20.0  # seconds, within which a test's own waiting ends


class Path(asyncio.DatagramProtocol):
    """A path between the relays, which may lose datagrams, be down, or move the edge to another port."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.server = server
        self.is_down = False
        self.loss = 0.0
        self.random = random.Random(1)
        self.carried = 0
        self._outer: Any = None
        self._inner: Any = None
        self._client: Any = None

    @classmethod
    async def open(cls, server: tuple[str, int]) -> "Path":
        path = cls(server)
        loop = asyncio.get_running_loop()
        path._outer, _ = await loop.create_datagram_endpoint(lambda: path, local_addr=("127.0.0.1", 0))
        await path.rebind()
        return path

    @property
    def address(self) -> tuple[str, int]:
        return self._outer.get_extra_info("sockname")[:2]

    async def rebind(self) -> None:
        """Come from another port, as behind a NAT that has forgotten."""
        if self._inner is not None:
            self._inner.close()
        path = self

        class Back(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                if path._lets_through():
                    path._outer.sendto(data, path._client)

        loop = asyncio.get_running_loop()
        self._inner, _ = await loop.create_datagram_endpoint(Back, local_addr=("127.0.0.1", 0))

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._client = addr
        if self._lets_through():
            self._inner.sendto(data, self.server)

    def close(self) -> None:
        self._outer.close()
        self._inner.close()

    def _lets_through(self) -> bool:
        self.carried += 1
        return not self.is_down and self.random.random() >= self.loss


@dataclass
class Pair:
    """What a test may touch.

    Attributes:
        url: Of the edge.
        direct: Of the model server.
        origin: The origin relay.
        path: Between the relays.
        client: Asks; closed at the end.
        metrics: Of the origin and of the edge.
    """

    url: str
    direct: str
    origin: Origin
    path: Path
    client: aiohttp.ClientSession
    metrics: dict[str, CollectorRegistry]

    def count(self, name: str, *, side: str) -> float | None:
        """Return a metric of the origin's or the edge's."""
        return self.metrics[side].get_sample_value(name)


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """Serve HTTP by a handler, and tell the URL; who leaves has his handler cancelled."""
    runner = web.ServerRunner(web.Server(handler, handler_cancellation=True), shutdown_timeout=0.1)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def relay_pair(
    handler: Handler,
    *,
    scheme: str = "eloquent-packed",
    keep: float = 60.0,
    keep_alive: float | None = 15.0,
    silence: float | None = None,
    max_request: int = MAX_REQUEST,
    max_held: int = 8 * MAX_REQUEST,
    max_accepted: int = MAX_REQUEST,
    max_asked: int = 8 * MAX_REQUEST,
    max_answers: int = 1000,
    observer: OriginObserver | None = None,
) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        direct = await stack.enter_async_context(serving(handler))
        upstream = HttpUpstream(direct, silence=silence, max_held=max_asked)
        await upstream.open()
        stack.push_async_callback(upstream.close)
        origin = Origin(upstream, keep=keep, max_answers=max_answers, observer=observer)
        origin.server = await UdpServer.bind(
            ("127.0.0.1", 0), schemes.get, origin.on_event, limits=limits_for(max_accepted)
        )
        stack.callback(origin.server.close)
        stack.push_async_callback(origin.drain, 0.0)
        path = await Path.open(origin.server.address)
        stack.callback(path.close)
        registries = {"origin": CollectorRegistry(), "edge": CollectorRegistry()}
        metrics = telemetry.EdgeMetrics(registries["edge"])
        uplink = await Uplink.connect(path.address, metrics)
        stack.callback(uplink.close)
        watching = (uplink.watch(metrics), origin.watch(telemetry.SessionMetrics(registries["origin"])))
        for task in map(asyncio.ensure_future, watching):
            stack.callback(task.cancel)
        front = HttpFront(
            uplink, scheme_of=lambda _: scheme, keep_alive=keep_alive, max_request=max_request, max_held=max_held
        )
        listener = socket.create_server(("127.0.0.1", 0))
        await front.open(listener)
        stack.push_async_callback(front.drain, 0.0)
        client = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
        yield Pair(f"http://127.0.0.1:{listener.getsockname()[1]}", direct, origin, path, client, registries)


async def until(holds: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait for something that is to come true."""
    async with asyncio.timeout(patience):
        while not holds():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.01)


def event_stream(*events: bytes, gap: float = 0.0) -> Handler:
    """Return a handler that streams these events."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        for event in events:
            await response.write(event)
            await asyncio.sleep(gap)
        return response

    return handle


@pytest.fixture(scope="session")
def relaying() -> Any:
    """The helpers of this file, for tests that cannot import them."""

    def run(main: Awaitable[Any]) -> Any:
        async def within() -> Any:
            async with asyncio.timeout(60.0):
                return await main

        return asyncio.run(within())

    return SimpleNamespace(Path=Path, pair=relay_pair, serving=serving, until=until, event_stream=event_stream, run=run)
