"""What sealing costs and what it kept out, counted."""

from collections import Counter
from dataclasses import dataclass, field

from eloquent.errors import RemoteProtocolError


class Dropped(RemoteProtocolError):
    """A datagram that was not taken; nothing has changed, and nothing answers it.

    Attributes:
        cause: Why, in a few words that are the same for each such datagram; `SealAccount.dropped` counts by it.
    """

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


@dataclass(slots=True)
class SealAccount:
    """Bytes of UDP payload that a sealed endpoint has sent, by what they were for, and what came or was dropped.

    Attributes:
        content: Of the sessions' datagrams, as they would go unsealed.
        sealing: Of heads, tags and types, less what sealing makes superfluous.
        padding: Added to bring sealed datagrams to the sizes of a few buckets.
        control: Of sealed datagrams that carry no session's: signs of life and path validation, their padding included.
        handshake: Of handshakes.
        held_back: Of all these, what was not sent, because a path that was not validated had its three times already.
        datagrams: How many datagrams were sent, of all kinds.
        opened: How many came and were opened.
        expected: How many the peers have sent, by their numbers, up to the newest that came of each.
        dropped: How many came and were not taken, by cause.
        refused: How many handshakes met a limit, by what it is of.
    """

    content: int = 0
    sealing: int = 0
    padding: int = 0
    control: int = 0
    handshake: int = 0
    held_back: int = 0
    datagrams: int = 0
    opened: int = 0
    expected: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def wire(self) -> int:
        """Bytes of UDP payload sent in all."""
        return self.content + self.sealing + self.padding + self.control + self.handshake - self.held_back
