import asyncio
import signal
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from eloquent import schemes, telemetry
from eloquent.api.v1.relay_pb2 import RelayStatus
from eloquent.calls import names
from eloquent.drivers.udp import UdpServer
from eloquent.nodes.edge_relay.relay import EdgeRelay
from eloquent.protocol import client_session
from eloquent.protocol.session import StreamRequested

LOST = grpc.StatusCode.UNAVAILABLE


async def status_of(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    return caught.value.code(), caught.value.details()


@pytest.fixture
def edge_before(client):
    """Async context manager: a client of an edge relay whose origin relay is a script."""

    @asynccontextmanager
    async def make(on_event, metrics):
        origin = await UdpServer.bind(
            ("127.0.0.1", 0), schemes.get, lambda session, event: on_event(origin, session, event)
        )
        edge = EdgeRelay(origin.address, telemetry.EdgeMetrics(metrics.registry))
        await edge.open()
        port = await edge.grpc_server.open("127.0.0.1:0")
        try:
            async with client(port) as asker:
                yield asker, edge, origin
        finally:
            await edge.grpc_server.drain(1.0)
            edge.close()
            origin.close()

    return make


def answer_with(trailer, tokens=(b"one", b"two")):
    """Answer each request with the tokens and that trailer; `None` never ends."""

    def on_event(origin, session, event):
        if isinstance(event, StreamRequested):
            for token in tokens:
                origin.send_token(session, event.stream_id, token)
            if trailer is not None:
                origin.finish(session, event.stream_id, trailer=trailer)

    return on_event


@pytest.mark.parametrize("trailer", [b"", b"\xff\xff", RelayStatus(message="fine").SerializeToString()])
def test_an_end_without_a_status_is_never_a_clean_end(edge_before, counts, trailer):
    async def run():
        async with edge_before(answer_with(trailer), counts()) as (asker, *_):
            return await status_of(asker.raw(b""))

    code, details = asyncio.run(run())
    assert code is LOST
    assert "without a status" in details


def test_a_status_code_that_grpc_does_not_have_is_unknown(edge_before, counts):
    async def run():
        trailer = RelayStatus(code=4711).SerializeToString()
        async with edge_before(answer_with(trailer), counts()) as (asker, *_):
            return await status_of(asker.raw(b""))

    assert asyncio.run(run())[0] is grpc.StatusCode.UNKNOWN


def test_a_silent_origin_relay_is_unavailable_and_the_next_stream_gets_a_new_session(edge_before, counts, monkeypatch):
    monkeypatch.setattr(client_session, "SILENCE_LIMIT", 0.5)
    end = RelayStatus(code=0).SerializeToString()
    script = [answer_with(None, tokens=[b"one"]), answer_with(end)]

    def on_event(origin, session, event):
        script[0](origin, session, event)

    async def run():
        async with edge_before(on_event, counts()) as (asker, _, origin):
            answer = aiter(asker.raw(b""))
            first = await anext(answer)
            for session in origin.endpoint.sessions:
                session.receive = lambda datagram, now: None
                session.datagrams_to_send = lambda now: []
            lost = await status_of(answer)
            del script[0]
            return first, lost, [token async for token in asker.raw(b"")]

    first, (code, details), again = asyncio.run(run())
    assert first == b"one"
    assert code is LOST
    assert "path to the origin relay was lost" in details
    assert again == [b"one", b"two"]


def test_a_session_that_the_origin_relay_closes_fails_its_streams(edge_before, counts):
    async def run():
        async with edge_before(answer_with(None), counts()) as (asker, _, origin):
            answer = aiter(asker.raw(b""))
            await anext(answer)
            for session in origin.endpoint.sessions:
                origin.close_session(session)
            return await status_of(answer)

    assert asyncio.run(run())[0] is LOST


@pytest.mark.parametrize(
    ("scheme", "message"),
    [("grpc", "relays do not carry the scheme 'grpc'"), ("pigeon", "'pigeon' is not a scheme")],
)
def test_a_scheme_that_relays_do_not_have_is_an_invalid_argument(edge_before, counts, scheme, message):
    async def run():
        async with edge_before(answer_with(b""), counts()) as (asker, *_):
            return await status_of(asker.raw(b"", scheme=scheme))

    code, details = asyncio.run(run())
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert message in details


def test_a_request_too_long_for_a_session_is_refused(edge_before, counts):
    async def run():
        async with edge_before(answer_with(b""), counts()) as (asker, *_):
            return await status_of(asker.raw(bytes(2_000_000)))

    assert asyncio.run(run())[0] is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_client_that_does_not_read_slows_the_model_down_and_loses_nothing(edge_before, counts):
    """As over one gRPC connection: what is under way has a bound, and goes on when the client reads again."""
    tokens = [b"%01000d" % number for number in range(8_000)]
    given = []

    def on_event(origin, session, event):
        if isinstance(event, StreamRequested):
            given.append(asyncio.get_running_loop().create_task(give(origin, session, event.stream_id)))

    async def give(origin, session, stream_id):
        for number, token in enumerate(tokens):
            while session.backlog(stream_id) >= 1000:  # noqa: ASYNC110 - no event tells of progress
                await asyncio.sleep(0.001)
            origin.send_token(session, stream_id, token)
            if number % 50 == 0:
                await asyncio.sleep(0)
        origin.finish(session, stream_id, trailer=RelayStatus(code=0).SerializeToString())

    async def run():
        async with edge_before(on_event, counts()) as (asker, edge, _):
            call = asker.raw(b"", scheme="eloquent", timeout=120)
            await asyncio.sleep(2.0)
            (answer,) = edge._uplink._answers.values()
            waiting, still_gives = len(answer._waiting), not given[0].done()
            return waiting, still_gives, [token async for token in call]

    waiting, still_gives, received = asyncio.run(run())
    assert waiting < 2000
    assert still_gives
    assert received == tokens


def test_each_scheme_has_one_session_and_the_gauge_says_so(edge_before, counts, until):
    seen = counts()

    async def run():
        async with edge_before(answer_with(RelayStatus(code=0).SerializeToString()), seen) as (asker, edge, origin):
            for scheme in ("eloquent", "retransmit", "eloquent"):
                async for _ in asker.raw(b"", scheme=scheme):
                    pass
            watching = asyncio.create_task(edge.watch())
            await until(lambda: seen("sessions") == 2)
            watching.cancel()
            return len(origin.endpoint.sessions)

    assert asyncio.run(run()) == 2


def test_kill_9_of_the_origin_relay_in_mid_stream_is_unavailable(start_node, free_port):
    server, origin, edge = (f"127.0.0.1:{free_port()}" for _ in range(3))
    start_node("token_server", "--listen", server)
    first = start_node("origin_relay", "--listen", origin, "--upstream", server)
    start_node("edge_relay", "--listen", edge, "--origin", origin)
    with grpc.insecure_channel(edge) as channel:
        generate = channel.unary_stream(names.GENERATE)
        answer = generate(b"", timeout=30)  # an empty request: the book, at the usual pace
        for _ in range(3):
            next(answer)
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        start_node("origin_relay", "--listen", origin, "--upstream", server)
        with pytest.raises(grpc.RpcError) as lost:
            list(answer)
        assert lost.value.code() is LOST
        assert len(next(generate(b"", timeout=20))) > 0


def test_as_processes_relays_drain_and_exit_with_0(start_node, free_port):
    server, origin_address, edge_address = (f"127.0.0.1:{free_port()}" for _ in range(3))
    start_node("token_server", "--listen", server)
    origin = start_node(
        "origin_relay", "--listen", origin_address, "--upstream", server, "--metrics", "127.0.0.1:0", "--grace", 15
    )
    edge = start_node(
        "edge_relay", "--listen", edge_address, "--origin", origin_address, "--metrics", "127.0.0.1:0", "--grace", 15
    )
    with grpc.insecure_channel(edge_address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=5).status == 1
        known = ProtoReflectionDescriptorDatabase(channel)
        assert set(known.get_services()) >= {names.TOKEN_SERVICE, "grpc.health.v1.Health"}
        assert (
            DescriptorPool(known).FindServiceByName(names.TOKEN_SERVICE).FindMethodByName("Generate").server_streaming
        )
        answer = channel.unary_stream(names.GENERATE)(b"\x10\x0a", timeout=30)  # max_tokens: 10
        next(answer)
        origin.process.terminate()
        edge.process.terminate()
        assert len(list(answer)) == 9
    assert origin.wait()[0] == 0
    assert edge.wait()[0] == 0


@pytest.mark.parametrize(
    ("node", "flags"),
    [
        ("edge_relay", ("--listen", "127.0.0.1:0", "--origin", "nonsense")),
        ("origin_relay", ("--listen", "127.0.0.1:x", "--upstream", "127.0.0.1:1")),
        ("origin_relay", ("--listen", "192.0.2.1:9", "--upstream", "127.0.0.1:1")),
    ],
)
def test_a_wrong_address_is_one_sentence_and_exit_status_2(start_node, node, flags):
    status, error = start_node(node, *flags, ready=False).wait()
    assert status == 2
    assert error.startswith("error: ")
    assert "Traceback" not in error
