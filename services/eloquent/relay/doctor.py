"""Try both carriers between here and an origin relay, as an edge would, and measure the path: a few seconds of pings.

Rules of this file
- What is sent is less than a stream of an edge's, and never more than the origin relay answers with: some tens of small datagrams
  a second. When nothing comes back for `SILENCE`, pinging ends.
- Of who does not answer no more is said than can be known: without the key, an origin relay says nothing.
"""

import asyncio
import errno
import secrets
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

import aiohttp

from eloquent.addresses import Address, format_address, reason_of
from eloquent.errors import RemoteProtocolError
from eloquent.relay.carriers.websocket import CONNECT_TIMEOUT, WebSocketTransport
from eloquent.relay.diagnosis import Losses, RoundTrips, Size, losses_down, losses_up, round_trips, sizes
from eloquent.relay.sealed.packets import Status
from eloquent.relay.sealed.prober import Prober

PING_SIZE = 192  # bytes of UDP payload: what a server's datagram of a stream has, mostly
SIZES = (576, 1200, 1232, 1252, 1372, 1392, 1412, 1432, 1452, 1472)  # bytes of UDP payload
SIZE_ROUNDS = 5  # pings of each of them, one after the other
SIZE_PAUSE = 0.02  # seconds between two of them
HANDSHAKE_TIMEOUT = 5.0  # seconds: room for three initiations, each with its cookie
TCP_TIMEOUT = CONNECT_TIMEOUT + HANDSHAKE_TIMEOUT  # seconds
TCP_PINGS = 40
TCP_RATE = 20.0  # pings a second
SILENCE = 5.0  # seconds
LAST_WAIT = 1.0  # seconds beyond the slowest round trip for what is still on its way
_GLANCE = 0.1  # seconds between two looks at whether to go on waiting
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE = (
    10,
    23,
    3,
)  # Linux's: never fragment, whatever is known of the path


class Trouble(StrEnum):
    """Why a carrier does not work."""

    REFUSED = "refused"
    """Nobody listens there, says the machine."""
    SILENT = "silent"
    """Nothing comes back to an initiation."""
    UNREACHABLE = "unreachable"
    """There is no way, or no connection in time."""
    OTHER_SERVICE = "other service"
    """Something else listens there."""
    FULL = "full"
    """The origin relay has as many associations as it allows."""


@dataclass(frozen=True, slots=True)
class CarrierReport:
    """What was found of one carrier.

    Attributes:
        trouble: Why it does not work; None if it does.
        detail: What the system said to that; may be empty.
        handshake_s: Seconds until there was an association.
        seconds: For which pings were sent at their pace.
        round_trips: The round-trip times.
        up: What was lost towards the origin relay; None over TCP, which hides it.
        down: What was lost on the way back.
        sizes: What became of pings of other sizes.
        is_cut_off: Whether nothing came back for some seconds at last.
    """

    trouble: Trouble | None = None
    detail: str = ""
    handshake_s: float | None = None
    seconds: float = 0.0
    round_trips: RoundTrips | None = None
    up: Losses | None = None
    down: Losses | None = None
    sizes: tuple[Size, ...] = ()
    is_cut_off: bool = False


async def examine_udp(address: Address, key: bytes, *, seconds: float, rate: float) -> CarrierReport:
    """Try UDP.

    Args:
        address: Of the origin relay.
        key: 32 bytes, shared with it.
        seconds: For how long to ping.
        rate: Pings a second.
    """
    probing = _Probing(key)
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.create_datagram_endpoint(lambda: probing, remote_addr=address)
    except OSError as error:
        return CarrierReport(Trouble.UNREACHABLE, reason_of(error))
    _forbid_fragments(transport.get_extra_info("socket"))
    try:
        handshake = await probing.shake_hands(HANDSHAKE_TIMEOUT)
        if handshake is None:
            return CarrierReport(Trouble.REFUSED if probing.is_refused else Trouble.SILENT)
        if probing.prober.status is not Status.BEGUN:
            return CarrierReport(Trouble.FULL)
        is_cut_off = not await probing.ping([PING_SIZE] * round(seconds * rate), 1 / rate)
        steady = len(probing.prober.pings)
        if not is_cut_off:
            await probing.ping(SIZES * SIZE_ROUNDS, SIZE_PAUSE)
            await probing.ping([PING_SIZE] * 10, SIZE_PAUSE)  # whose pongs tell of those before
        await asyncio.sleep(LAST_WAIT + probing.slowest)
        probing.leave()
    finally:
        transport.close()
    pings = probing.prober.pings
    return CarrierReport(
        handshake_s=handshake,
        seconds=steady / rate,
        round_trips=round_trips(pings[:steady]),
        up=losses_up(pings[:steady]),
        down=losses_down(pings[:steady]),
        sizes=sizes(ping for ping in pings[steady:] if ping.size != PING_SIZE),
        is_cut_off=is_cut_off,
    )


async def examine_tcp(url: str, key: bytes) -> CarrierReport:
    """Try the fallback over TCP.

    Args:
        url: Of the origin relay, ws or wss.
        key: 32 bytes, shared with it.
    """
    probing = _Probing(key)
    transport = WebSocketTransport(url, probing)
    try:
        handshake = await probing.shake_hands(TCP_TIMEOUT, is_hopeless=partial(_is_hopeless, transport))
        if handshake is None:
            return _trouble_over_tcp(transport)
        if probing.prober.status is not Status.BEGUN:
            return CarrierReport(Trouble.FULL)
        is_cut_off = not await probing.ping([PING_SIZE] * TCP_PINGS, 1 / TCP_RATE)
        await asyncio.sleep(LAST_WAIT + probing.slowest)
        probing.leave()
    finally:
        transport.close()
        await transport.wait_closed()
    trips = round_trips(probing.prober.pings)
    return CarrierReport(handshake_s=handshake, seconds=TCP_PINGS / TCP_RATE, round_trips=trips, is_cut_off=is_cut_off)


def verdict(udp: CarrierReport, tcp: CarrierReport, address: Address, url: str) -> str:
    """Say in a sentence or two what works, and what to do if nothing does.

    Args:
        udp: What was found of UDP.
        tcp: What was found of the fallback.
        address: Of the origin relay.
        url: Of the same over TCP.
    """
    where = format_address(address)
    if udp.trouble is None:
        if tcp.trouble is None:
            return "UDP gets through, and so does TCP, to which an edge falls back where UDP is blocked."
        return f"UDP gets through. The fallback over TCP does not: {_why(tcp)}."
    if tcp.trouble is None:
        how = "it is blocked on the way" if udp.trouble is Trouble.SILENT else _why(udp)
        return f"UDP does not get through: {how}. The fallback over TCP works, and an edge will use it."
    return _obstacle(udp, tcp, where, url)


class _Probing(asyncio.DatagramProtocol):
    """A prober with a clock and a transport.

    Args:
        key: 32 bytes.
    """

    _transport: Any  # not all of asyncio's own are a DatagramTransport to the type checker

    def __init__(self, key: bytes) -> None:
        self._loop = asyncio.get_running_loop()
        self.prober = Prober(key, draw=secrets.token_bytes, now=self._loop.time())
        self.is_refused = False
        self._heard_at = 0.0
        self._news = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002 - there is one server
        with suppress(RemoteProtocolError):
            self.prober.receive_datagram(data, now=self._loop.time())
            self._heard_at = self._loop.time()
            self._news.set()

    def error_received(self, exc: Exception) -> None:
        self.is_refused = self.is_refused or isinstance(exc, ConnectionRefusedError)

    @property
    def slowest(self) -> float:
        """Seconds; the longest round trip so far."""
        pings = self.prober.pings
        return max((ping.answered_at - ping.sent_at for ping in pings if ping.answered_at is not None), default=0.0)

    async def shake_hands(self, patience: float, *, is_hopeless: Callable[[], bool] = lambda: False) -> float | None:
        """Return after how many seconds the server answered the handshake, or None if it did not.

        Args:
            patience: Seconds to wait at most.
            is_hopeless: Whether there is no use in waiting.
        """
        began = self._loop.time()
        while (now := self._loop.time()) < began + patience and not is_hopeless():
            if (initiation := self.prober.take_initiation(now=now)) is not None:
                self._transport.sendto(initiation)
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(max(self.prober.due - now, 0.0), _GLANCE)):
                    await self._news.wait()
            if self.prober.status is not None:
                return self._loop.time() - began
        return None

    async def ping(self, pings: Sequence[int], pause: float) -> bool:
        """Send pings, and return whether pongs have come to the end.

        Args:
            pings: The sizes, in bytes of UDP payload.
            pause: Seconds from one to the next.
        """
        began = self._loop.time()
        for i, size in enumerate(pings):
            await asyncio.sleep(began + i * pause - self._loop.time())
            now = self._loop.time()
            if now > self._heard_at + SILENCE:
                return False
            self._transport.sendto(self.prober.ping(size, now=now))
        return True

    def leave(self) -> None:
        """Tell the server that this was all."""
        self._transport.sendto(self.prober.leave(now=self._loop.time()))


def _obstacle(udp: CarrierReport, tcp: CarrierReport, where: str, url: str) -> str:
    """Say why neither carrier works."""
    match udp.trouble, tcp.trouble:
        case Trouble.FULL, _:
            text = f"The origin relay at {where} has as many edges as it allows."
        case _, Trouble.SILENT:
            text = (
                f"Something listens at {url}, but it does not answer this key, nor does anything over UDP: "
                "the origin relay has another key file, or this is none."
            )
        case Trouble.REFUSED, Trouble.REFUSED:
            text = f"Nobody listens at {where}: start the origin relay there, or name its address."
        case Trouble.SILENT, Trouble.REFUSED:
            text = (
                f"Nothing comes back from {where} over UDP, and nobody listens there on TCP: UDP is blocked on the way, the "
                "origin relay has another key file, or its address is another one."
            )
        case Trouble.SILENT, Trouble.UNREACHABLE:
            text = (
                f"Nothing comes back from {where}, over UDP or TCP: a firewall drops both, the machine is off, or its address is "
                "another one."
            )
        case _:
            text = f"Neither carrier works. UDP: {_why(udp)}. TCP: {_why(tcp)}."
    return text


def _is_hopeless(transport: WebSocketTransport) -> bool:
    """Return whether no handshake is to be awaited over a transport any more."""
    opened = transport.opened_at
    now = asyncio.get_running_loop().time()
    return transport.failure is not None or (opened is not None and now >= opened + HANDSHAKE_TIMEOUT)


def _trouble_over_tcp(transport: WebSocketTransport) -> CarrierReport:
    failure = transport.failure
    if isinstance(failure, aiohttp.WSServerHandshakeError):
        return CarrierReport(Trouble.OTHER_SERVICE, f"HTTP status {failure.status}")
    if isinstance(failure, aiohttp.ClientConnectorError) and failure.os_error.errno == errno.ECONNREFUSED:
        return CarrierReport(Trouble.REFUSED)
    if failure is not None:
        return CarrierReport(Trouble.UNREACHABLE, str(failure) or type(failure).__name__)
    return CarrierReport(Trouble.UNREACHABLE if transport.opened_at is None else Trouble.SILENT)


def _why(report: CarrierReport) -> str:
    """Return why a carrier does not work, to be read after a colon."""
    match report.trouble:
        case Trouble.REFUSED:
            text = "nobody listens there"
        case Trouble.SILENT:
            text = "nothing comes back, so it is blocked on the way, or the key is another one"
        case Trouble.OTHER_SERVICE:
            text = "what listens there is no origin relay"
        case Trouble.FULL:
            text = "the origin relay has as many edges as it allows"
        case _:
            text = "no connection comes about"
    return f"{text} ({report.detail})" if report.detail else text


def _forbid_fragments(connected: socket.socket) -> None:
    """See to it that a datagram which is too large for the path is lost, rather than cut; on Linux only."""
    is_ipv6 = connected.family == socket.AF_INET6
    level, option = (socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER) if is_ipv6 else (socket.IPPROTO_IP, _IP_MTU_DISCOVER)
    if sys.platform == "linux":
        connected.setsockopt(level, option, _PMTUDISC_PROBE)
