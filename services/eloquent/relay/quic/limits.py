"""The sizes that travel over QUIC, and the bounds that a QUIC server keeps beside those of the endpoint inside."""

from dataclasses import dataclass, replace

from eloquent.protocol.datagram import MAX_DATAGRAM, PAYLOAD_BUDGET
from eloquent.protocol.limits import EndpointLimits

QUIC_DATAGRAM = (
    1150  # bytes of a datagram in a DATAGRAM frame; one of more than fits makes aioquic block all later ones
)
QUIC_PAYLOAD_BUDGET = PAYLOAD_BUDGET - (MAX_DATAGRAM - QUIC_DATAGRAM)
"""Bytes that a stream's payload may take in one datagram."""
MAX_UDP = 1500  # bytes of UDP payload, from which nothing is read: who speaks QUIC sends no longer ones without asking
REST_LIMIT = 120.0  # seconds of rest after which a client does not rely on its connection; servers keep it for longer


@dataclass(frozen=True, slots=True)
class QuicLimits:
    """Bounds of a QUIC server.

    Attributes:
        connections: Connections at once, those of strangers included.
        connections_per_source: At once, begun from one IPv4 address, or one IPv6 network of 64 bits.
        strangers: Connections at once of which nobody has shown yet that he may ask.
        strangers_per_source: The same for one source.
        stranger_time: Seconds after which those are closed.
        handshakes: Handshakes a second; what is more is dropped.
        handshakes_per_source: The same for one source.
        cookie_time: Seconds for which it is remembered which Retry has begun a connection; as long as one counts.
        channels: Clients of the endpoint inside at once, those whose connection is gone included.
        orphan_time: Seconds for which a client whose connection is gone is kept.
        silence: Seconds without a datagram after which a connection is forgotten. Its client takes no longer than
            `REST_LIMIT` of rest for granted.
        stream_data: Bytes of a connection's streams that wait to be read; of one stream, a quarter.
    """

    connections: int = 1024
    connections_per_source: int = 256
    strangers: int = 128
    strangers_per_source: int = 32
    stranger_time: float = 10.0
    handshakes: int = 200
    handshakes_per_source: int = 20
    cookie_time: float = 30.0
    channels: int = 2048
    orphan_time: float = 40.0
    silence: float = 180.0
    stream_data: int = 64 * 1024


@dataclass(frozen=True, slots=True)
class PageLimits:
    """Bounds of pages, which are those of strangers: what they leave of a server's bounds is for edges.

    Attributes:
        sessions: Sessions of WebTransport at once.
        sessions_per_connection: The same on one connection.
        inner_sessions: Sessions of the protocol (docs/protocol.md §6) beyond which none begins for a page, those of edges included.
        inner_sessions_per_source: The same of one IPv4 address, or one IPv6 network of 64 bits.
        streams: Streams at once in one of these.
        request: Bytes of one request.
        requests_per_session: Bytes that the unfinished requests of a session take.
        requests: Bytes that unfinished requests of pages take in all.
    """

    sessions: int = 768
    sessions_per_connection: int = 16
    inner_sessions: int = 2048
    inner_sessions_per_source: int = 256
    streams: int = 64
    request: int = 1 << 20
    requests_per_session: int = 2 << 20
    requests: int = 32 << 20

    def narrow(self, limits: EndpointLimits) -> EndpointLimits:
        """Return the bounds of an endpoint as pages meet them."""
        return replace(
            limits,
            sessions=min(limits.sessions, self.inner_sessions),
            sessions_per_source=min(limits.sessions_per_source, self.inner_sessions_per_source),
            streams_per_session=min(limits.streams_per_session, self.streams),
            request=min(limits.request, self.request),
            requests_per_session=min(limits.requests_per_session, self.requests_per_session),
            requests=min(limits.requests, self.requests),
        )
