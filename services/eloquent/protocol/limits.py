"""The bounds that a server endpoint keeps, whatever its clients do.

Every buffer has one: per stream, per session, per source, and in all. docs/protocol.md §6 tells what a client sees when it
meets one.
"""

from dataclasses import dataclass
from typing import Self

from eloquent.protocol.datagram import PAYLOAD_BUDGET
from eloquent.protocol.frames import MAX_TOKEN


@dataclass(frozen=True, slots=True)
class EndpointLimits:
    """Bounds of a server endpoint.

    Attributes:
        sessions: Sessions at once.
        sessions_per_source: Sessions at once from one IPv4 address, or one IPv6 network of 64 bits.
        streams_per_session: Streams at once in one session.
        request: Bytes of one request.
        requests_per_session: Bytes that the unfinished requests of one session take.
        requests: Bytes that unfinished requests take in all.
        request_time: Seconds in which a request has to get on: from its first datagram to its first part, and from part to part.
        silence: Seconds without a datagram after which a session with open streams is given up.
        idle: Seconds without an open stream after which a session is forgotten, whatever else its client says.
        remembered: Connection ids of sessions that are over, none of which begins anew.
        payload: Bytes that the payload of a stream takes in one datagram; fewer where something is put around datagrams.
        congestion_control: Whether the answers of a session share a window (docs/congestion.md); without it each scheme sends
            as it is described, which is for closed networks only.
        grid: Seconds between the instants at which datagrams of answers leave, under that control; 0 lets them leave at once.
    """

    sessions: int = 4096
    sessions_per_source: int = 1024
    streams_per_session: int = 1024
    request: int = MAX_TOKEN
    requests_per_session: int = 4 * MAX_TOKEN
    requests: int = 64 * MAX_TOKEN
    request_time: float = 40.0
    silence: float = 40.0
    idle: float = 60.0
    remembered: int = 65_536
    payload: int = PAYLOAD_BUDGET
    congestion_control: bool = False
    grid: float = 0.0


class ByteBudget:
    """Bytes that may be held at once, here and in all.

    Args:
        limit: Bytes.
        parent: The budget that this one is a part of.

    Attributes:
        limit: The same.
        held: Bytes that are held now.
    """

    def __init__(self, limit: int, parent: Self | None = None) -> None:
        self.held = 0
        self.limit = limit
        self._parent = parent

    def take(self, size: int) -> bool:
        """Hold so many bytes more (fewer, if negative), and return whether the limits allow that; if not, nothing changes."""
        if size > 0 and self.held + size > self.limit:
            return False
        if self._parent is not None and not self._parent.take(size):
            return False
        self.held += size
        return True
