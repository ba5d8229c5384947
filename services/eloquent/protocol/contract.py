"""The contract that each side of a stream keeps: bytes and instants go in, datagrams, a timer and events come out.

Rules of the contract
- Time is an argument: `now` is in seconds on the caller's monotonic clock and never goes back.
- After any call that may change its state, the caller asks for datagrams, events and the timer again, in this order.
- The timer is pulled. A call of `handle_timer` at or after `get_timer()` makes progress: either datagrams are waiting,
  or the next timer is later. A call that comes early does nothing.
- `receive_datagram` raises only `RemoteProtocolError` (`MalformedPacket` if it cannot be decoded), and then nothing
  has changed.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class TokenReceived:
    """The next token in order.

    Attributes:
        index: Position in the stream, from 0, without gaps.
        data: The token, as it was given to the sender.
    """

    index: int
    data: bytes


@dataclass(frozen=True, slots=True)
class StreamFinished:
    """Receiver: every token was delivered once and in order, and the checksum of the content agreed."""

    trailer: bytes


@dataclass(frozen=True, slots=True)
class StreamBroken:
    """Receiver: the content cannot be what was sent (wrong checksum or count); the stream must not be taken as ended."""

    reason: str


@dataclass(frozen=True, slots=True)
class StreamAcknowledged:
    """Sender: the peer acknowledged every token and the end."""


@dataclass(frozen=True, slots=True)
class PeerLost:
    """The peer was silent for too long; the endpoint has stopped."""

    reason: str


Event = TokenReceived | StreamFinished | StreamBroken | StreamAcknowledged | PeerLost


@dataclass(slots=True)
class StreamAccount:
    """What a sender has spent on one stream, in its own direction.

    Attributes:
        tokens: Tokens handed in.
        original_bytes: Token bytes in their first transmission.
        redundant_bytes: Token bytes sent again, as redundancy or as retransmission.
        packets: Datagrams sent.
        wire_bytes: Those datagrams whole, with 28 bytes of IPv4 and UDP headers each.
        acks_received: Acknowledgements that came back.
    """

    tokens: int = 0
    original_bytes: int = 0
    redundant_bytes: int = 0
    packets: int = 0
    wire_bytes: int = 0
    acks_received: int = 0


class StateMachine(Protocol):
    """One side of a stream, with time as an argument."""

    def receive_datagram(self, data: bytes, *, now: float) -> None:
        """Take one datagram from the peer.

        Raises:
            RemoteProtocolError: The datagram is malformed or breaks the protocol; drop it and go on.
        """

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Hand over what is to be sent now, in order."""

    def get_timer(self) -> float | None:
        """Return the instant at which `handle_timer` wants to be called (one in the past means now), or None."""

    def handle_timer(self, *, now: float) -> None:
        """Do what is due at `now`."""

    def next_event(self) -> Event | None:
        """Return the oldest event that was not yet taken, or None."""


class StreamReceiver(StateMachine, Protocol):
    """The side of a stream that tokens come to."""

    @property
    def finished(self) -> bool:
        """Whether the whole stream has arrived, whole and with its end; its events may not all have been taken."""

    @property
    def broken(self) -> bool:
        """Whether the stream was found not to be what was sent."""


class StreamSender(StateMachine, Protocol):
    """The side of a stream that has tokens to give."""

    @property
    def backlog(self) -> int:
        """Tokens that the peer has not acknowledged, sent or not (a token that takes n packets counts n)."""

    @property
    def account(self) -> StreamAccount:
        """What the stream has cost so far."""

    def send_token(self, token: bytes, *, now: float) -> None:
        """Queue one token; tokens queued before the next `datagrams_to_send` share a datagram where they fit.

        Raises:
            LocalProtocolError: After `finish`, or with more unacknowledged tokens than the protocol allows.
        """

    def finish(self, *, trailer: bytes = b"", now: float) -> None:
        """End the stream after the tokens queued so far.

        Args:
            trailer: At most 512 bytes, delivered with the end.
            now: Seconds.

        Raises:
            LocalProtocolError: Called twice, or the trailer is too long.
        """
