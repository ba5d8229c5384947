"""What the kernel sent for a stream over TCP: the difference of two readings of its connection's TCP_INFO.

Rules of this file: a stream is accounted only if it had its connection to itself from its start until everything it
sent was acknowledged. Streams that shared one, or whose connection is not found or does not settle, are counted as
unaccounted: no number is better than a wrong one. The kernel counts bytes of the connection, framing included;
`content_spent` turns them into bytes of content, the unit of every other sender.

The connection is held open by a duplicate of its descriptor, so that the counters can be read when the server has already closed
it. Where the server does not tell the descriptor, it is found among this process's own by both ends, since one peer may have the
same port in connections to two listeners.
"""

import asyncio
import ipaddress
import os
import socket
import struct
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from urllib.parse import unquote

from eloquent import congestion
from eloquent.addresses import Address, parse_address
from eloquent.errors import ConfigurationError
from eloquent.nodes.common.stream_record import Spent
from eloquent.serving.tcp_sockets import own_tcp_sockets

_Ends = tuple[str, Address]  # the peer of a connection, as gRPC writes it, and where it reached us

# linux/tcp.h, struct tcp_info up to tcpi_bytes_retrans (Linux 4.19). Of it we read: unacked, segs_out,
# notsent_bytes, bytes_sent, bytes_retrans.
_TCP_INFO = struct.Struct("=24xI108xI4xI52xQQ")
_HEADERS = 20 + 32  # bytes of IPv4 and TCP headers of a segment, the TCP timestamp option included

_POLL = 0.05  # seconds between two readings of a connection that has to settle
_SETTLE_TIME = 30.0  # seconds after which a connection is given up: beyond the TCP timeouts of a lossy link


@dataclass(frozen=True, slots=True)
class TcpReading:
    """Counters of one connection in the sending direction, since it was opened.

    Attributes:
        sent: Bytes handed to the network, retransmissions included (TCP headers not).
        retransmitted: Those that were sent before.
        segments: Segments, those without data included.
        waiting: Bytes or segments that the peer has yet to acknowledge, 0 if none.
    """

    sent: int
    retransmitted: int
    segments: int
    waiting: int

    @classmethod
    def of(cls, connection: socket.socket) -> "TcpReading":
        """Read a connection's counters.

        Raises:
            OSError: The kernel does not keep these counters, or the connection is not a TCP one.
        """
        raw = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        if len(raw) < _TCP_INFO.size:
            raise OSError("this kernel does not count bytes sent (Linux 4.19 does)")
        unacked, segments, unsent, sent, retransmitted = _TCP_INFO.unpack(raw)
        return cls(sent, retransmitted, segments, unacked + unsent)


def spent_between(before: TcpReading, after: TcpReading) -> Spent:
    """Return what a connection sent between two readings, in its own bytes; what it retransmitted is redundant."""
    sent, packets = after.sent - before.sent, after.segments - before.segments
    redundant = after.retransmitted - before.retransmitted
    return Spent(sent - redundant, redundant, packets, sent + packets * _HEADERS)


def content_spent(spent: Spent, content_bytes: int) -> Spent:
    """Return what a stream cost in bytes of its content.

    The kernel repeats bytes of the connection without knowing what they carry, so the content has the share of the
    repeated bytes that it has of those sent once: the ratio of redundant to original bytes is the connection's own.

    Args:
        spent: What its connection sent, in bytes of the connection.
        content_bytes: Length of the stream's messages, each counted once.
    """
    if spent.original_bytes == 0:
        return replace(spent, original_bytes=content_bytes, redundant_bytes=0)
    redundant = round(spent.redundant_bytes * content_bytes / spent.original_bytes)
    return replace(spent, original_bytes=content_bytes, redundant_bytes=redundant)


def find_connection(peer: str, local: Address) -> socket.socket | None:
    """Return a duplicate of this process's TCP connection between two ends, or `None` where not exactly one is found.

    Args:
        peer: The far end, as gRPC writes it: `ipv4:10.0.0.1:50000` or `ipv6:%5B::1%5D:50000`.
        local: The near end; a host that is `0.0.0.0`, `::` or a name does not say at which address the peer reached us.
    """
    family, _, address = unquote(peer).partition(":")
    if family not in {"ipv4", "ipv6"}:
        return None
    try:
        far = _plain(*parse_address(address))
    except (ConfigurationError, ValueError):
        return None
    near = _reached(*local)
    with ExitStack() as opened:
        found = [opened.enter_context(one) for one in own_tcp_sockets() if _joins(one, far, near)]
        names = {(one.getsockname(), one.getpeername()) for one in found}
        return socket.socket(fileno=os.dup(found[0].fileno())) if len(names) == 1 else None


def _duplicate(descriptor: int) -> socket.socket | None:
    """Return a duplicate of a connection, or `None` where it is closed already."""
    try:
        return socket.socket(fileno=os.dup(descriptor))
    except OSError:
        return None


def _reached(host: str, port: int) -> tuple[str | None, int]:
    """Write the address that a connection reached, the host as None where that may be any of ours."""
    try:
        plain, _ = _plain(host, port)
    except ValueError:
        return None, port
    return None if ipaddress.ip_address(plain).is_unspecified else plain, port


def _joins(connection: socket.socket, far: Address, near: tuple[str | None, int]) -> bool:
    """Return whether a connection has these two ends; close it where it has not."""
    with suppress(OSError):  # not connected
        here = _plain(*connection.getsockname()[:2])
        if here[1] == near[1] and near[0] in {None, here[0]} and _plain(*connection.getpeername()[:2]) == far:
            return True
    connection.close()
    return False


def _plain(host: str, port: int) -> Address:
    """Write an address in one way: an IPv4 address that comes mapped into IPv6 is an IPv4 address."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address), port


class _Watch:
    """One stream on one connection."""

    def __init__(self, connection: socket.socket, on_spent: Callable[[Spent], None]) -> None:
        self.connection = connection
        self.on_spent = on_spent
        self.before = TcpReading.of(connection)
        self.congestion_control = congestion.read_control(connection)
        self.shared = False
        self.ended = False


class TcpAccountant:
    """Accounts the streams of one server.

    Args:
        on_unaccounted: Told why a stream is not accounted: `shared`, `not_found` or `unsettled`.
        settle_time: Seconds that a connection may take to get everything acknowledged after a stream.
    """

    def __init__(self, on_unaccounted: Callable[[str], None], *, settle_time: float = _SETTLE_TIME) -> None:
        self._on_unaccounted = on_unaccounted
        self._settle_time = settle_time
        self._watches: dict[_Ends, list[_Watch]] = {}
        self._settling: set[asyncio.Task[None]] = set()

    def begin(
        self, peer: str, local: Address, on_spent: Callable[[Spent], None], *, descriptor: int | None = None
    ) -> Callable[[], None]:
        """Take the reading before a stream.

        Args:
            peer: The call's peer, as gRPC writes it.
            local: Where it reached this server, as far as that is known (`find_connection`).
            on_spent: Given the account in bytes of the connection once it is certain; never called for a stream that is
                not accounted.
            descriptor: Of the connection's socket; None where it has to be found.

        Returns:
            To be called when the stream has ended; its status may still be on its way.
        """
        connection = find_connection(peer, local) if descriptor is None else _duplicate(descriptor)
        if connection is None:
            self._on_unaccounted("not_found")
            return lambda: None
        try:
            watch = _Watch(connection, on_spent)
        except OSError:
            connection.close()
            self._on_unaccounted("not_found")
            return lambda: None
        ends = peer, local
        for other in list(self._watches.get(ends, ())):
            if other.ended and not other.shared and TcpReading.of(other.connection).waiting == 0:
                self._close(ends, other)
            else:
                other.shared = watch.shared = True
        self._watches.setdefault(ends, []).append(watch)
        return lambda: self._end(ends, watch)

    async def settle(self, grace: float) -> None:
        """Wait until every stream that has ended is accounted or given up, at most so many seconds."""
        if self._settling:
            await asyncio.wait(self._settling, timeout=grace)

    def _end(self, ends: _Ends, watch: _Watch) -> None:
        watch.ended = True
        task = asyncio.get_running_loop().create_task(self._settle(ends, watch))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _settle(self, ends: _Ends, watch: _Watch) -> None:
        """Wait until two readings agree that nothing more is on its way."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settle_time
        latest: TcpReading | None = None
        while watch in self._watches.get(ends, ()):  # else the next stream's `begin` has closed it
            earlier, latest = latest, TcpReading.of(watch.connection)
            if latest.waiting == 0 and latest == earlier:
                self._close(ends, watch)
            elif loop.time() >= deadline:
                self._close(ends, watch, trouble="unsettled")
            else:
                await asyncio.sleep(_POLL)

    def _close(self, ends: _Ends, watch: _Watch, trouble: str = "") -> None:
        self._watches[ends].remove(watch)
        if not self._watches[ends]:
            del self._watches[ends]
        with watch.connection:
            spent = spent_between(watch.before, TcpReading.of(watch.connection))
        if watch.shared or trouble:
            self._on_unaccounted("shared" if watch.shared else trouble)
        else:
            watch.on_spent(replace(spent, congestion_control=watch.congestion_control))
