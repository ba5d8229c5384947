"""Serve tokens over gRPC, and over HTTP as OpenAI does: the model server of the testbed.

Rules of this file: what this server does not accept, it says with INVALID_ARGUMENT; what it has no room for, with
RESOURCE_EXHAUSTED. Both frontends let in as many streams as one limit says, and drain together.
"""

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import grpc

from eloquent import congestion, process, schemes, telemetry
from eloquent.api.v1.token_service_pb2 import GenerateRequest, GenerateResponse
from eloquent.errors import ConfigurationError
from eloquent.http3 import settings as http3
from eloquent.nodes.common import runtime
from eloquent.nodes.common.stream_record import StreamRecorder, add_flags
from eloquent.nodes.sources import Library
from eloquent.nodes.token_server.http_frontend import HttpFrontend
from eloquent.nodes.token_server.model import Caller, GenerationParameters, Limits, Model
from eloquent.nodes.token_server.quic_frontend import QuicFrontend
from eloquent.rpc.server import Call
from eloquent.serving.admission import Admission
from eloquent.serving.grpc_server import GrpcServer, metadata_of


class TokenServer:
    """The token service.

    Args:
        library: Where answers come from.
        limits: What is accepted.
        metrics: What is counted.
        recorder: Told what each direct stream cost the kernel's TCP.

    Attributes:
        grpc_servers: Where gRPC comes in, one an address: gRPC does not tell at which of several a call came.
        http_frontend: Where HTTP comes in, if it is opened.
        quic_frontend: Where the same comes in over HTTP/3, if that is opened.
    """

    def __init__(
        self, library: Library, limits: Limits, metrics: telemetry.ServerMetrics, recorder: StreamRecorder
    ) -> None:
        self._model = Model(library, limits, metrics, recorder)
        self._admission = Admission(limits.streams)
        self.http_frontend = HttpFrontend(self._model, self._admission, request_time=limits.request_time)
        self.quic_frontend = QuicFrontend(self.http_frontend.app)
        self.grpc_servers: list[GrpcServer] = []

    async def open(
        self, listen: str, http: str | None, *, congestion_controls: Sequence[str] = (), quic: str | None = None
    ) -> None:
        """Listen, and with each of some congestion controls at a port of its own.

        Args:
            listen: HOST:PORT for gRPC.
            http: HOST:PORT for HTTP; None for none.
            congestion_controls: Names of TCP's (`congestion.address_of`).
            quic: HOST:PORT for HTTP/3 with the first of `http3.settings.CONTROLS`, the others at the ports after it; None for none.

        Raises:
            ConfigurationError: An address is malformed or cannot be bound, or the kernel lacks a congestion control.
        """
        controls = ("", *congestion_controls)
        places = [
            (control, *(congestion.address_of(one, control) for one in (listen, http) if one)) for control in controls
        ]
        for control, own_listen, *own_http in places:
            for address in own_http:
                await self.http_frontend.open(address, congestion_control=control)
            await self.open_grpc(own_listen, congestion_control=control)
        if quic:
            for control in http3.CONTROLS:
                await self.quic_frontend.open(http3.address_of(quic, control), congestion_control=control)

    async def open_grpc(self, address: str, *, congestion_control: str = "") -> int:
        """Let gRPC in at one more address, as `GrpcServer.open` does; return the port."""
        server = GrpcServer(self._generate, admission=self._admission, request=GenerateRequest)
        self.grpc_servers.append(server)
        return await server.open(address, congestion_control=congestion_control)

    async def drain(self, grace: float) -> None:
        """Let the open streams end within the grace time, then account what they cost."""
        drains = [server.drain(grace) for server in self.grpc_servers]
        await asyncio.gather(*drains, self.http_frontend.drain(grace))
        await asyncio.gather(self._model.settle(grace), self.quic_frontend.close(grace))

    async def _generate(self, request: GenerateRequest, call: Call) -> None:
        parameters = GenerationParameters(
            prompt=request.prompt,
            max_tokens=request.max_tokens,
            source=request.source,
            token_gap=_seconds(request, "token_gap"),
            first_token_delay=_seconds(request, "first_token_delay"),
        )
        try:
            answer = self._model.answer(parameters)
        except ConfigurationError as error:
            await call.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        caller = Caller(metadata_of(call.metadata), call.descriptor)

        async def write(token: GenerateResponse) -> None:
            await call.write(token.SerializeToString())

        with self._model.stream(answer, caller):
            await self._model.produce(answer, write)


def _seconds(request: GenerateRequest, field: Literal["token_gap", "first_token_delay"]) -> float | None:
    """Read a duration of a request, `None` if it is not there."""
    if not request.HasField(field):
        return None
    duration = getattr(request, field)
    return float(duration.seconds + duration.nanos / 1e9)


async def serve(flags: argparse.Namespace, stop: asyncio.Event) -> None:
    """Serve until stopped."""
    metrics = telemetry.ServerMetrics()
    if flags.metrics:
        telemetry.serve(flags.metrics)
    recorder = StreamRecorder.open(metrics, flags, "server")
    limits = Limits(flags.max_streams, flags.max_tokens, flags.max_prompt_bytes, flags.request_time)
    server = TokenServer(Library(flags.recordings), limits, metrics, recorder)
    await server.open(flags.listen, flags.http, congestion_controls=flags.congestion_controls, quic=flags.quic)
    process.announce_ready()
    await stop.wait()
    await server.drain(flags.grace)
    recorder.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node."""
    parser = runtime.parser("token_server", __doc__)
    limits = Limits()
    parser.add_argument("--listen", required=True, metavar="HOST:PORT", help="serve gRPC here")
    parser.add_argument("--http", metavar="HOST:PORT", help="serve OpenAI's chat completions here")
    parser.add_argument(
        "--quic", metavar="HOST:PORT", help="serve them here over HTTP/3, with Reno; with CUBIC at the next port"
    )
    parser.add_argument(
        "--congestion-controls",
        type=runtime.comma_separated,
        default=(),
        metavar="A,B",
        help=f"listen with these, too, of {','.join(schemes.CONGESTION_CONTROLS)}: at the ports after those given",
    )
    parser.add_argument(
        "--recordings", type=Path, metavar="DIR", help="offer DIR/NAME.jsonl as the source recorded:NAME"
    )
    parser.add_argument("--max-streams", type=int, default=limits.streams, help="streams at once (%(default)s)")
    parser.add_argument("--max-tokens", type=int, default=limits.tokens, help="tokens of one answer (%(default)s)")
    parser.add_argument(
        "--max-prompt-bytes", type=int, default=limits.prompt_bytes, help="length of a prompt (%(default)s)"
    )
    parser.add_argument(
        "--request-time",
        type=runtime.positive_seconds,
        default=limits.request_time,
        help="seconds in which a request over HTTP has to arrive (%(default)s)",
    )
    add_flags(parser, "server")
    return runtime.run(serve, parser.parse_args(arguments))
