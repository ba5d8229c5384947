"""Offer `Generate` to the clients of this host and carry it to the origin relay over Eloquent sessions.

Rules of this file: messages pass as bytes, undecoded. One session a scheme, made when first needed and again when it
was lost. A stream ends for the client as the origin relay says in its trailer; one that ends in any other way is
UNAVAILABLE, never a clean end. A client that leaves, or whose deadline passes, has its stream cancelled all the way to
the model.
"""

import argparse
import asyncio
from collections.abc import Sequence
from functools import partial

import grpc

from eloquent import schemes, telemetry
from eloquent.addresses import parse_address, reason_of
from eloquent.calls.names import SCHEME_KEY
from eloquent.calls.relay import generate_request, status_of_loss, status_of_trailer
from eloquent.drivers.udp import Address
from eloquent.errors import ConfigurationError, LocalProtocolError
from eloquent.nodes.common import runtime
from eloquent.nodes.common.admission import Admission
from eloquent.nodes.common.front_door import Context, FrontDoor
from eloquent.nodes.edge_relay.uplink import Uplink
from eloquent.protocol.session import StreamFailed, StreamToken

DEFAULT_SCHEME = "eloquent"
_SAMPLE_INTERVAL = 1.0  # seconds between two samples of the gauges


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
        self._uplinks: dict[str, Uplink] = {}
        self._connecting = asyncio.Lock()
        self._malformed_before = 0  # datagrams, of uplinks that are no more
        self.door = FrontDoor(self._generate, admission=Admission(max_streams))

    async def watch(self) -> None:
        """Keep the metrics up to date that no event reports, for ever."""
        counted = 0
        while True:
            self._metrics.sessions.set(sum(uplink.alive for uplink in self._uplinks.values()))
            malformed = self._malformed_before + sum(uplink.malformed for uplink in self._uplinks.values())
            self._metrics.malformed_datagrams.inc(malformed - counted)
            counted = malformed
            await asyncio.sleep(_SAMPLE_INTERVAL)

    def close(self) -> None:
        """Close the sessions."""
        for uplink in self._uplinks.values():
            self._retire(uplink)
        self._uplinks.clear()

    async def _generate(self, body: bytes, context: Context) -> None:
        metadata = runtime.metadata_of(context.invocation_metadata())
        scheme = metadata.setdefault(SCHEME_KEY, self._default_scheme)
        request = generate_request(body, metadata, context.time_remaining())
        try:
            uplink = await self._uplink(scheme)
            answer = uplink.open(request, scheme=scheme)
        except ConfigurationError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except LocalProtocolError as error:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        except OSError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"no way to the origin relay: {reason_of(error)}")
        try:
            while isinstance(event := await answer.next(), StreamToken):
                await context.write(event.data)
        except asyncio.CancelledError:
            self._metrics.cancelled_streams.inc()
            raise
        finally:
            answer.cancel()
        if isinstance(event, StreamFailed):
            self._metrics.given_up_streams.inc()
            code, message = status_of_loss(event.reason)
        else:
            code, message = status_of_trailer(event.trailer)
        if code is not grpc.StatusCode.OK:
            await context.abort(code, message)

    async def _uplink(self, scheme: str) -> Uplink:
        """Return the scheme's session, a new one if there is none or it was lost.

        Raises:
            ConfigurationError: There is no such scheme, or relays do not carry it.
            OSError: There is no way to the origin relay.
        """
        if schemes.get(scheme).kind != "datagram":
            raise ConfigurationError(f"relays do not carry the scheme '{scheme}': ask the token server itself")
        async with self._connecting:
            uplink = self._uplinks.get(scheme)
            if uplink is None or not uplink.alive:
                if uplink is not None:
                    self._retire(uplink)
                uplink = self._uplinks[scheme] = await Uplink.connect(self._origin, self._metrics)
            return uplink

    def _retire(self, uplink: Uplink) -> None:
        self._malformed_before += uplink.malformed
        uplink.close()


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
    await relay.door.open(flags.listen)
    watching = asyncio.create_task(relay.watch())
    runtime.announce_ready()
    await stop.wait()
    await relay.door.drain(flags.grace)
    watching.cancel()
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
    return runtime.run(partial(serve, parser.parse_args(arguments)))
