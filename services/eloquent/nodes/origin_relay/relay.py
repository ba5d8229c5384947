"""Take requests from edge relays, ask the model server, and bring its answers back: the origin relay of a lab.

Rules of this file: the paper's schemes come in plaintext and are answered over gRPC, the relay pair's for real services come sealed
and are answered over HTTP. A call whose edge is lost is cancelled at once, so that no model works for clients that are gone: a
session is not lost before 40 s of silence, and who comes back until then goes on. What a stream costs is counted while it runs,
and logged when it is over.
"""

import argparse
import asyncio
import socket
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from eloquent import process, schemes, telemetry
from eloquent.addresses import cannot_listen, listen_on, parse_address
from eloquent.calls import names
from eloquent.drivers.udp import UdpServer
from eloquent.nodes.common import runtime
from eloquent.nodes.common.stream_record import StreamRecorder, add_flags
from eloquent.nodes.origin_relay.accounts import StreamAccounts, StreamGauges
from eloquent.protocol.session import Tally
from eloquent.protocol.session_base import SchemeLookup
from eloquent.relay.driver_counts import DriverCounts
from eloquent.relay.origin import Origin
from eloquent.relay.sealed import udp
from eloquent.relay.sealed.key import load_key
from eloquent.relay.serve import HELD_REQUESTS, limits_for
from eloquent.relay.settings import MAX_REQUEST, OFFERED_SCHEMES
from eloquent.relay.upstreams.grpc import GrpcUpstream
from eloquent.relay.upstreams.http import HttpUpstream

BASELINE = "duplicate-2"  # of the paper, which a lab compares with; to operators it is not offered
MAX_BACKLOG = (
    1024  # unacknowledged tokens of a stream: the printed schemes fall behind by more than what is offered to operators
)
_SAMPLE_INTERVAL = 1.0  # seconds between two samples of the gauges and of running streams' costs


async def listen_in_plaintext(
    listen: str,
    upstream: GrpcUpstream,
    accounts: StreamAccounts,
    *,
    offered: SchemeLookup = schemes.get,
    max_answers: int = 1000,
    tally: Tally | None = None,
) -> Origin:
    """Let edge relays ask over gRPC.

    Args:
        listen: HOST:PORT; port 0 takes a free one.
        upstream: The model server.
        accounts: Told what streams cost.
        offered: Finds the schemes that are offered.
        max_answers: Answers at once.
        tally: Where datagrams are counted.

    Raises:
        ConfigurationError: The address cannot be listened on.
    """
    origin = Origin(grpc=upstream, keep=0.0, max_answers=max_answers, max_backlog=MAX_BACKLOG, observer=accounts)
    address = parse_address(listen, listen=True)
    try:
        origin.server = await UdpServer.bind(address, offered, origin.on_event, tally=tally)
    except OSError as error:
        raise cannot_listen(listen, error) from error
    return origin


async def listen_sealed(
    listen: str, upstream: HttpUpstream, accounts: StreamAccounts, *, key: bytes, tally: Tally | None = None
) -> Origin:
    """Let edge relays that have the key ask over HTTP.

    Args:
        listen: HOST:PORT; port 0 takes a free one.
        upstream: The model server.
        accounts: Told what streams cost.
        key: 32 bytes, shared with them.
        tally: Where datagrams are counted.

    Raises:
        ConfigurationError: The address cannot be listened on.
    """
    origin = Origin(http=upstream, observer=accounts)
    address = parse_address(listen, listen=True)
    limits = limits_for(MAX_REQUEST)
    try:
        origin.server = await udp.bind(address, schemes.get, origin.on_event, key=key, limits=limits, tally=tally)
    except OSError as error:
        raise cannot_listen(listen, error) from error
    return origin


async def serve(flags: argparse.Namespace, stop: asyncio.Event) -> None:
    """Serve until stopped."""
    parse_address(flags.upstream)
    listen_on(flags.listen, socket.SOCK_DGRAM).close()  # is it free? uvloop would not say why not
    metrics, sessions = telemetry.OriginMetrics(), telemetry.SessionMetrics()
    recorder = StreamRecorder.open(metrics, flags, "origin")
    accounts = StreamAccounts(metrics, recorder)
    tally = Tally(sent=sessions.sent, received=sessions.received)
    upstreams: list[GrpcUpstream | HttpUpstream] = []
    upstreams.append(calls := GrpcUpstream(flags.upstream, methods=flags.methods))
    offered = schemes.only(flags.schemes)
    origins = [
        await listen_in_plaintext(
            flags.listen, calls, accounts, offered=offered, max_answers=flags.max_streams, tally=tally
        )
    ]
    if runtime.all_or_none(flags, "http_upstream", "sealed", "key_file"):
        upstreams.append(chats := HttpUpstream(flags.http_upstream, max_held=HELD_REQUESTS * MAX_REQUEST))
        origins.append(await listen_sealed(flags.sealed, chats, accounts, key=load_key(flags.key_file), tally=tally))
    for upstream in upstreams:
        await upstream.open()
    if flags.metrics:
        telemetry.serve(flags.metrics)
    watching = asyncio.create_task(_watch(origins, accounts, StreamGauges(metrics, recorder), sessions))
    process.announce_ready()
    await stop.wait()
    await asyncio.gather(*(origin.drain(flags.grace) for origin in origins))
    watching.cancel()
    for origin in origins:
        origin.server.close()
    for upstream in upstreams:
        await upstream.close()
    recorder.close()


async def _watch(
    origins: Sequence[Origin], accounts: StreamAccounts, gauges: StreamGauges, sessions: telemetry.SessionMetrics
) -> None:
    """Keep the metrics up to date that no event reports, for ever."""
    drivers = [DriverCounts(origin.server, sessions) for origin in origins]
    while True:
        gauges.show(accounts.sample(stream for origin in origins for stream in origin.streams))
        sessions.sessions.set(sum(len(origin.server.endpoint.sessions) for origin in origins))
        for driver in drivers:
            driver.look()
        await asyncio.sleep(_SAMPLE_INTERVAL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node."""
    parser = runtime.parser("origin_relay", __doc__)
    parser.add_argument("--listen", required=True, metavar="HOST:PORT", help="UDP address for edge relays")
    parser.add_argument("--upstream", required=True, metavar="HOST:PORT", help="gRPC address of the model server")
    parser.add_argument(
        "--methods",
        type=runtime.comma_separated,
        default=(names.GENERATE,),
        metavar="A,B",
        help="full names of the gRPC methods that may be called",
    )
    parser.add_argument(
        "--schemes",
        type=runtime.comma_separated,
        default=(*OFFERED_SCHEMES, BASELINE),
        metavar="A,B",
        help="schemes that clients may ask for, or 'any' (%(default)s)",
    )
    parser.add_argument("--max-streams", type=int, default=1000, help="streams at once (%(default)s)")
    pair = parser.add_argument_group("the relay pair for real services, beside that; all three or none")
    pair.add_argument("--http-upstream", metavar="URL", help="of the model server")
    pair.add_argument("--sealed", metavar="HOST:PORT", help="UDP address for its edge relays")
    pair.add_argument("--key-file", type=Path, metavar="FILE", help="holds the key that it shares with them")
    add_flags(parser, "origin")
    return process.run(partial(serve, parser.parse_args(arguments)))
