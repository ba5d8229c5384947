"""Serve tokens over gRPC: the model server of the testbed, which answers from a token source at a steady pace.

Rules of this file: token i is due at start + first-token delay + i × gap, on the clock and not after the token before,
so that lateness never adds up. A stream that its client leaves produces nothing more. What this server does not accept,
it says with INVALID_ARGUMENT; what it has no room for, with RESOURCE_EXHAUSTED.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

import grpc
from grpc_health.v1 import health  # type: ignore[import-untyped]  # ships without annotations
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]  # ships without annotations

from eloquent import telemetry
from eloquent.api.v1.token_service_pb2 import GenerateRequest, GenerateResponse
from eloquent.errors import ConfigurationError
from eloquent.nodes import runtime
from eloquent.nodes.front_door import Context, FrontDoor
from eloquent.nodes.sources import Library, Token
from eloquent.nodes.stream_record import Spent, StreamOwner, StreamRecorder, add_flags
from eloquent.nodes.tcp_account import TcpAccountant, content_spent
from eloquent.protocol import schemes

DEFAULT_GAP = 0.1  # seconds (Eloquent §4.1: ten tokens a second)
MAX_GAP = 10.0  # seconds
MAX_FIRST_TOKEN_DELAY = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server accepts.

    Attributes:
        streams: Streams at once.
        tokens: Tokens of one answer.
        prompt_bytes: Length of a prompt in UTF-8.
    """

    streams: int = 1000
    tokens: int = 100_000
    prompt_bytes: int = 1_000_000


class TokenServer:
    """The token service.

    Args:
        library: Where answers come from.
        limits: What is accepted.
        metrics: What is counted.
        recorder: Told what each direct stream cost the kernel's TCP.
    """

    def __init__(
        self, library: Library, limits: Limits, metrics: telemetry.ServerMetrics, recorder: StreamRecorder
    ) -> None:
        self._library = library
        self._limits = limits
        self._metrics = metrics
        self._recorder = recorder
        self._tcp = TcpAccountant(lambda reason: metrics.unaccounted_streams.labels(reason).inc())
        self.door = FrontDoor(
            self._generate,
            max_streams=limits.streams,
            deserialize=GenerateRequest.FromString,
            serialize=GenerateResponse.SerializeToString,
        )

    async def drain(self, grace: float) -> None:
        """Let the open streams end within the grace time, then account what they cost."""
        await self.door.drain(grace)
        await self._tcp.settle(grace)

    async def _generate(self, request: GenerateRequest, context: Context) -> None:
        try:
            answer = self._answer(request)
            gap = _seconds(request, "token_gap", DEFAULT_GAP, MAX_GAP)
            delay = _seconds(request, "first_token_delay", 0.0, MAX_FIRST_TOKEN_DELAY)
        except ConfigurationError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        counts = _Counts()
        ended = self._account(context, counts)
        try:
            with self._metrics.active_generations.track_inprogress():
                await self._produce(answer, gap, delay, context, counts)
        except asyncio.CancelledError:
            self._metrics.cancelled_streams.inc()
            raise
        finally:
            ended()

    def _answer(self, request: GenerateRequest) -> "islice[Token]":
        length, limits = len(request.prompt.encode()), self._limits
        if length > limits.prompt_bytes:
            raise ConfigurationError(f"prompt has {length} bytes; this server takes {limits.prompt_bytes}")
        if request.max_tokens > limits.tokens:
            raise ConfigurationError(f"max_tokens is {request.max_tokens}; this server gives at most {limits.tokens}")
        source = self._library.get(request.source, request.prompt)
        return islice(source.tokens(request.prompt), request.max_tokens or limits.tokens)

    async def _produce(
        self, answer: "islice[Token]", gap: float, delay: float, context: Context, counts: "_Counts"
    ) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time() + delay
        for index, token in enumerate(answer):
            due = start + (index * gap if token.at is None else token.at)
            await asyncio.sleep(max(0.0, due - loop.time()))
            self._metrics.generated_tokens.inc()
            message = GenerateResponse(index=index, text=token.text, generated_at_ns=time.monotonic_ns())
            counts.tokens += 1
            counts.content_bytes += message.ByteSize()
            await context.write(message)

    def _account(self, context: Context, counts: "_Counts") -> Callable[[], None]:
        """Have the kernel's counters read around a stream that goes straight to its client.

        Returns:
            To be called when the stream has ended.
        """
        owner = StreamOwner.of(runtime.metadata_of(context.invocation_metadata()))
        if not _is_direct(owner.scheme):
            return lambda: None

        def on_spent(connection_spent: Spent) -> None:
            spent = content_spent(connection_spent, counts.content_bytes)
            self._recorder.count(owner, Spent(), spent)
            self._recorder.write(owner, counts.tokens, spent)

        return self._tcp.begin(context.peer(), on_spent)


@dataclass(slots=True)
class _Counts:
    """What one answer has come to.

    Attributes:
        tokens: Tokens sent.
        content_bytes: Length of their messages, as a relay counts them.
    """

    tokens: int = 0
    content_bytes: int = 0


def _is_direct(scheme: str) -> bool:
    """Tell whether the kernel carries streams of this scheme straight to their client."""
    try:
        return schemes.get(scheme).kind == "kernel"
    except ConfigurationError:
        return False


def _seconds(
    request: GenerateRequest, field: Literal["token_gap", "first_token_delay"], default: float, most: float
) -> float:
    """Read a duration of a request.

    Raises:
        ConfigurationError: It is negative or longer than this server takes.
    """
    if not request.HasField(field):
        return default
    duration = getattr(request, field)
    value = float(duration.seconds + duration.nanos / 1e9)
    if not 0 <= value <= most:
        raise ConfigurationError(f"{field} is {value:g} s; this server takes 0 s to {most:g} s")
    return value


async def serve(flags: argparse.Namespace, stop: asyncio.Event) -> None:
    """Serve until stopped."""
    metrics = telemetry.ServerMetrics()
    if flags.metrics:
        telemetry.serve(flags.metrics)
    recorder = StreamRecorder.open(metrics, flags, "server")
    limits = Limits(flags.max_streams, flags.max_tokens, flags.max_prompt_bytes)
    server = TokenServer(Library(flags.recordings), limits, metrics, recorder)
    reflection.enable_server_reflection(
        [runtime.TOKEN_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME], server.door.server
    )
    await server.door.open(flags.listen)
    runtime.announce_ready()
    await stop.wait()
    await server.drain(flags.grace)
    recorder.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node."""
    parser = runtime.parser("token_server", __doc__)
    limits = Limits()
    parser.add_argument("--listen", required=True, metavar="HOST:PORT", help="serve gRPC here")
    parser.add_argument(
        "--recordings", type=Path, metavar="DIR", help="offer DIR/NAME.jsonl as the source recorded:NAME"
    )
    parser.add_argument("--max-streams", type=int, default=limits.streams, help="streams at once (%(default)s)")
    parser.add_argument("--max-tokens", type=int, default=limits.tokens, help="tokens of one answer (%(default)s)")
    parser.add_argument(
        "--max-prompt-bytes", type=int, default=limits.prompt_bytes, help="length of a prompt (%(default)s)"
    )
    add_flags(parser, "server")
    return runtime.run(partial(serve, parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
