"""Take requests from edge relays, ask the model server, and bring its answers back: the origin relay of a lab.

Rules of this file: the paper's schemes come in plaintext and are answered over gRPC, the relay pair's for real services come sealed
and are answered over HTTP, and so are pages, which come over WebTransport. A call whose edge is lost is cancelled at once, so that
no model works for clients that are gone: a session is not lost before 40 s of silence, and who comes back until then goes on. What
a stream costs is counted while it runs, and logged when it is over.
"""

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

from eloquent import process, schemes, telemetry
from eloquent.addresses import parse_address
from eloquent.calls import names
from eloquent.errors import ConfigurationError
from eloquent.nodes.common import runtime
from eloquent.nodes.common.stream_record import StreamRecorder, add_flags
from eloquent.nodes.origin_relay.accounts import StreamAccounts, StreamGauges
from eloquent.protocol.session import Tally
from eloquent.relay.driver_counts import DriverCounts
from eloquent.relay.origin import Origin
from eloquent.relay.quic.entrance import QuicEntrance
from eloquent.relay.sealed.key import load_key
from eloquent.relay.serve import HELD_REQUESTS, limits_for
from eloquent.relay.settings import MAX_REQUEST, OFFERED_SCHEMES, OriginSettings, read_settings
from eloquent.relay.upstreams.grpc import GrpcUpstream
from eloquent.relay.upstreams.http import HttpUpstream

BASELINE = "duplicate-2"  # of the paper, which a lab compares with; to operators it is not offered
MAX_BACKLOG = 1024  # unacknowledged tokens of a stream: printed schemes fall behind by more than operators allow
_SAMPLE_INTERVAL = 1.0  # seconds between two samples of the gauges and of running streams' costs


def origin_of_calls(upstream: GrpcUpstream, accounts: StreamAccounts, *, max_answers: int) -> Origin:
    """Return what answers edge relays over gRPC, in plaintext.

    Args:
        upstream: The model server.
        accounts: Told what streams cost.
        max_answers: Answers at once.
    """
    return Origin(grpc=upstream, keep=0.0, max_answers=max_answers, max_backlog=MAX_BACKLOG, observer=accounts)


async def serve(flags: argparse.Namespace, stop: asyncio.Event) -> None:
    """Serve until stopped."""
    parse_address(flags.upstream)
    metrics, sessions = telemetry.OriginMetrics(), telemetry.SessionMetrics()
    recorder = StreamRecorder.open(metrics, flags, "origin")
    accounts = StreamAccounts(metrics, recorder)
    tally = Tally(sent=sessions.sent, received=sessions.received)
    upstreams: list[GrpcUpstream | HttpUpstream] = []
    upstreams.append(calls := GrpcUpstream(flags.upstream, methods=flags.methods))
    origins = [origin_of_calls(calls, accounts, max_answers=flags.max_streams)]
    await origins[0].open(flags.listen, scheme_of=schemes.only(flags.schemes), tally=tally)
    if runtime.all_or_none(flags, "http_upstream", "sealed", "key_file"):
        upstreams.append(chats := HttpUpstream(flags.http_upstream, max_held=HELD_REQUESTS * MAX_REQUEST))
        origins.append(Origin(http=chats, observer=accounts))
        limits = limits_for(MAX_REQUEST)
        await origins[1].open(flags.sealed, key=load_key(flags.key_file), limits=limits, tally=tally)
    entrance = _entrance(flags)
    if entrance is not None:
        await entrance.open(origins[1], limits=limits_for(MAX_REQUEST), tally=tally)
    for upstream in upstreams:
        await upstream.open()
    if flags.metrics:
        telemetry.serve(flags.metrics)
    watching = asyncio.create_task(_watch(origins, accounts, StreamGauges(metrics, recorder), sessions))
    process.announce_ready()
    await stop.wait()
    await asyncio.gather(*(origin.drain(flags.grace) for origin in origins))
    watching.cancel()
    if entrance is not None:
        await entrance.leave()
    for origin in origins:
        origin.close()
    for upstream in upstreams:
        await upstream.close()
    recorder.close()


def _entrance(flags: argparse.Namespace) -> QuicEntrance | None:
    """Return where edge relays and pages come in over QUIC, not yet open, or None where there are to be none.

    Raises:
        ConfigurationError: Some flags are missing, or cannot be used.
    """
    if not runtime.all_or_none(flags, "webtransport", "page_origins", "certificate_hash") and not flags.quic:
        return None
    if flags.sealed is None:
        raise ConfigurationError(
            "--quic and --webtransport are of the relay pair for real services: give --sealed and its like, too"
        )
    told = {"upstream": flags.http_upstream, "listen": flags.sealed, "key_file": flags.key_file, "quic": flags.quic}
    told |= {name: getattr(flags, name) for name in ("webtransport", "page_origins", "certificate_hash")}
    settings = read_settings(OriginSettings, "origin", told, environment={})
    return QuicEntrance(settings, load_key(flags.key_file))


async def _watch(
    origins: Sequence[Origin], accounts: StreamAccounts, gauges: StreamGauges, sessions: telemetry.SessionMetrics
) -> None:
    """Keep the metrics up to date that no event reports, for ever."""
    drivers = [DriverCounts(server, sessions) for origin in origins for server in origin.servers]
    while True:
        gauges.show(accounts.sample(stream for origin in origins for stream in origin.streams))
        sessions.sessions.set(sum(len(origin.sessions) for origin in origins))
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
    pair = parser.add_argument_group("the relay pair for real services, beside that; all three or none, QUIC if wanted")
    pair.add_argument("--http-upstream", metavar="URL", help="of the model server")
    pair.add_argument("--sealed", metavar="HOST:PORT", help="UDP address for its edge relays")
    pair.add_argument("--quic", metavar="HOST:PORT", help="address for its edge relays over QUIC, beside these")
    pair.add_argument("--key-file", type=Path, metavar="FILE", help="holds the key that it shares with them")
    pages = parser.add_argument_group("pages, beside that; all three or none")
    pages.add_argument("--webtransport", metavar="HOST:PORT", help="UDP address for pages")
    text = "whose pages may ask, such as http://127.0.0.1:8080"
    pages.add_argument("--page-origins", type=runtime.comma_separated, metavar="A,B", help=text)
    text = "gets the SHA-256 of the certificate that they are shown"
    pages.add_argument("--certificate-hash", type=Path, metavar="FILE", help=text)
    add_flags(parser, "origin")
    return runtime.run(serve, parser.parse_args(arguments))
