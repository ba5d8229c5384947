"""Offer `Generate` to the clients of this host and carry it to the origin relay over Eloquent sessions.

Rules of this file: messages pass as bytes, undecoded. A stream ends for the client as the origin relay says in its
trailer; one that ends in any other way is UNAVAILABLE, never a clean end. A client that leaves, or whose deadline passes,
has its stream cancelled all the way to the model; one that reads slowly slows the model down. An origin relay that does
not answer is reported once within 3 s, and questions wait for it.
"""

import argparse
import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import grpc

from eloquent import process, schemes, telemetry
from eloquent.addresses import Address, format_address, parse_address, reason_of
from eloquent.calls.names import SCHEME_KEY
from eloquent.calls.relay import generate_request, status_of_loss, status_of_trailer
from eloquent.errors import ConfigurationError, LocalProtocolError
from eloquent.nodes.common import runtime
from eloquent.nodes.edge_relay.pair import PairEdge
from eloquent.protocol.session import RequestState, StreamFailed, StreamToken
from eloquent.relay.sealed.key import load_key
from eloquent.relay.settings import DEFAULT_SCHEME
from eloquent.relay.uplink import Uplink
from eloquent.serving.admission import Admission
from eloquent.serving.grpc_server import Context, GrpcServer, metadata_of


class EdgeRelay:
    """The relay on the client's side.

    Args:
        origin: Address of the origin relay.
        metrics: What is counted.
        default_scheme: Scheme of the streams that name none.
        max_streams: Streams at once.
    """

    def __init__(
        self,
        origin: Address,
        metrics: telemetry.EdgeMetrics,
        *,
        default_scheme: str = DEFAULT_SCHEME,
        max_streams: int = 256,
    ) -> None:
        self._origin = origin
        self._metrics = metrics
        self._default_scheme = default_scheme
        self._uplink: Uplink | None = None
        self.grpc_server = GrpcServer(self._generate, admission=Admission(max_streams))

    async def open(self) -> None:
        """Open the way to the origin relay.

        Raises:
            ConfigurationError: There is none.
        """
        try:
            self._uplink = await Uplink.connect(self._origin, self._metrics)
        except OSError as error:
            where = format_address(self._origin)
            raise ConfigurationError(f"no way to the origin relay at {where}: {reason_of(error)}") from error

    async def watch(self) -> None:
        """Report an origin relay that does not answer, and keep the metrics up to date, for ever."""
        assert self._uplink is not None
        await self._uplink.watch(self._metrics)

    def close(self) -> None:
        """Close the sessions."""
        if self._uplink is not None:
            self._uplink.close()

    async def _generate(self, body: bytes, context: Context) -> None:
        metadata = metadata_of(context.invocation_metadata())
        scheme = metadata.setdefault(SCHEME_KEY, self._default_scheme)
        request = generate_request(body, metadata, context.time_remaining())
        try:
            _check_scheme(scheme)
            assert self._uplink is not None
            answer = self._uplink.open(request, scheme=scheme)
        except ConfigurationError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except LocalProtocolError as error:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        try:
            while isinstance(event := await answer.next(), StreamToken):
                await context.write(event.data)
        except asyncio.CancelledError:
            self._metrics.cancelled_streams.inc()
            raise
        finally:
            answer.cancel()
        if isinstance(event, StreamFailed) and event.request is RequestState.REFUSED:
            code, message = grpc.StatusCode.RESOURCE_EXHAUSTED, event.reason
        elif isinstance(event, StreamFailed):
            self._metrics.given_up_streams.inc()
            code, message = status_of_loss(event.reason)
        else:
            code, message = status_of_trailer(event.trailer)
        if code is not grpc.StatusCode.OK:
            await context.abort(code, message)


def _check_scheme(scheme: str) -> None:
    """Raise ConfigurationError if there is no such scheme, or if relays do not carry it."""
    if schemes.get(scheme).kind != "datagram":
        raise ConfigurationError(f"relays do not carry the scheme '{scheme}': ask the token server itself")


async def serve(flags: argparse.Namespace, stop: asyncio.Event) -> None:
    """Serve until stopped."""
    metrics = telemetry.EdgeMetrics()
    if flags.metrics:
        telemetry.serve(flags.metrics)
    relay = EdgeRelay(
        parse_address(flags.origin),
        metrics,
        default_scheme=flags.default_scheme,
        max_streams=flags.max_streams,
    )
    await relay.open()
    await relay.grpc_server.open(flags.listen)
    watching = [asyncio.create_task(relay.watch())]
    pair = None
    if runtime.all_or_none(flags, "http", "sealed_origin", "key_file"):
        pair = await PairEdge.connect(flags.sealed_origin, metrics, key=load_key(flags.key_file))
        await pair.open(flags.http)
        watching.append(asyncio.create_task(pair.uplink.watch(metrics)))
    process.announce_ready()
    await stop.wait()
    await asyncio.gather(relay.grpc_server.drain(flags.grace), *([pair.drain(flags.grace)] if pair else []))
    for task in watching:
        task.cancel()
    relay.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node."""
    parser = runtime.parser("edge_relay", __doc__)
    parser.add_argument("--listen", required=True, metavar="HOST:PORT", help="serve gRPC here")
    parser.add_argument("--origin", required=True, metavar="HOST:PORT", help="UDP address of the origin relay")
    parser.add_argument(
        "--default-scheme", default=DEFAULT_SCHEME, help="scheme of streams that name none (%(default)s)"
    )
    parser.add_argument("--max-streams", type=int, default=256, help="streams at once (%(default)s)")
    pair = parser.add_argument_group("the relay pair for real services, beside that; all three or none")
    pair.add_argument("--http", metavar="HOST:PORT", help="serve the model server's HTTP API here")
    pair.add_argument("--sealed-origin", metavar="HOST:PORT", help="UDP address of its origin relay")
    pair.add_argument("--key-file", type=Path, metavar="FILE", help="holds the key that it shares with that")
    return process.run(partial(serve, parser.parse_args(arguments)))
