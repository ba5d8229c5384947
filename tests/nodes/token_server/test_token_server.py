import asyncio
import time

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from prometheus_client import CollectorRegistry

from eloquent import telemetry
from eloquent.api.v1.token_service_pb2 import GenerateRequest, GenerateResponse
from eloquent.calls import names
from eloquent.nodes.common.stream_record import StreamRecorder
from eloquent.nodes.sources import Library, SourceToken
from eloquent.nodes.token_server.model import Generation, Limits, Model
from eloquent.records.rows import StreamRow, read_rows

COUNT_TO_3 = [(0, "1"), (1, ","), (2, " 2"), (3, ","), (4, " 3")]


async def status_of(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    return caught.value.code(), caught.value.details()


class SlowContext:
    """Writes take virtual time; notes when each began."""

    def __init__(self):
        self.written = []

    async def write(self, message):
        self.written.append((message.index, asyncio.get_running_loop().time()))
        await asyncio.sleep(0.03)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([SourceToken("a"), SourceToken("b"), SourceToken("c")], [1.5, 1.6, 1.7]),
        (
            [SourceToken("a", 0.0), SourceToken("b", 0.5), SourceToken("c", 0.51), SourceToken("d", 0.9)],
            [1.5, 2.0, 2.03, 2.4],
        ),
    ],
    ids=["at the request's gap", "as recorded"],
)
def test_tokens_are_due_on_the_clock_and_lateness_does_not_add_up(run_virtually, tokens, expected):
    metrics = telemetry.ServerMetrics(CollectorRegistry())

    async def run():
        model = Model(Library(), Limits(), metrics, StreamRecorder(metrics))
        context = SlowContext()
        await model.produce(Generation(iter(tokens), 100, 0.1, 1.5), context.write)
        return context.written

    written = run_virtually(run())
    assert [index for index, _ in written] == list(range(len(tokens)))
    assert [at for _, at in written] == pytest.approx(expected)


def test_the_answer_comes_in_order_with_the_times_of_its_making(client, server):
    async def run():
        async with server() as (port, counts), client(port) as asker:
            before = time.monotonic_ns()
            tokens = [token async for token in asker.ask("Count to 3", gap=0.02)]
            return tokens, before, time.monotonic_ns(), counts("generated_tokens_total")

    tokens, before, after, generated = asyncio.run(run())
    assert [(token.index, token.text) for token in tokens] == COUNT_TO_3
    times = [token.generated_at_ns for token in tokens]
    assert before < times[0]
    assert times[-1] < after
    assert all(at - times[0] > index * 20_000_000 - 15_000_000 for index, at in enumerate(times))
    assert generated == 5


def test_the_first_token_may_be_delayed_and_the_answer_be_cut(client, server):
    async def run():
        async with server() as (port, _), client(port) as asker:
            request = GenerateRequest(prompt="Count to 50", max_tokens=3)
            request.token_gap.FromMilliseconds(0)
            request.first_token_delay.FromMilliseconds(200)
            start = time.monotonic()
            messages = [GenerateResponse.FromString(data) async for data in asker.raw(request.SerializeToString())]
            return messages, time.monotonic() - start

    messages, took = asyncio.run(run())
    assert [message.text for message in messages] == ["1", ",", " 2"]
    assert took >= 0.2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gap": -0.001}, "token_gap is -0.001 s; this server takes 0 s to 10 s"),
        ({"gap": 10.001}, "token_gap is 10.001 s"),
        ({"delay": 60.5}, "first_token_delay is 60.5 s; this server takes 0 s to 60 s"),
        ({"max_tokens": 101}, "max_tokens is 101; this server gives at most 100"),
        ({"prompt": "é" * 501}, "prompt has 1002 bytes; this server takes 1000"),
        ({"source": "nobody"}, "no token source 'nobody': this server has counting, book"),
        ({"source": "counting", "prompt": "hello"}, "Count to N"),
    ],
)
def test_what_is_out_of_range_is_an_invalid_argument(client, server, fields, message):
    async def run():
        request = GenerateRequest(prompt=fields.get("prompt", "Count to 2"), source=fields.get("source", ""))
        request.max_tokens = fields.get("max_tokens", 0)
        request.token_gap.FromNanoseconds(round(fields.get("gap", 0) * 1e9))
        request.first_token_delay.FromNanoseconds(round(fields.get("delay", 0) * 1e9))
        limits = Limits(tokens=100, prompt_bytes=1000)
        async with server(limits=limits) as (port, _), client(port) as asker:
            return await status_of(asker.raw(request.SerializeToString()))

    code, details = asyncio.run(run())
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert message in details


@pytest.mark.parametrize("body", [b"\xff\xff", b"\x0a\x05abc", b"\x0a\x01\xff"], ids=["a tag", "a length", "a text"])
@pytest.mark.parametrize("by", ["token server", "edge relay"])
def test_a_request_that_cannot_be_decoded_is_an_invalid_argument(client, server, relays, by, body):
    async def run():
        async with (
            server() as (port, _),
            relays(port) as (edge, *_),
            client(port if by == "token server" else edge) as asker,
        ):
            return await status_of(asker.raw(body))

    code, details = asyncio.run(run())
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details == "the request is not a GenerateRequest: it cannot be decoded"


def test_the_server_s_own_limit_cuts_an_answer_without_one(client, server):
    async def run():
        async with server(limits=Limits(tokens=7)) as (port, _), client(port) as asker:
            return await asker.answer("Tell me a story", gap=0)

    assert len(asyncio.run(run())) == 7


def test_one_stream_too_many_is_refused_until_another_has_ended(client, server):
    async def run():
        async with server(limits=Limits(streams=2)) as (port, _), client(port) as asker:
            open_calls = [asker.ask("Count to 1000", gap=0.05) for _ in range(2)]
            for call in open_calls:
                await call.read()
            refused = await status_of(asker.ask())
            for call in open_calls:
                call.cancel()
            async with asyncio.timeout(10):
                while True:
                    try:
                        return refused, await asker.answer("Count to 3")
                    except grpc.aio.AioRpcError:
                        await asyncio.sleep(0.01)

    (code, details), answer = asyncio.run(run())
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "2 streams" in details
    assert answer == COUNT_TO_3


@pytest.mark.parametrize("scheme", ["eloquent", "duplicate-2", "pigeon", ""])
def test_only_what_the_kernel_carries_is_accounted(client, server, scheme):
    async def run():
        async with server(clients=["c1"]) as (port, counts), client(port) as asker:
            await asker.answer("Count to 2", gap=0, scheme=scheme)
            return [sample for family in counts.registry.collect() for sample in family.samples]

    names = {sample.name for sample in asyncio.run(run())}
    assert "eloquent_original_bytes_total" not in names
    assert "eloquent_unaccounted_streams_total" not in names


@pytest.mark.parametrize("how", ["cancel", "deadline"])
def test_a_client_that_leaves_stops_the_generator(client, server, until, how):
    async def run():
        async with server() as (port, counts), client(port) as asker:
            call = asker.ask("Count to 1000", gap=0.02, timeout=1.5 if how == "deadline" else 30)
            if how == "deadline":
                code, _ = await status_of(call)
                assert code is grpc.StatusCode.DEADLINE_EXCEEDED
            else:
                for _ in range(3):
                    await call.read()
                call.cancel()
            await until(lambda: counts("active_generations") == 0 and counts("generated_tokens_total") > 0)
            generated = counts("generated_tokens_total")
            await asyncio.sleep(0.2)
            assert counts("generated_tokens_total") == generated
            return generated, counts("cancelled_streams_total")

    generated, cancelled = asyncio.run(run())
    assert 3 <= generated < 500
    assert cancelled == 1


def test_streams_over_tcp_are_accounted_in_the_log_and_in_the_metrics(client, server, until, tmp_path):
    log = tmp_path / "server.csv"
    lengths = {}

    async def run():
        async with server(log=log, clients=["c1"]) as (port, counts), client(port) as asker:
            options = {"scheme": "grpc", "client": "c1"}
            for number in (0, 1, 2):
                session = f"c1.grpc.r{number}"  # one right after the other
                lengths[session] = sum([token.ByteSize() async for token in asker.ask(session=session, **options)])
            await until(lambda: counted(counts) > 0)
            shared = [asker.answer("Count to 9", session=f"c1.grpc.r{number}", **options) for number in (3, 4)]
            await asyncio.gather(*shared)
            await asker.answer("Count to 3", session="c1.eloquent.r1", scheme="eloquent", client="c1")
            await until(lambda: counts("unaccounted_streams_total", reason="shared") == 2)
            return counted(counts), counts("wire_bytes_total", client="c1", scheme="grpc")

    def counted(counts):
        return counts("original_bytes_total", client="c1", scheme="grpc")

    original, wire = asyncio.run(run())
    rows = list(read_rows(log, StreamRow))
    assert [row.session for row in rows] == ["c1.grpc.r1", "c1.grpc.r2"]  # round 0 is background, 3 and 4 shared
    for row in rows:
        assert row.tokens == 9
        assert row.original_bytes == lengths[row.session]  # the messages, as a relay would count them
        assert row.redundant_bytes <= row.original_bytes  # a starved loopback repeats its tail, too
        assert row.wire_bytes > row.original_bytes + 52 * row.packets  # framing and headers
    assert original > sum(row.original_bytes for row in rows)
    assert wire > sum(row.wire_bytes for row in rows)


def test_a_client_nobody_knows_makes_no_series_of_its_own(client, server, until):
    async def run():
        async with server(clients=["c1"]) as (port, counts), client(port) as asker:
            await asker.answer("Count to 3", scheme="grpc", client="intruder", session="intruder.grpc.r1")
            await until(lambda: counts("original_bytes_total", client="other", scheme="grpc") > 0)

    asyncio.run(run())


def test_as_a_process_it_serves_health_reflection_and_metrics_and_drains(start_node, free_port, tmp_path):
    port = free_port()
    (tmp_path / "quick.jsonl").write_text('{"at_s": 0, "text": "Hi"}\n{"at_s": 0.01, "text": "!"}\n')
    flags = ("--listen", f"127.0.0.1:{port}", "--metrics", "127.0.0.1:0", "--recordings", tmp_path, "--grace", 15)
    node = start_node("token_server", *flags)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        generate = channel.unary_stream(names.GENERATE, GenerateRequest.SerializeToString, GenerateResponse.FromString)
        health = health_pb2_grpc.HealthStub(channel)
        check = health_pb2.HealthCheckRequest(service=names.TOKEN_SERVICE)
        assert names.TOKEN_SERVICE in ProtoReflectionDescriptorDatabase(channel).get_services()
        assert health.Check(check, timeout=5).status == health_pb2.HealthCheckResponse.SERVING
        recorded = generate(GenerateRequest(source="recorded:quick"), timeout=5)
        assert [token.text for token in recorded] == ["Hi", "!"]

        request = GenerateRequest(prompt="Count to 10")
        request.token_gap.FromMilliseconds(150)
        old = generate(request, timeout=20)
        next(old)
        node.process.terminate()
        deadline = time.monotonic() + 10
        while health.Check(check, timeout=5).status != health_pb2.HealthCheckResponse.NOT_SERVING:
            assert time.monotonic() < deadline
        with pytest.raises(grpc.RpcError) as refused:
            next(generate(request, timeout=5))
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert len(list(old)) == 18  # the rest of 19 tokens
    assert node.wait()[0] == 0


def test_a_stream_that_outlasts_the_grace_time_ends_in_an_error(start_node, free_port):
    port = free_port()
    node = start_node("token_server", "--listen", f"127.0.0.1:{port}", "--grace", 0.2)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_stream(names.GENERATE)(GenerateRequest(prompt="Count to 900").SerializeToString())
        next(call)
        status, _ = node.stop()
        with pytest.raises(grpc.RpcError):
            list(call)
    assert status == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--recordings", "/nowhere/at/all"), "not a folder"),
        (("--congestion-controls", "vegas"), "'vegas' is no congestion control: choose from cubic, bbr"),
        (("--metrics", "nonsense"), "'nonsense' is not an address: write HOST:PORT"),
    ],
)
def test_a_wrong_flag_is_one_sentence_and_exit_status_2(start_node, free_port, flags, message):
    node = start_node("token_server", "--listen", f"127.0.0.1:{free_port()}", *flags, ready=False)
    status, error = node.wait()
    assert status == 2
    assert message in error
    assert "Traceback" not in error


def test_a_port_in_use_is_one_sentence_and_exit_status_2(start_node, free_port):
    port = free_port()
    start_node("token_server", "--listen", f"127.0.0.1:{port}")
    status, error = start_node("token_server", "--listen", f"127.0.0.1:{port}", ready=False).wait()
    assert status == 2
    assert f"cannot listen on 127.0.0.1:{port}" in error
    assert "Traceback" not in error
