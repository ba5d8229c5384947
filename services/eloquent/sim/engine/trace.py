"""What is left of a simulated session: when what happened, and its packets where they are wanted."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from eloquent.channel.schedule import Direction
from eloquent.protocol.contract import StreamAccount
from eloquent.protocol.scheme import PacketReader, Scheme, read_indices
from eloquent.qoe.session import LATE_AFTER, STALL_THRESHOLD, SessionMeasures, measure

Outcome = Literal["ok", "lost", "broken", "unfinished"]


class PacketRow(NamedTuple):
    """One packet of a session.

    Attributes:
        sent_s: When it was sent.
        arrived_s: When it arrived; None where it was lost.
        direction: Direction on the link.
        size_bytes: Its size with headers.
        tokens: Indices of the tokens in it (of fragments, where tokens are long), as the scheme's reader finds them; none
            for an acknowledgement or a packet that carries no token as such, like parity.
        is_retransmission: Whether it carries tokens and all of them were sent before.
    """

    sent_s: float
    arrived_s: float | None
    direction: Direction
    size_bytes: int
    tokens: tuple[int, ...]
    is_retransmission: bool


@dataclass(slots=True)
class PacketLog:
    """Collects the packets of a session, in the order of sending.

    Attributes:
        rows: One row a packet.
    """

    rows: list[PacketRow] = field(default_factory=list)
    _sent: set[int] = field(default_factory=set)
    _read: PacketReader = read_indices

    def begin(self, scheme: Scheme) -> None:
        """Learn by which scheme the packets will be."""
        self._read = scheme.reader()

    def add(
        self, *, sent_s: float, arrived_s: float | None, direction: Direction, data: bytes, size_bytes: int
    ) -> None:
        """Note one packet."""
        tokens = self._read(data) if direction is Direction.DOWN else ()
        repeated = bool(tokens) and self._sent.issuperset(tokens)
        self._sent.update(tokens)
        self.rows.append(PacketRow(sent_s, arrived_s, direction, size_bytes, tokens, repeated))


@dataclass(frozen=True, slots=True)
class SessionTrace:
    """What happened in a session.

    Attributes:
        generated_s: When each token was generated.
        rendered_s: When each token was rendered; shorter than `generated_s` where the session failed.
        arrived_s: When each packet of the sender arrived.
        account: What the sender has spent.
        ended_s: When the last thing happened.
        outcome: `ok` if every token and the end arrived, otherwise what went wrong.
        packets: The packets, where they were recorded.
    """

    generated_s: tuple[float, ...]
    rendered_s: tuple[float, ...]
    arrived_s: tuple[float, ...]
    account: StreamAccount
    ended_s: float
    outcome: Outcome
    packets: tuple[PacketRow, ...] = ()

    def measure(self, *, threshold: float = STALL_THRESHOLD, late_after: float = LATE_AFTER) -> SessionMeasures:
        """Return the measures of the session (docs/measures.md).

        Args:
            threshold: Longest gap that is no stall, in seconds.
            late_after: Longest delay that is not late, in seconds.
        """
        generated = self.generated_s[: len(self.rendered_s)]
        return measure(self.rendered_s, generated, threshold=threshold, late_after=late_after)
