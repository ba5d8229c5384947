"""The origin relay and, before it, the edge relay, in one event loop with what they relay."""

import asyncio
import secrets
from contextlib import asynccontextmanager
from random import Random

import grpc
import grpc.aio
import pytest

from eloquent import schemes
from eloquent.api.v1.exchange_pb2 import GrpcCall, HttpRequest
from eloquent.api.v1.token_service_pb2 import GenerateRequest
from eloquent.calls import names
from eloquent.drivers.udp import UdpClient
from eloquent.nodes.sources import Library
from eloquent.protocol.session import StreamEnded, StreamFailed
from eloquent.records.rows import StreamRow, read_rows
from eloquent.relay.exchange import ANSWER_ID_SIZE, decode_outcome, encode_begin
from eloquent.relay.grpc_call import status_of
from eloquent.serving.grpc_server import metadata_of

SCHEMES = ["eloquent", "retransmit", "duplicate-2"]


@asynccontextmanager
async def upstream(generate):
    """A gRPC server whose `Generate` is the given handler, in bytes."""
    server = grpc.aio.server()
    method = grpc.unary_stream_rpc_method_handler(generate)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(names.TOKEN_SERVICE, {"Generate": method})])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port
    await server.stop(0)


async def failure_of(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    return caught.value.code(), caught.value.details()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_any_bytes_come_back_as_they_are(client, relays, scheme):
    random = Random(3)
    messages = [random.randbytes(size) for size in (1, 0, 20, 1100, 1200, 5000, 0, 40_000, 3)]

    async def echo(request, context):
        assert request == b"what\x00ever" * 3000  # 30 kB, in many datagrams
        for message in messages:
            await context.write(message)

    async def run():
        async with upstream(echo) as port, relays(port) as (edge, *_), client(edge) as asker:
            return [message async for message in asker.raw(b"what\x00ever" * 3000, scheme=scheme)]

    assert asyncio.run(run()) == messages


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_answer_is_the_one_of_the_direct_path(client, server, relays, scheme):
    prompt = "Tell me, in many words, " * 1250  # 30 kB

    async def run():
        async with (
            server() as (port, _),
            relays(port) as (edge, *_),
            client(port) as direct,
            client(edge) as relayed,
        ):
            options = {"max_tokens": 40, "gap": 0.005}
            return await direct.answer(prompt, **options), await relayed.answer(prompt, scheme=scheme, **options)

    direct, relayed = asyncio.run(run())
    assert len(direct) == 40
    assert relayed == direct


def test_streams_run_beside_one_another(client, server, relays):
    async def run():
        async with server() as (port, _), relays(port) as (edge, *_), client(edge) as asker:
            calls = [asker.answer(f"Count to {n}", scheme=SCHEMES[n % 3]) for n in range(5, 20)]
            return await asyncio.gather(*calls)

    for n, answer in enumerate(asyncio.run(run()), 5):
        assert "".join(text for _, text in answer) == ", ".join(map(str, range(1, n + 1)))


def test_a_status_passes_as_the_server_gave_it(client, server, relays):
    async def run():
        async with (
            server() as (port, _),
            relays(port) as (edge, *_),
            client(port) as direct,
            client(edge) as relayed,
        ):
            return await failure_of(direct.ask(source="nobody")), await failure_of(relayed.ask(source="nobody"))

    direct, relayed = asyncio.run(run())
    assert direct[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert relayed == direct


def test_a_status_after_some_tokens_keeps_the_tokens_and_cuts_its_message(client, relays):
    async def fail(_, context):
        await context.write(b"one")
        await context.write(b"two")
        await context.abort(grpc.StatusCode.DATA_LOSS, "ü" * 1000)

    async def run():
        async with upstream(fail) as port, relays(port) as (edge, *_), client(edge) as asker:
            answer = aiter(asker.raw(b""))
            return [await anext(answer), await anext(answer)], await failure_of(answer)

    tokens, (code, details) = asyncio.run(run())
    assert tokens == [b"one", b"two"]
    assert code is grpc.StatusCode.DATA_LOSS
    assert details
    assert set(details) == {"ü"}


def test_metadata_and_deadline_reach_the_server(client, relays):
    seen = {}

    async def look(_, context):
        seen.update(metadata_of(context.invocation_metadata()), left=context.time_remaining())

    async def run():
        async with upstream(look) as port, relays(port) as (edge, *_), client(edge) as asker:
            async for _ in asker.ask(client="c1", session="c1.eloquent.r1", timeout=9):
                pass

    asyncio.run(run())
    left = seen.pop("left")
    assert seen == {
        "x-eloquent-client": "c1",
        "x-eloquent-session": "c1.eloquent.r1",
        "x-eloquent-scheme": "eloquent-packed",  # the default, where the client named none
    }
    assert 5 < left <= 9.05  # gRPC writes a timeout of seconds in steps of 10 ms, rounded up, at each of its two hops


@pytest.mark.parametrize("how", ["cancel", "deadline"])
def test_a_client_that_leaves_stops_the_generator(client, server, relays, until, how):
    async def run():
        async with (
            server() as (port, counts),
            relays(port) as (edge, origin_counts, edge_counts, _),
            client(edge) as asker,
        ):
            call = asker.ask("Count to 1000", gap=0.02, timeout=0.6 if how == "deadline" else 30)
            if how == "deadline":
                code, _ = await failure_of(call)
                assert code is grpc.StatusCode.DEADLINE_EXCEEDED
            else:
                for _ in range(3):
                    await call.read()
                call.cancel()
                await until(lambda: edge_counts("cancelled_streams_total") == 1)
                await until(lambda: origin_counts("cancelled_streams_total") == 1)
            await until(lambda: counts("active_generations") == 0 and counts("generated_tokens_total") > 0)
            generated = counts("generated_tokens_total")
            await asyncio.sleep(0.2)
            assert counts("generated_tokens_total") == generated
            return generated

    assert 3 <= asyncio.run(run()) < 100


def test_a_server_that_is_not_there_is_unavailable(client, relays, free_port):
    async def run():
        async with relays(free_port()) as (edge, *_), client(edge) as asker:
            return await failure_of(asker.ask())

    assert asyncio.run(run())[0] is grpc.StatusCode.UNAVAILABLE


def test_one_stream_too_many_is_refused(client, server, relays):
    async def run():
        async with server() as (port, _), relays(port, max_streams=1) as (edge, *_), client(edge) as asker:
            first = asker.ask("Count to 1000", gap=0.05)
            await first.read()
            refused = await failure_of(asker.ask())
            first.cancel()
            return refused

    code, details = asyncio.run(run())
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "1 answers" in details


def test_while_draining_streams_end_and_new_ones_are_refused(client, server, relays):
    async def run():
        async with server() as (port, _), relays(port) as (edge, _, _, origin), client(edge) as asker:
            old = aiter(asker.ask("Count to 10", gap=0.03))
            await anext(old)
            drained = asyncio.create_task(origin.drain(10))
            refused = await failure_of(asker.ask())
            rest = [token.text async for token in old]
            await drained
            return refused, rest

    (code, details), rest = asyncio.run(run())
    assert code is grpc.StatusCode.UNAVAILABLE
    assert "shutting down" in details
    assert len(rest) == 18


def test_what_streams_cost_is_logged_and_counted(client, server, relays, until, tmp_path):
    log = tmp_path / "origin.csv"

    async def run():
        async with (
            server() as (port, _),
            relays(port, log=log, clients=["c1"]) as (edge, counts, edge_counts, origin),
            client(edge) as asker,
        ):
            for number in range(3):
                for scheme in SCHEMES:
                    session = f"c1.{scheme}.r{number}"
                    await asker.answer("Count to 3", scheme=scheme, client="c1", session=session)
            await asker.answer("Count to 3", client="intruder")
            await until(lambda: counts("original_bytes_total", client="other", scheme="eloquent-packed") > 0)
            origin.show()
            labels = {"client": "c1", "scheme": "eloquent"}
            assert (
                counts("datagrams_total", direction="out", kind="answer") >= 40
            )  # tokens that came together share one
            assert edge_counts("datagrams_total", direction="in", kind="answer") >= 40
            return counts("original_bytes_total", **labels), counts("wire_bytes_total", **labels)

    original, wire = asyncio.run(run())
    rows = list(read_rows(log, StreamRow))
    assert sorted(row.session for row in rows) == sorted(f"c1.{s}.r{n}" for s in SCHEMES for n in (1, 2))
    for row in rows:
        assert row.tokens == 5
        assert row.original_bytes >= 5 * 10  # the messages: time stamp and text
        assert row.redundant_bytes >= 0
        assert row.wire_bytes > row.original_bytes + row.redundant_bytes + 28 * row.packets
    mine = [row for row in rows if row.scheme == "eloquent"]
    assert original >= sum(row.original_bytes for row in mine) * 1.4  # round 0 is counted, and not logged
    assert wire >= sum(row.wire_bytes for row in mine) * 1.4


def test_only_known_schemes_are_labels_of_what_is_unacknowledged(client, server, relays):
    async def run():
        async with server() as (port, _), relays(port) as (edge, counts, _, origin), client(edge) as asker:
            calls = [
                asker.ask("Count to 1000", scheme=scheme) for scheme in ("duplicate-3", "duplicate-2-5ms", "eloquent")
            ]
            for call in calls:
                await call.read()
            origin.show()
            assert counts("relayed_streams", scheme="other") == 2
            assert counts("relayed_streams", scheme="eloquent") == 1
            gauges = [family for family in counts.registry.collect() if family.name == "eloquent_unacked_tokens"]
            for call in calls:
                call.cancel()
            return {sample.labels["scheme"] for gauge in gauges for sample in gauge.samples}

    assert asyncio.run(run()) == {"other", "eloquent"}


class RawClient:
    """Speaks to an origin relay without an edge relay."""

    def __init__(self):
        self.ends = asyncio.Queue()

    async def ask(self, address, *requests):
        def on_event(event):
            if isinstance(event, StreamEnded | StreamFailed):
                self.ends.put_nowait(event)

        client = await UdpClient.connect(address, schemes.get, on_event)
        for request in requests:
            client.open_stream(request, scheme="eloquent")
        async with asyncio.timeout(10):
            ends = [await self.ends.get() for _ in requests]
        client.close()
        return [status_of(decode_outcome(end.trailer))[0] for end in sorted(ends, key=lambda end: end.stream_id)]


def test_only_listed_methods_are_called_and_nonsense_is_answered(server, relays):
    def call(method, body=b""):
        return encode_begin(secrets.token_bytes(ANSWER_ID_SIZE), GrpcCall(method=method, body=body))

    async def run():
        async with server() as (port, counts), relays(port) as (_, _, _, origin):
            codes = await RawClient().ask(
                origin.address,
                call("/grpc.health.v1.Health/Watch"),
                b"\xff\xff\xff",
                encode_begin(bytes(ANSWER_ID_SIZE), HttpRequest(method="GET", target="/")),
                call(names.GENERATE, GenerateRequest(prompt="Count to 2").SerializeToString()),
            )
            return codes, counts("generated_tokens_total")

    codes, generated = asyncio.run(run())
    code = grpc.StatusCode
    assert codes == [code.UNIMPLEMENTED, code.INVALID_ARGUMENT, code.UNIMPLEMENTED, code.OK]
    assert generated == 3


def test_the_library_of_a_server_behind_relays_may_be_recorded(client, server, relays, tmp_path):
    (tmp_path / "two.jsonl").write_text('{"at_s": 0, "text": "a"}\n{"at_s": 0.02, "text": "b"}\n')

    async def run():
        library = Library(tmp_path)
        async with server(library=library) as (port, _), relays(port) as (edge, *_), client(edge) as asker:
            return await asker.answer("x", source="recorded:two")

    assert asyncio.run(run()) == [(0, "a"), (1, "b")]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ((), "go together"),
        (("--page-origins", "http://127.0.0.1:8080", "--certificate-hash", "hash"), "give --sealed"),
    ],
)
def test_pages_need_their_flags_and_a_model_server(start_node, flags, sentence):
    words = ("--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:9", "--webtransport", "127.0.0.1:0")
    status, error = start_node("origin_relay", *words, *flags, ready=False).wait()
    assert status == 2
    assert sentence in error.splitlines()[-1]
