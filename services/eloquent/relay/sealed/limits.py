"""The bounds that a sealed server keeps beside those of the endpoint inside, whatever its clients do."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SealLimits:
    """Bounds of a sealed server.

    Attributes:
        associations: Associations at once, those of which the client has not spoken yet included.
        associations_per_source: At once, begun from one IPv4 address, or one IPv6 network of 64 bits.
        half_open: Associations of which the client has not spoken yet.
        handshakes: Handshakes a second, with a Diffie-Hellman each; what is more is dropped.
        handshakes_per_source: The same for one source (WireGuard: 20).
        cookie_time: Seconds for which a cookie counts, for which those that were used are remembered, and after which an
            association is forgotten if its client has not spoken.
        silence: Seconds without a datagram after which an association is forgotten. Its client takes no longer than
            `client.REST_LIMIT` of rest for granted.
    """

    associations: int = 4096
    associations_per_source: int = 1024
    half_open: int = 512
    handshakes: int = 500
    handshakes_per_source: int = 20
    cookie_time: float = 15.0
    silence: float = 180.0
