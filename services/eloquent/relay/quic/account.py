"""What a QUIC endpoint kept out and could not send, counted."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class QuicAccount:
    """Datagrams of a QUIC endpoint, counted.

    Attributes:
        carried: Of the sessions, given to QUIC.
        unsent: Of those, what QUIC could not send at once and was dropped.
        oversized: What was too large to be given to it.
        opened: How many packets came after handshakes, and were opened.
        expected: How many of them the peers have sent, by their numbers, up to the newest that came of each.
        dropped: How many datagrams came and were not taken, by cause.
        refused: How many connections met a limit, by what it is of.
    """

    carried: int = 0
    unsent: int = 0
    oversized: int = 0
    opened: int = 0
    expected: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
