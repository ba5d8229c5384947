"""How an origin relay asks a model server over gRPC."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from eloquent.protocol.frames import MAX_TOKEN
from eloquent.relay.exchange import decode_outcome
from eloquent.relay.grpc_call import make_call, status_of
from eloquent.relay.upstreams.grpc import GrpcUpstream
from eloquent.serving.grpc_server import metadata_of

METHOD = "/some.Service/Stream"
Handler = Callable[[bytes, Any], Awaitable[None]]
Code = grpc.StatusCode


class Kept:
    """Keeps what comes; from `full` tokens on there is no room until `is_wanted` is set."""

    def __init__(self, full: int | None = None) -> None:
        self.tokens: list[bytes] = []
        self.is_wanted = asyncio.Event()
        self._full = full

    def put(self, token: bytes) -> bool:
        self.tokens.append(token)
        return self._full is None or len(self.tokens) < self._full or self.is_wanted.is_set()

    async def room(self) -> None:
        await self.is_wanted.wait()


@asynccontextmanager
async def asking(handler: Handler, options: Sequence[tuple[str, int]] = ()) -> AsyncIterator[GrpcUpstream]:
    """Serve a method by a handler, in bytes, and ask it."""
    server = grpc.aio.server(options=options)
    method: Any = grpc.unary_stream_rpc_method_handler(handler)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("some.Service", {"Stream": method})])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    upstream = GrpcUpstream(f"127.0.0.1:{port}", methods=(METHOD,))
    await upstream.open()
    try:
        yield upstream
    finally:
        await upstream.close()
        await server.stop(0)


async def answer_of(
    upstream: GrpcUpstream, body: bytes = b"", *, method: str = METHOD, deadline: float | None = None, **metadata: str
) -> tuple[list[bytes], Code, str]:
    sink = Kept()
    trailer = await upstream.ask(make_call(method, body, metadata, timeout=deadline), sink)
    return sink.tokens, *status_of(decode_outcome(trailer))


def test_messages_pass_as_they_are(relaying: Any) -> None:
    async def echo(request: bytes, context: Any) -> None:
        for message in (request, b"", b"\xff\x00"):
            await context.write(message)

    async def main() -> None:
        async with asking(echo) as upstream:
            assert await answer_of(upstream, b"what\x00ever") == ([b"what\x00ever", b"", b"\xff\x00"], Code.OK, "")

    relaying.run(main())


def test_a_status_after_some_messages_comes_with_them(relaying: Any) -> None:
    async def fail(_: bytes, context: Any) -> None:
        await context.write(b"one")
        await context.abort(Code.DATA_LOSS, "why")

    async def main() -> None:
        async with asking(fail) as upstream:
            assert await answer_of(upstream) == ([b"one"], Code.DATA_LOSS, "why")

    relaying.run(main())


def test_metadata_and_deadline_reach_the_server(relaying: Any) -> None:
    seen: dict[str, Any] = {}

    async def look(_: bytes, context: Any) -> None:
        seen.update(metadata_of(context.invocation_metadata()), left=context.time_remaining())

    async def main() -> None:
        async with asking(look) as upstream:
            await answer_of(upstream, deadline=9.0, tag="x")

    relaying.run(main())
    assert seen["tag"] == "x"
    assert 5 < seen["left"] <= 9.05  # gRPC writes a timeout of seconds in steps of 10 ms, rounded up


def test_only_listed_methods_are_called(relaying: Any) -> None:
    async def main() -> None:
        async with asking(None) as upstream:  # type: ignore[arg-type]  # nobody calls it
            came, code, message = await answer_of(upstream, method="/some.Service/Other")
            assert (came, code) == ([], Code.UNIMPLEMENTED)
            assert "'/some.Service/Other'" in message

    relaying.run(main())


def test_a_deadline_that_passes_is_a_status(relaying: Any) -> None:
    async def sleep(_: bytes, context: Any) -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        async with asking(sleep) as upstream:
            assert (await answer_of(upstream, deadline=0.2))[1] is Code.DEADLINE_EXCEEDED

    relaying.run(main())


def test_a_question_that_is_cancelled_stops_the_server(relaying: Any) -> None:
    async def main() -> None:
        begun, stopped = asyncio.Event(), asyncio.Event()

        async def sleep(_: bytes, context: Any) -> None:
            begun.set()
            try:
                await asyncio.sleep(60)
            finally:
                stopped.set()

        async with asking(sleep) as upstream:
            asked = asyncio.create_task(answer_of(upstream))
            await begun.wait()
            asked.cancel()
            async with asyncio.timeout(10.0):
                await stopped.wait()

    relaying.run(main())


def test_a_message_that_no_token_can_hold_fails_the_call(relaying: Any) -> None:
    async def write(_: bytes, context: Any) -> None:
        await context.write(bytes(MAX_TOKEN))
        await context.write(bytes(MAX_TOKEN + 1))

    async def main() -> None:
        async with asking(write) as upstream:
            came, code, _ = await answer_of(upstream)
            assert ([len(message) for message in came], code) == ([MAX_TOKEN], Code.RESOURCE_EXHAUSTED)

    relaying.run(main())


def test_a_sink_without_room_slows_the_server_down_and_loses_nothing(relaying: Any) -> None:
    messages = [b"%01000d" % number for number in range(2000)]
    written = 0

    async def write(_: bytes, context: Any) -> None:
        nonlocal written
        for message in messages:
            await context.write(message)
            written += 1

    async def main() -> None:
        async with asking(write) as upstream:
            sink = Kept(full=10)
            asked = asyncio.create_task(upstream.ask(make_call(METHOD, b"", {}, timeout=None), sink))
            await relaying.until(lambda: len(sink.tokens) == 10)
            await asyncio.sleep(0.5)
            assert (len(sink.tokens), written < 1000) == (10, True), "a window is on its way, and what the server holds"
            sink.is_wanted.set()
            assert status_of(decode_outcome(await asked))[0] is Code.OK
            assert sink.tokens == messages

    relaying.run(main())


def test_a_channel_connects_again_and_makes_as_many_connections_as_calls_need(relaying: Any) -> None:
    async def wait(_: bytes, context: Any) -> None:
        await context.write(b"one")
        await asyncio.sleep(0.2)

    async def main() -> None:
        options = (("grpc.max_concurrent_streams", 2),)
        async with asking(wait, options) as upstream:
            answers = await asyncio.gather(*(answer_of(upstream) for _ in range(5)))
            assert answers == [([b"one"], Code.OK, "")] * 5
            for connection in upstream._channel._connections:
                connection.transport.abort()
            assert (await answer_of(upstream))[1] is Code.OK

    relaying.run(main())


def test_a_server_that_is_not_there_is_unavailable(relaying: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen

        async def main() -> None:
            upstream = GrpcUpstream(f"127.0.0.1:{taken.getsockname()[1]}", methods=(METHOD,))
            await upstream.open()
            assert (await answer_of(upstream))[1] is Code.UNAVAILABLE
            await upstream.close()

        relaying.run(main())
