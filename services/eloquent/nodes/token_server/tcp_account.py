"""What the kernel sent for a stream over TCP: the difference of two readings of its connection's TCP_INFO.

Rules of this file: a stream is accounted only if it had its connection to itself from its start until everything it
sent was acknowledged. Streams that shared one, or whose connection is closed already or does not settle, are counted as
unaccounted: no number is better than a wrong one. The kernel counts bytes of the connection, framing included;
`content_spent` turns them into bytes of content, the unit of every other sender.

The connection is held open by a duplicate of its descriptor, so that the counters can be read when the server has already closed
it.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

from eloquent import congestion
from eloquent.nodes.common.stream_record import Spent

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


class _Watch:
    """One stream on one connection.

    Raises:
        OSError: As `TcpReading.of`, or the connection is closed already.
    """

    def __init__(self, descriptor: int, on_spent: Callable[[Spent], None]) -> None:
        # Not socket.dup(), which would make the connection a blocking one, for its owner too.
        self.connection = socket.socket(fileno=os.dup(descriptor))
        self.number = os.fstat(self.connection.fileno()).st_ino  # of the connection, whichever descriptor it is seen by
        self.on_spent = on_spent
        try:
            self.before = TcpReading.of(self.connection)
        except OSError:
            self.connection.close()
            raise
        self.congestion_control = congestion.read_control(self.connection)
        self.shared = False
        self.ended = False


class TcpAccountant:
    """Accounts the streams of one server.

    Args:
        on_unaccounted: Told why a stream is not accounted: `shared`, `closed` or `unsettled`.
        settle_time: Seconds that a connection may take to get everything acknowledged after a stream.
    """

    def __init__(self, on_unaccounted: Callable[[str], None], *, settle_time: float = _SETTLE_TIME) -> None:
        self._on_unaccounted = on_unaccounted
        self._settle_time = settle_time
        self._watches: dict[int, list[_Watch]] = {}  # by the connection's number
        self._settling: set[asyncio.Task[None]] = set()

    def begin(self, descriptor: int, on_spent: Callable[[Spent], None]) -> Callable[[], None]:
        """Take the reading before a stream.

        Args:
            descriptor: Of the socket that the call came by.
            on_spent: Given the account in bytes of the connection once it is certain; never called for a stream that is
                not accounted.

        Returns:
            To be called when the stream has ended; its status may still be on its way.
        """
        try:
            watch = _Watch(descriptor, on_spent)
        except OSError:
            self._on_unaccounted("closed")
            return lambda: None
        for other in list(self._watches.get(watch.number, ())):
            if other.ended and not other.shared and TcpReading.of(other.connection).waiting == 0:
                self._close(other)
            else:
                other.shared = watch.shared = True
        self._watches.setdefault(watch.number, []).append(watch)
        return lambda: self._end(watch)

    async def settle(self, grace: float) -> None:
        """Wait until every stream that has ended is accounted or given up, at most so many seconds."""
        if self._settling:
            await asyncio.wait(self._settling, timeout=grace)

    def _end(self, watch: _Watch) -> None:
        watch.ended = True
        task = asyncio.get_running_loop().create_task(self._settle(watch))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _settle(self, watch: _Watch) -> None:
        """Wait until two readings agree that nothing more is on its way."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settle_time
        latest: TcpReading | None = None
        while watch in self._watches.get(watch.number, ()):  # else the next stream's `begin` has closed it
            earlier, latest = latest, TcpReading.of(watch.connection)
            if latest.waiting == 0 and latest == earlier:
                self._close(watch)
            elif loop.time() >= deadline:
                self._close(watch, trouble="unsettled")
            else:
                await asyncio.sleep(_POLL)

    def _close(self, watch: _Watch, trouble: str = "") -> None:
        self._watches[watch.number].remove(watch)
        if not self._watches[watch.number]:
            del self._watches[watch.number]
        with watch.connection:
            spent = spent_between(watch.before, TcpReading.of(watch.connection))
        if watch.shared or trouble:
            self._on_unaccounted("shared" if watch.shared else trouble)
        else:
            watch.on_spent(replace(spent, congestion_control=watch.congestion_control))
