"""Nodes under test: parts in this process's own event loop, and whole processes that end with their test."""

import asyncio
import os
import select
from collections import deque
from contextlib import asynccontextmanager

import grpc.aio
import pytest
from prometheus_client import CollectorRegistry
from tests.nodes.forks import Forks

from eloquent import telemetry
from eloquent.addresses import format_address, listen_on
from eloquent.api.v1.token_service_pb2 import GenerateRequest, GenerateResponse
from eloquent.calls import names
from eloquent.nodes.common.stream_record import DEFAULT_SCHEMES, StreamRecorder
from eloquent.nodes.edge_relay.relay import chat_front, connect, scheme_of_call
from eloquent.nodes.origin_relay.accounts import StreamAccounts, StreamGauges
from eloquent.nodes.origin_relay.relay import origin_of_calls
from eloquent.nodes.sources import Library
from eloquent.nodes.token_server.model import Limits
from eloquent.nodes.token_server.server import TokenServer
from eloquent.protocol.session import Tally
from eloquent.records.rows import RowWriter, StreamRow
from eloquent.relay.fronts.grpc import GrpcFront
from eloquent.relay.origin import Origin
from eloquent.relay.upstreams.grpc import GrpcUpstream
from eloquent.relay.upstreams.http import HttpUpstream

KEY = bytes(range(32))  # of the relay pair
PATIENCE = 60.0  # seconds; only a test that fails waits so long


class Counts:
    """The metrics of one part under test, read by name."""

    def __init__(self):
        self.registry = CollectorRegistry()

    def __call__(self, name, **labels):
        return self.registry.get_sample_value(f"eloquent_{name}", labels) or 0.0


class Client:
    """A client of `Generate` on one channel."""

    def __init__(self, channel):
        self._generate = channel.unary_stream(
            names.GENERATE, GenerateRequest.SerializeToString, GenerateResponse.FromString
        )
        self._raw = channel.unary_stream(names.GENERATE)

    def ask(self, prompt="Count to 5", *, gap=0.01, scheme=None, session="", client="", timeout=PATIENCE, **fields):
        """Start a call."""
        request = GenerateRequest(prompt=prompt, **fields)
        request.token_gap.FromNanoseconds(round(gap * 1e9))
        given = {names.SCHEME_KEY: scheme, names.SESSION_KEY: session, names.CLIENT_KEY: client}
        metadata = tuple((key, value) for key, value in given.items() if value)
        return self._generate(request, metadata=metadata, timeout=timeout)

    def raw(self, body, *, scheme=None, timeout=PATIENCE):
        """Start a call with a request that is already bytes, for an answer in bytes."""
        metadata = ((names.SCHEME_KEY, scheme),) if scheme else ()
        return self._raw(body, metadata=metadata, timeout=timeout)

    async def answer(self, *words, **options):
        """Return the whole answer as (index, text) pairs."""
        return [(token.index, token.text) async for token in self.ask(*words, **options)]


@asynccontextmanager
async def _client(port):
    # Channels to one port share no connection with those of another test.
    async with grpc.aio.insecure_channel(
        f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    ) as channel:
        yield Client(channel)


class Port(int):
    """The port of a token server's gRPC; `http` and `quic` are the others, if they are open."""

    http: int
    quic: int


@asynccontextmanager
async def _server(
    *, limits=None, library=None, log=None, clients=(), http=False, quic="", known_schemes=DEFAULT_SCHEMES
):
    counts = Counts()
    metrics = telemetry.ServerMetrics(counts.registry)
    recorder = StreamRecorder(metrics, clients, known_schemes, log=RowWriter(log, StreamRow) if log else None)
    server = TokenServer(library or Library(), limits or Limits(), metrics, recorder)
    port = Port(await server.open_grpc("127.0.0.1:0"))
    if http:
        port.http = await server.http_frontend.open("127.0.0.1:0")
    if quic:
        port.quic = await server.quic_frontend.open("127.0.0.1:0", congestion_control=quic)
    try:
        yield port, counts
    finally:
        await server.drain(1.0)
        recorder.close()


class LabOrigin:
    """The origin relay of a lab as a test wants it: its address, its drain, and what it shows."""

    def __init__(self, origin, accounts, gauges):
        self.address = origin.server.address
        self.drain = origin.drain
        self.sample = lambda: accounts.sample(origin.streams)
        self.show = lambda: gauges.show(self.sample())


@asynccontextmanager
async def _until_closed(upstream, origin, uplink, front):
    """Close what relays a test has opened."""
    try:
        yield
    finally:
        await front.drain(1.0)
        uplink.close()
        await origin.drain(1.0)
        origin.server.close()
        await upstream.close()


@asynccontextmanager
async def _recording(counts, clients, log, *known_schemes):
    """Record what streams cost; gives the accounts, and the gauges."""
    metrics = telemetry.OriginMetrics(counts.registry)
    recorder = StreamRecorder(metrics, clients, *known_schemes, log=RowWriter(log, StreamRow) if log else None)
    yield StreamAccounts(metrics, recorder), StreamGauges(metrics, recorder)
    recorder.close()


@asynccontextmanager
async def _relays(upstream_port, *, log=None, clients=(), max_streams=100, methods=(names.GENERATE,)):
    counts, edge_counts = Counts(), Counts()
    sessions, edge_metrics = telemetry.SessionMetrics(counts.registry), telemetry.EdgeMetrics(edge_counts.registry)
    async with _recording(counts, clients, log) as (accounts, gauges):
        upstream = GrpcUpstream(f"127.0.0.1:{upstream_port}", methods=methods)
        await upstream.open()
        tally = Tally(sent=sessions.sent, received=sessions.received)
        origin = origin_of_calls(upstream, accounts, max_answers=max_streams)
        await origin.open("127.0.0.1:0", tally=tally)
        uplink = await connect(format_address(origin.server.address), edge_metrics)
        front = GrpcFront(uplink, scheme_of=scheme_of_call, metrics=edge_metrics, max_calls=256)
        port = front.listen("127.0.0.1:0")
        await front.serve()
        async with _until_closed(upstream, origin, uplink, front):
            yield port, counts, edge_counts, LabOrigin(origin, accounts, gauges)


@asynccontextmanager
async def _pair(model, *, log=None, clients=()):
    counts, edge_metrics = Counts(), telemetry.EdgeMetrics(CollectorRegistry())
    async with _recording(counts, clients, log, ("openai",)) as (accounts, gauges):
        upstream = HttpUpstream(f"http://127.0.0.1:{model}")
        await upstream.open()
        origin = Origin(http=upstream, observer=accounts)
        await origin.open("127.0.0.1:0", key=KEY)
        uplink = await connect(format_address(origin.server.address), edge_metrics, key=KEY)
        front, listener = chat_front(uplink), listen_on("127.0.0.1:0")
        await front.open(listener)
        async with _until_closed(upstream, origin, uplink, front):
            yield listener.getsockname()[1], counts, LabOrigin(origin, accounts, gauges)


async def _until(holds, patience=PATIENCE):
    async with asyncio.timeout(patience):
        while not holds():  # noqa: ASYNC110  (what is waited for sets no event)
            await asyncio.sleep(0.01)


@pytest.fixture
def client():
    """Async context manager: a client of a port."""
    return _client


@pytest.fixture
def server():
    """Async context manager: a token server; gives its port and its metrics."""
    return _server


@pytest.fixture
def relays():
    """Async context manager: an origin and an edge relay; gives the edge's port, both metrics, and the origin relay."""
    return _relays


@pytest.fixture
def pair():
    """Async context manager: the relay pair for real services; gives the edge's port, the origin's metrics, and the origin."""
    return _pair


@pytest.fixture
def counts():
    """Makes an empty set of metrics: hand over its `registry`, then call it with a name and labels."""
    return Counts


@pytest.fixture
def until():
    """Wait, within bounds, until something holds."""
    return _until


class Node:
    """One node as a process."""

    def __init__(self, process):
        self.process = process
        self.lines = deque()
        self._rest = b""

    def line(self):
        """Return the next line of its standard output, or fail."""
        while not self.lines:
            readable, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
            data = os.read(self.process.stdout.fileno(), 65536) if readable else b""
            assert data, f"the node said nothing more: {self.process.poll()}"
            *lines, self._rest = (self._rest + data).split(b"\n")
            self.lines.extend(line.decode() for line in lines)
        return self.lines.popleft()

    def stop(self):
        """Send SIGTERM and return the exit status and what it said on standard error."""
        self.process.terminate()
        return self.wait()

    def wait(self):
        """Return the exit status and what it said on standard error."""
        _, error = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, error.decode()


@pytest.fixture(scope="session")
def forks():
    """What forks nodes."""
    made = Forks()
    yield made
    made.close()


@pytest.fixture
def start_node(forks):
    """Start a node and wait for its `ready`."""
    nodes = []

    def start(name, *flags, ready=True):
        node = Node(forks.start(name, [*map(str, flags)]))
        nodes.append(node)
        if ready:
            assert node.line() == "ready"
        return node

    yield start
    for node in nodes:
        if node.process.poll() is None:
            node.process.kill()
        node.process.communicate()
