"""The two relays as processes: parts put together as an operator's settings say."""

import asyncio
import logging
import ssl

from eloquent import process, schemes, telemetry
from eloquent.addresses import format_address, listen_on, parse_address, reason_of
from eloquent.errors import ConfigurationError
from eloquent.protocol.limits import EndpointLimits
from eloquent.protocol.session import Tally
from eloquent.relay.carriers.listener import WebSocketListener
from eloquent.relay.exchange import MAX_HEAD
from eloquent.relay.fallback import FallbackUplink
from eloquent.relay.fronts.http import HttpFront
from eloquent.relay.journal import Journal
from eloquent.relay.observers import Observers
from eloquent.relay.origin import Origin
from eloquent.relay.origin_accounts import ModelAccounts, OriginWatch
from eloquent.relay.quic.entrance import QuicEntrance, identity_of
from eloquent.relay.quic.page_counts import PageCounts
from eloquent.relay.sealed.key import load_key
from eloquent.relay.settings import SEND_GRID, EdgeSettings, OriginSettings
from eloquent.relay.uplink import CarrierName, Uplink
from eloquent.relay.upstreams.http import HttpUpstream

HELD_REQUESTS = 8  # of the longest requests: what an edge, and an origin, hold of those that are not answered yet

_log = logging.getLogger(__name__)


def limits_for(max_request: int, *, grid: float = SEND_GRID) -> EndpointLimits:
    """Return the bounds of an origin relay.

    Args:
        max_request: Bytes of a request's content.
        grid: Seconds between the instants at which answers go on.
    """
    request = max_request + MAX_HEAD
    return EndpointLimits(
        request=request, requests_per_session=HELD_REQUESTS * request, requests=2 * HELD_REQUESTS * request, grid=grid
    )


async def serve_origin(settings: OriginSettings, stop: asyncio.Event) -> None:
    """Be an origin relay until stopped.

    Raises:
        ConfigurationError: An address cannot be listened on.
    """
    metrics = telemetry.SessionMetrics()
    accounts = ModelAccounts(telemetry.ModelMetrics(), time=asyncio.get_running_loop().time)
    upstream = HttpUpstream(settings.upstream, silence=settings.silence, max_held=HELD_REQUESTS * settings.max_request)
    journal = None if settings.journal is None else Journal(settings.journal)
    observer = accounts if journal is None else Observers(accounts, journal)
    origin = Origin(
        http=upstream,
        keep=settings.keep,
        max_answers=settings.max_answers,
        max_strangers_answers=settings.max_page_answers,
        observer=observer,
    )
    key = None if settings.key_file is None else load_key(settings.key_file)
    limits = limits_for(settings.max_request, grid=settings.send_grid)
    tally = Tally(sent=metrics.sent, received=metrics.received)
    await origin.open(settings.listen, scheme_of=schemes.only(settings.schemes), key=key, limits=limits, tally=tally)
    quic = None
    if settings.quic is not None or settings.webtransport is not None:
        quic = QuicEntrance(settings, key)
        await quic.open(origin, limits=limits, tally=tally)
    where = format_address(origin.server.address)
    websockets = None
    if settings.tcp and key is not None:
        websockets = WebSocketListener(origin.server, telemetry.ListenerMetrics())
        websockets.open(listen_on(where), tls=_load_certificate(settings))
    await upstream.open()
    if settings.metrics:
        telemetry.serve(settings.metrics)
    _log.info("edges are awaited at %s, the model server is asked at %s", where, settings.upstream)
    pages = None
    if quic is not None and quic.pages is not None:
        pages = PageCounts(quic.pages, origin, telemetry.PageMetrics())
    watch = OriginWatch(origin, upstream, accounts, sessions=metrics, paths=telemetry.PathMetrics(), pages=pages)
    watching = asyncio.create_task(watch.watch())
    process.announce_ready()
    await stop.wait()
    await origin.drain(settings.grace)
    watching.cancel()
    if quic is not None:
        await quic.leave()
    origin.close()
    if websockets is not None:
        await websockets.close()
    await upstream.close()
    if journal is not None:
        journal.close()


async def serve_edge(settings: EdgeSettings, stop: asyncio.Event) -> None:
    """Be an edge relay until stopped.

    Raises:
        ConfigurationError: An address cannot be listened on, or there is no way to the origin relay.
    """
    metrics = telemetry.UplinkMetrics()
    listener = listen_on(settings.listen)
    try:
        uplink = await _connect(settings, metrics)
    except OSError as error:
        raise ConfigurationError(f"no way to the origin relay at {settings.origin}: {reason_of(error)}") from error
    clients = telemetry.FrontMetrics()
    for carrier in CarrierName:
        clients.gaps(settings.scheme, carrier)  # so that "no stall" is 0 and not nothing
    front = HttpFront(
        uplink,
        scheme_of=lambda _: settings.scheme,
        keep_alive=settings.keep_alive or None,
        max_request=settings.max_request,
        max_held=HELD_REQUESTS * settings.max_request,
        metrics=clients,
    )
    await front.open(listener)
    if settings.metrics:
        telemetry.serve(settings.metrics)
    watching = asyncio.create_task(uplink.watch(metrics))
    process.announce_ready()
    await stop.wait()
    await front.drain(settings.grace)
    watching.cancel()
    uplink.close()
    await uplink.wait_closed()


async def _connect(settings: EdgeSettings, metrics: telemetry.UplinkMetrics) -> Uplink | FallbackUplink:
    """Open the way to the origin relay.

    Raises:
        ConfigurationError: The key file cannot be used.
        OSError: There is no way over UDP.
    """
    where = parse_address(settings.origin)
    if settings.key_file is None:
        metrics.carrier.labels(CarrierName.UDP).set(1)
        return await Uplink.connect(where, metrics)
    key = load_key(settings.key_file)

    async def open_udp() -> Uplink:
        return await Uplink.connect(where, metrics, key=key)

    async def open_tcp() -> Uplink:
        return Uplink.connect_over_tcp(settings.url, metrics, key=key)

    async def open_quic() -> Uplink:
        identity = identity_of(settings.quic_certificate, key, host=where[0])
        return await Uplink.connect_over_quic(where, metrics, key=key, identity=identity)

    openers = {CarrierName.UDP: open_udp, CarrierName.TCP: open_tcp, CarrierName.QUIC: open_quic}
    if settings.carrier == "auto":
        return FallbackUplink(await open_udp(), openers, metrics, now=asyncio.get_running_loop().time())
    metrics.carrier.labels(settings.carrier).set(1)
    return await openers[CarrierName(settings.carrier)]()


def _load_certificate(settings: OriginSettings) -> ssl.SSLContext | None:
    """Return what TLS is spoken with, or None for none.

    Raises:
        ConfigurationError: A file cannot be used.
    """
    if settings.certificate is None:
        return None
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        tls.load_cert_chain(settings.certificate, settings.certificate_key)
    except OSError as error:
        raise ConfigurationError(
            f"cannot use the certificate {settings.certificate} with the key {settings.certificate_key}: {reason_of(error)}"
        ) from error
    return tls
