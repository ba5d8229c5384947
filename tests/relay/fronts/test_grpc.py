"""The gRPC front, before an origin relay that is a script."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import pytest
from prometheus_client import CollectorRegistry

from eloquent import schemes, telemetry
from eloquent.api.v1.exchange_pb2 import Outcome
from eloquent.calls.names import GENERATE, SCHEME_KEY
from eloquent.drivers.udp import UdpServer
from eloquent.protocol.session import ServerEvent, ServerSession, StreamCancelled, StreamRequested
from eloquent.relay.exchange import decode_ask, encode_outcome
from eloquent.relay.fronts.grpc import GrpcFront
from eloquent.relay.grpc_call import encode_status
from eloquent.relay.uplink import Uplink

Code = grpc.StatusCode
OK = encode_status(Code.OK)
Script = Callable[[UdpServer, ServerSession, ServerEvent], None]


@dataclass
class Front:
    """What a test may touch."""

    origin: UdpServer
    uplink: Uplink
    metrics: telemetry.EdgeMetrics
    registry: CollectorRegistry
    channel: grpc.aio.Channel

    def ask(self, body: bytes = b"", *, scheme: str = "eloquent", timeout: float = 30.0) -> Any:
        return self.channel.unary_stream(GENERATE)(body, metadata=((SCHEME_KEY, scheme),), timeout=timeout)

    def count(self, name: str) -> float | None:
        return self.registry.get_sample_value(f"eloquent_{name}")


@asynccontextmanager
async def before(script: Script) -> AsyncIterator[Front]:
    origin = await UdpServer.bind(("127.0.0.1", 0), schemes.get, lambda session, event: script(origin, session, event))
    registry = CollectorRegistry()
    metrics = telemetry.EdgeMetrics(registry)
    uplink = await Uplink.connect(origin.address, metrics)
    front = GrpcFront(
        uplink, scheme_of=lambda fields: schemes.get(fields[SCHEME_KEY]).name, metrics=metrics, max_calls=10
    )
    port = front.listen("127.0.0.1:0")
    await front.serve()
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            yield Front(origin, uplink, metrics, registry, channel)
    finally:
        await front.drain(1.0)
        uplink.close()
        origin.close()


async def failure_of(call: Any) -> tuple[Code, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    return caught.value.code(), caught.value.details() or ""


def answer_with(trailer: bytes | None, *tokens: bytes) -> Script:
    """Answer each request with the tokens and that trailer; None never ends."""

    def script(origin: UdpServer, session: ServerSession, event: ServerEvent) -> None:
        if isinstance(event, StreamRequested):
            for token in tokens:
                origin.send_token(session, event.stream_id, token)
            if trailer is not None:
                origin.finish(session, event.stream_id, trailer=trailer)

    return script


def test_messages_pass_as_they_are(relaying: Any) -> None:
    async def main() -> None:
        async with before(answer_with(OK, b"one", b"", b"\xff" * 5000)) as front:
            assert [message async for message in front.ask()] == [b"one", b"", b"\xff" * 5000]

    relaying.run(main())


@pytest.mark.parametrize("trailer", [b"", b"\xff\xff", encode_outcome(Outcome.COMPLETE, "fine")])
def test_an_end_without_a_status_is_never_a_clean_end(relaying: Any, trailer: bytes) -> None:
    async def main() -> None:
        async with before(answer_with(trailer, b"one")) as front:
            code, _ = await failure_of(front.ask())
            assert code is Code.UNAVAILABLE

    relaying.run(main())


def test_what_the_origin_relay_refuses_is_told_and_is_no_lost_stream(relaying: Any) -> None:
    async def main() -> None:
        for kind, code in ((Outcome.REFUSED, Code.RESOURCE_EXHAUSTED), (Outcome.UNSUPPORTED, Code.UNIMPLEMENTED)):
            async with before(answer_with(encode_outcome(kind, "because"))) as front:
                assert await failure_of(front.ask()) == (code, "because")
                assert front.count("given_up_streams_total") == 0

    relaying.run(main())


def test_a_scheme_that_is_not_carried_is_an_invalid_argument(relaying: Any) -> None:
    async def main() -> None:
        async with before(answer_with(OK)) as front:
            code, details = await failure_of(front.ask(scheme="pigeon"))
            assert (code, "'pigeon'" in details) == (Code.INVALID_ARGUMENT, True)

    relaying.run(main())


def test_a_request_too_long_for_a_session_is_refused(relaying: Any) -> None:
    async def main() -> None:
        async with before(answer_with(OK)) as front:
            assert (await failure_of(front.ask(bytes(2_000_000))))[0] is Code.RESOURCE_EXHAUSTED

    relaying.run(main())


@pytest.mark.parametrize("then", ["goes on", "is gone"])
def test_a_call_whose_session_is_closed_asks_for_its_rest(relaying: Any, then: str) -> None:
    asked: list[str | None] = []

    def script(origin: UdpServer, session: ServerSession, event: ServerEvent) -> None:
        if not isinstance(event, StreamRequested):
            return
        ask = decode_ask(event.request)
        asked.append(ask.WhichOneof("what"))
        if ask.HasField("grpc"):
            origin.send_token(session, event.stream_id, b"one")
        elif then == "goes on":
            assert ask.resume.next == 1
            origin.send_token(session, event.stream_id, b"two")
            origin.finish(session, event.stream_id, trailer=OK)
        else:
            origin.finish(session, event.stream_id, trailer=encode_outcome(Outcome.GONE, "not kept"))

    async def main() -> None:
        async with before(script) as front:
            answer = aiter(front.ask())
            assert await anext(answer) == b"one"
            for session in front.origin.endpoint.sessions:
                front.origin.close_session(session)
            if then == "goes on":
                assert [message async for message in answer] == [b"two"]
            else:
                assert await failure_of(answer) == (Code.UNAVAILABLE, "not kept")
            assert front.count("given_up_streams_total") == (then == "is gone")
            assert asked == ["grpc", "resume"]

    relaying.run(main())


@pytest.mark.parametrize("how", ["cancel", "deadline"])
def test_a_client_that_leaves_withdraws_its_call(relaying: Any, how: str) -> None:
    cancelled = asyncio.Event()

    def script(origin: UdpServer, session: ServerSession, event: ServerEvent) -> None:
        answer_with(None, b"one")(origin, session, event)
        if isinstance(event, StreamCancelled):
            cancelled.set()

    async def main() -> None:
        async with before(script) as front:
            call = front.ask(timeout=0.5 if how == "deadline" else 30.0)
            assert await call.read() == b"one"
            if how == "cancel":
                call.cancel()
            async with asyncio.timeout(10.0):
                await cancelled.wait()
            await relaying.until(lambda: front.count("cancelled_streams_total") == 1)

    relaying.run(main())


def test_a_client_that_does_not_read_slows_the_model_down_and_loses_nothing(relaying: Any) -> None:
    """As over one gRPC connection: what is under way has a bound, and goes on when the client reads again."""
    tokens = [b"%01000d" % number for number in range(8_000)]
    given: list[asyncio.Task[None]] = []

    def script(origin: UdpServer, session: ServerSession, event: ServerEvent) -> None:
        if isinstance(event, StreamRequested):
            given.append(asyncio.get_running_loop().create_task(give(origin, session, event.stream_id)))

    async def give(origin: UdpServer, session: ServerSession, stream_id: int) -> None:
        for number, token in enumerate(tokens):
            while session.backlog(stream_id) >= 1000:  # noqa: ASYNC110 - no event tells of progress
                await asyncio.sleep(0.001)
            origin.send_token(session, stream_id, token)
            if number % 50 == 0:
                await asyncio.sleep(0)
        origin.finish(session, stream_id, trailer=OK)

    async def main() -> None:
        async with before(script) as front:
            call = front.ask(timeout=120.0)
            await asyncio.sleep(2.0)
            (answer,) = front.uplink._answers.values()
            assert len(answer._waiting) < 2000
            assert not given[0].done()
            assert [message async for message in call] == tokens

    relaying.run(main())


def test_each_scheme_has_one_session_and_the_gauge_says_so(relaying: Any) -> None:
    async def main() -> None:
        async with before(answer_with(OK, b"one")) as front:
            for scheme in ("eloquent", "retransmit", "eloquent"):
                async for _ in front.ask(scheme=scheme):
                    pass
            watching = asyncio.create_task(front.uplink.watch(front.metrics))
            await relaying.until(lambda: front.count("sessions") == 2)
            watching.cancel()
            assert len(front.origin.endpoint.sessions) == 2

    relaying.run(main())
