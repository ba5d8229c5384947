"""A relay pair in one event loop, on real sockets, or as processes: a model server that does what a test says, and a path that
can be broken."""

import asyncio
import random
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path as FilePath
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from tests.ports import find_address

from eloquent import telemetry
from eloquent.relay.fronts.http import HttpFront
from eloquent.relay.observers import Observers, OriginObserver
from eloquent.relay.origin import Origin
from eloquent.relay.origin_accounts import ModelAccounts, OriginWatch
from eloquent.relay.serve import limits_for
from eloquent.relay.settings import MAX_REQUEST
from eloquent.relay.uplink import Uplink
from eloquent.relay.upstreams.http import HttpUpstream

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
PATIENCE = 60.0  # seconds, within which a test's own waiting ends
PROCESS_PATIENCE = 60.0  # seconds, within which a process is ready or over


class Path(asyncio.DatagramProtocol):
    """A path between the relays, which may lose, change and delay datagrams, be down, or move the edge to another port.

    Attributes:
        delay: Seconds that each datagram takes.
        fate: Is told each datagram, and returns what comes of it, or None if it is lost.
    """

    def __init__(self, server: tuple[str, int]) -> None:
        self.server = server
        self.is_down = False
        self.loss = 0.0
        self.delay = 0.0
        self.fate: Callable[[bytes], bytes | None] = lambda data: data
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

    async def rebind(self, host: str = "127.0.0.1") -> None:
        """Come from another port, as behind a NAT that has forgotten, or from another address."""
        if self._inner is not None:
            self._inner.close()
        path = self

        class Back(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                path._carry(data, lambda data: path._outer.sendto(data, path._client))

        loop = asyncio.get_running_loop()
        self._inner, _ = await loop.create_datagram_endpoint(Back, local_addr=(host, 0))

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._client = addr
        self._carry(data, lambda data: self._inner.sendto(data, self.server))

    def close(self) -> None:
        self._outer.close()
        self._inner.close()

    def _carry(self, data: bytes, send: Callable[[bytes], None]) -> None:
        self.carried += 1
        if self.is_down or self.random.random() < self.loss or (left := self.fate(data)) is None:
            return
        if self.delay:
            asyncio.get_running_loop().call_later(self.delay, send, left)
        else:
            send(left)


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

    def count(self, name: str, *, side: str, **labels: str) -> float | None:
        """Return a metric of the origin's or the edge's."""
        return self.metrics[side].get_sample_value(name, labels)


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
        registries = {"origin": CollectorRegistry(), "edge": CollectorRegistry()}
        accounts = ModelAccounts(telemetry.ModelMetrics(registries["origin"]), time=asyncio.get_running_loop().time)
        observers = (accounts,) if observer is None else (accounts, observer)
        origin = Origin(http=upstream, keep=keep, max_answers=max_answers, observer=Observers(*observers))
        await origin.open("127.0.0.1:0", limits=limits_for(max_accepted))
        stack.callback(origin.server.close)
        stack.push_async_callback(origin.drain, 0.0)
        path = await Path.open(origin.server.address)
        stack.callback(path.close)
        metrics = telemetry.UplinkMetrics(registries["edge"])
        uplink = await Uplink.connect(path.address, metrics)
        stack.callback(uplink.close)
        watch = OriginWatch(
            origin,
            upstream,
            accounts,
            sessions=telemetry.SessionMetrics(registries["origin"]),
            paths=telemetry.PathMetrics(registries["origin"]),
        )
        watching = (uplink.watch(metrics), watch.watch())
        for task in map(asyncio.ensure_future, watching):
            stack.callback(task.cancel)
        front = HttpFront(
            uplink,
            scheme_of=lambda _: scheme,
            keep_alive=keep_alive,
            max_request=max_request,
            max_held=max_held,
            metrics=telemetry.FrontMetrics(registries["edge"]),
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


class Relays:
    """An origin and an edge as processes, sealed, each of which a test may kill, stop and start again; and more edges."""

    def __init__(self, folder: FilePath, model: str, *, carrier: str = "auto", **more: list[str]) -> None:
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.key_file = key = folder / "key"
        subprocess.run([sys.executable, "-m", "eloquent.cli", "key", str(key)], check=True, timeout=PROCESS_PATIENCE)
        self.between, front = find_address(), find_address()
        self.url = f"http://{front}/v1/chat/completions"
        listen = ("--listen", find_address(), "--quic") if carrier == "quic" else ("--listen",)
        self._carrier = "--carrier", carrier
        self._words = {
            "origin": ("--key-file", str(key), "--upstream", model, *listen, self.between),
            "edge": ("--key-file", str(key), "--origin", self.between, "--listen", front, *self._carrier),
        }
        self._more = more

    def add_edge(self, name: str, origin: str) -> str:
        """Have another edge, and return the URL that it is asked at; the role is `edge-` and its name."""
        front = find_address()
        words = ("--key-file", str(self.key_file), "--origin", origin, "--listen", front)
        self._words[f"edge-{name}"] = (*words, *self._carrier)
        return f"http://{front}/v1/chat/completions"

    def start(self, *roles: str) -> None:
        """Start some of them at once."""
        for role in roles:
            command = [sys.executable, "-m", "eloquent.cli", role.partition("-")[0]]
            words = [*command, *self._words[role], *self._more.get(role, ())]
            self.processes[role] = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        for role in roles:
            ready = self.processes[role].stdout
            assert ready is not None
            assert ready.readline() == "ready\n"

    def memory(self, role: str) -> int:
        """Return how many bytes of memory one of them takes."""
        pages = FilePath(f"/proc/{self.processes[role].pid}/statm").read_text().split()[1]
        return int(pages) * resource.getpagesize()

    def end(self, role: str, by: signal.Signals) -> int:
        process = self.processes.pop(role)
        process.send_signal(by)
        status = process.wait(PROCESS_PATIENCE)
        assert process.stdout is not None
        process.stdout.close()
        return status


@pytest.fixture
def make_relays(tmp_path: FilePath) -> Iterator[Any]:
    made: list[Relays] = []

    def make(model: str, *, carrier: str = "auto", **more: list[str]) -> Relays:
        made.append(Relays(tmp_path, model, carrier=carrier, **more))
        made[-1].start("origin", "edge")
        return made[-1]

    yield make
    for relays in made:
        for role in list(relays.processes):
            relays.end(role, signal.SIGKILL)


@pytest.fixture(scope="session")
def relaying() -> Any:
    """The helpers of this file, for tests that cannot import them."""

    def run(main: Awaitable[Any], *, within: float = 60.0) -> Any:
        async def run_within() -> Any:
            async with asyncio.timeout(within):
                return await main

        return asyncio.run(run_within())

    return SimpleNamespace(
        Path=Path,
        pair=relay_pair,
        serving=serving,
        until=until,
        event_stream=event_stream,
        free_address=find_address,
        run=run,
    )
