"""A UDP forward: what comes to one socket goes on to a service, datagram by datagram, and what the service says goes back.

Rules of this file: a datagram that comes in is one datagram that goes out, with the same bytes, or none: what the path does not
take at once, or not in one piece, is lost, as on any path. Each source has a socket of its own, so that the service tells them
apart. Their number is bounded; one that has been silent for `IDLE` makes room for another.
"""

import asyncio
import socket
import time
from dataclasses import dataclass

from eloquent.addresses import Address

SOURCES = 64  # at once
IDLE = 60.0  # seconds of silence, twice as long as QUIC connections stay open without a sign of life
BATCH = 64  # datagrams read from one socket before the others get their turn
DATAGRAM = 65535  # bytes at most
IP_MTU_DISCOVER, IP_PMTUDISC_DO = 10, 2  # linux/in.h: never in fragments


@dataclass(slots=True)
class _Source:
    """One who sends: its socket towards the service, and when either side was last heard."""

    onward: socket.socket
    heard_s: float


class UdpForward:
    """Forward datagrams to a service; called inside a running event loop.

    Args:
        front: The bound socket that sources send to; closed with the forward.
        service: Where the service is, IPv4.

    Attributes:
        dropped: Datagrams that were lost here: from sources beyond the bound, or not taken by the path.
    """

    def __init__(self, front: socket.socket, service: Address) -> None:
        self._front, self._service = front, service
        self._sources: dict[Address, _Source] = {}
        self._loop = asyncio.get_running_loop()
        self.dropped = 0
        front.setblocking(False)  # noqa: FBT003  (that is its name)
        self._loop.add_reader(front, self._take)

    @property
    def sources(self) -> int:
        """How many sources have a socket."""
        return len(self._sources)

    def _take(self) -> None:
        """Pass on what sources sent."""
        for _ in range(BATCH):
            try:
                datagram, address = self._front.recvfrom(DATAGRAM)
            except OSError:  # nothing more; or a source that has gone refuses what was sent to it
                return
            if (source := self._find(address)) is None:
                self.dropped += 1
                continue
            source.heard_s = time.monotonic()
            try:
                source.onward.send(datagram)
            except OSError:
                self.dropped += 1

    def _find(self, address: Address) -> _Source | None:
        """Return a source's record, which is made for a new one, or None where there is no room."""
        if (known := self._sources.get(address)) is not None:
            return known
        now = time.monotonic()
        if len(self._sources) >= SOURCES:
            for other in [other for other, source in self._sources.items() if now - source.heard_s >= IDLE]:
                self._forget(other)
        if len(self._sources) >= SOURCES:
            return None
        onward = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        onward.setblocking(False)  # noqa: FBT003  (likewise)
        onward.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        try:
            onward.connect(self._service)
        except OSError:
            onward.close()
            return None
        source = self._sources[address] = _Source(onward, now)
        self._loop.add_reader(onward, self._return, address, source)
        return source

    def _return(self, address: Address, source: _Source) -> None:
        """Pass back what the service said to a source."""
        for _ in range(BATCH):
            try:
                datagram = source.onward.recv(DATAGRAM)
            except OSError:  # nothing more; or the service is not up, which its host has told
                return
            source.heard_s = time.monotonic()
            try:
                self._front.sendto(datagram, address)
            except OSError:
                self.dropped += 1

    def _forget(self, address: Address) -> None:
        source = self._sources.pop(address)
        self._loop.remove_reader(source.onward)
        source.onward.close()

    def close(self) -> None:
        """Close all sockets."""
        self._loop.remove_reader(self._front)
        self._front.close()
        for address in list(self._sources):
            self._forget(address)
