"""One packet with data on its way, and what became of it."""

from dataclasses import dataclass
from enum import StrEnum


class Fate(StrEnum):
    """What became of a packet."""

    ARRIVED = "arrived"
    LOST = "lost"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transmission:
    """One packet with data on its way from the sender to the receiver.

    Attributes:
        start: Offset of its first byte.
        end: Offset of the byte after its last.
        sent_s: When it was sent, in seconds of the capture's clock; half a round trip before or after it was seen, where
            the capture was made at the other end.
        arrived_s: When it arrived; None where it did not, or nobody knows.
        fate: What became of it.
        is_retransmission: Whether all its bytes had been sent before.
        number: Which packet of the capture it is; of a lost one that was not captured, the packet that revealed it.
        blocked: Whether it arrived while bytes before it were missing.
        blocking: Whether it was the retransmission that blocked packets had waited for.
    """

    start: int
    end: int
    sent_s: float
    arrived_s: float | None
    fate: Fate
    is_retransmission: bool
    number: int = 0
    blocked: bool = False
    blocking: bool = False
