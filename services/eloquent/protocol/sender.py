"""What all senders share: the tokens that are not acknowledged yet, the end, the account, and when to give up.

Rules of this file
- A sender knows what it was given, what it sent, and what came back in an `Ack`; it never guesses what is on its way.
- Invariant: `_unacked` holds the fragments that were sent and not acknowledged, sorted by index; `_fresh` those that
  were never sent, sorted by index, all higher. A fragment leaves `_fresh` when it is first sent and `_unacked` when
  it is first acknowledged, and never comes back.
- How the reader fares is known from the newest acknowledgement that tells it; an older one, which a newer one has
  overtaken, is known by its lower `next_index`.
- The end is one more thing to be acknowledged, and comes after the last fragment.
- No fragment beyond the receiver's credit is sent. The highest limit that was ever told holds, for a receiver takes no
  credit back; one whose reader goes on after a pause says so until something comes.
- A peer that is silent while something is unacknowledged gets less and less: after `QUIET_AFTER` new tokens wait for
  a sign of life, after `GIVE_UP_AFTER` the stream is over (RFC 8085 §3.1: a sender must stop when the path has died).
"""

import math
from abc import ABC, abstractmethod
from collections import deque

from eloquent.errors import LocalProtocolError, RemoteProtocolError
from eloquent.protocol.checksum import extend_checksum
from eloquent.protocol.contract import Event, PeerLost, StreamAccount, StreamAcknowledged
from eloquent.protocol.datagram import PAYLOAD_BUDGET
from eloquent.protocol.frames import (
    FRAGMENT_OVERHEAD,
    MAX_TOKEN,
    MAX_TRAILER,
    WINDOW,
    Ack,
    DataBuilder,
    End,
    Fragment,
    ReaderState,
    decode_payload,
)
from eloquent.protocol.ranges import RangeSet

GIVE_UP_AFTER = 40.0  # seconds of silence, like Mosh's association timeout: a tunnel or a lift is shorter
QUIET_AFTER = 5.0  # seconds of silence after which new tokens wait: longer than any burst of loss
MAX_BACKLOG = 4096  # fragments given and not acknowledged: minutes of text; a caller this far ahead ignores `backlog`
FLIGHT_LIMIT = 64 * 1024  # bytes sent and not acknowledged, where nothing else sets the limit: like a small TCP buffer
IP_UDP_HEADERS = 28  # bytes, IPv4 without options (20) and UDP (8)


class Sender(ABC):
    """Base of the senders; a scheme decides only what goes into which packet and when.

    Args:
        budget: Bytes that the payload of one datagram may take.

    Attributes:
        fragment_overhead: Bytes that a packet with one fragment takes beside its content, at most.
        flight_limit: Bytes that may be sent and not acknowledged.
        room: Bytes that the path takes now; infinite where nobody controls that (`protocol/controlled.py`).
        sent: Fragments that were sent at least once.
        acked_to: Fragments up to the highest that was acknowledged.
        lost_from: Seconds; when the latest of the packets had left that were found lost, for senders that find that.
    """

    fragment_overhead = FRAGMENT_OVERHEAD

    def __init__(self, *, budget: int = PAYLOAD_BUDGET) -> None:
        if budget < FRAGMENT_OVERHEAD + 2 * MAX_TRAILER:
            raise LocalProtocolError(f"a budget of {budget} bytes has no room for an end")
        self.flight_limit = FLIGHT_LIMIT
        self.room = math.inf
        self.sent = 0
        self.acked_to = 0
        self.lost_from = -math.inf
        self._budget = budget
        self._fresh: deque[Fragment] = deque()
        self._unacked: dict[int, Fragment] = {}
        self._given = 0  # fragments
        self._had = RangeSet()  # acknowledged, from the oldest unacknowledged fragment on
        self._limit = WINDOW  # fragments below it may be sent: the receiver's credit
        self._flight = 0  # bytes under way: the weight of _unacked
        self._checksum = 0
        self._end: End | None = None
        self._end_sent = False
        self._end_acked = False
        self._over = False
        self._last_ack = b""  # as it came
        self._reader: ReaderState | None = None  # as last reported
        self._reader_at = 0.0  # seconds; when that came
        self._silent_since = 0.0  # seconds; meaningful while something is outstanding
        self._events: deque[Event] = deque()
        self._account = StreamAccount()

    @property
    def backlog(self) -> int:
        """Fragments that the peer has not acknowledged, sent or not."""
        return len(self._fresh) + len(self._unacked)

    @property
    def outstanding(self) -> bool:
        """Whether something was sent that is not acknowledged."""
        return not self._over and (bool(self._unacked) or (self._end_sent and not self._end_acked))

    @property
    def account(self) -> StreamAccount:
        """What the stream has cost so far; the same object all along."""
        return self._account

    def send_token(self, token: bytes, *, now: float) -> None:  # noqa: ARG002 - the contract gives the time to each call
        """Queue one token.

        Args:
            token: At most 1 MiB.
            now: Seconds.

        Raises:
            LocalProtocolError: After `finish`, a token too long, or the backlog beyond its limit.
        """
        if self._end is not None:
            raise LocalProtocolError("a token came after the end of its stream")
        if len(token) > MAX_TOKEN:
            raise LocalProtocolError(f"a token of {len(token)} bytes is too long: at most {MAX_TOKEN} can be sent")
        room, size = self._budget - self.fragment_overhead, len(token)
        parts = [token] if size <= room else [token[start : start + room] for start in range(0, size, room)]
        if len(self._fresh) + len(self._unacked) + len(parts) > MAX_BACKLOG:
            raise LocalProtocolError("too many tokens wait for their acknowledgement: mind the backlog")
        if self._over:
            return
        last = parts.pop()
        for part in parts:
            self._fresh.append(Fragment(self._given, part, more=True))
            self._given += 1
        self._fresh.append(Fragment(self._given, last))
        self._given += 1
        self._checksum = extend_checksum(self._checksum, token)
        self._account.tokens += 1

    def finish(self, *, trailer: bytes = b"", now: float) -> None:  # noqa: ARG002 - as above
        """End the stream after the tokens queued so far.

        Args:
            trailer: At most 512 bytes.
            now: Seconds.

        Raises:
            LocalProtocolError: Called twice, or the trailer is too long.
        """
        if self._end is not None:
            raise LocalProtocolError("a stream was finished twice")
        if len(trailer) > MAX_TRAILER:
            raise LocalProtocolError(f"a trailer of {len(trailer)} bytes is too long")
        self._end = End(self._given, self._checksum, trailer)

    def receive_datagram(self, data: bytes, *, now: float) -> None:
        """Take an acknowledgement.

        Raises:
            RemoteProtocolError: It is malformed, not an acknowledgement, or of something never sent.
        """
        ack = decode_payload(data)
        if not isinstance(ack, Ack):
            raise RemoteProtocolError("a receiver sent tokens")
        highest = ack.ranges[-1][1] if ack.ranges else ack.next_index
        if highest > self.sent or (ack.end_seen and not self._end_sent):
            raise RemoteProtocolError("the peer acknowledged what was never sent")
        if self._over:
            return
        self._account.acks_received += 1
        self._silent_since = now
        self.acked_to = max(self.acked_to, highest)
        if ack.reader is not None and ack.next_index >= next(iter(self._unacked), self.sent):
            self._reader, self._reader_at = ack.reader, now
        self._limit = max(self._limit, ack.next_index + ack.credit)
        newly = self._newly(ack) if data != self._last_ack else []  # the same again covers nothing new
        self._last_ack = data
        end_newly = ack.end_seen and not self._end_acked
        self._end_acked |= ack.end_seen
        if self._end_acked and not self._fresh and not self._unacked:
            self._stop(StreamAcknowledged())
        else:
            self._acknowledged(newly, end=end_newly, now=now)

    def _newly(self, ack: Ack) -> list[int]:
        """Forget the fragments that an acknowledgement is the first to cover, and return their indices, ascending."""
        newly: list[int] = []
        oldest = next(iter(self._unacked), self.sent)
        if not ack.ranges and not self._had:  # nothing is missing, as mostly
            for index in range(oldest, ack.next_index):
                self._flight -= self._weight(self._unacked.pop(index))
                newly.append(index)
            return newly
        for start, stop in ((oldest, ack.next_index), *ack.ranges):
            for first, last in self._had.gaps(max(start, oldest), stop):
                for index in range(first, last):
                    if (fragment := self._unacked.pop(index, None)) is not None:
                        self._flight -= self._weight(fragment)
                        newly.append(index)
        for start, stop in ((oldest, ack.next_index), *ack.ranges):
            self._had.add(max(start, oldest), stop)
        self._had.discard_below(next(iter(self._unacked), self.sent))
        return newly

    def next_event(self) -> Event | None:
        """Return the oldest event that was not yet taken, or None."""
        return self._events.popleft() if self._events else None

    def get_timer(self) -> float | None:
        """Return the instant at which something is to be sent again or given up, or None."""
        if self._over or not (self._unacked or (self._end_sent and not self._end_acked)):  # nothing is outstanding
            return None
        return min(self._next_deadline(), self._silent_since + GIVE_UP_AFTER)

    def handle_timer(self, *, now: float) -> None:
        """Mark what is due to be sent again, or give up."""
        if not self.outstanding:
            return
        if now >= self._silent_since + GIVE_UP_AFTER:
            self._stop(PeerLost(f"nothing came from the peer for {GIVE_UP_AFTER:g} seconds"))
        elif now >= self._next_deadline():
            self._deadline_passed(now)

    @abstractmethod
    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Hand over what is to be sent now, in order."""

    @abstractmethod
    def _next_deadline(self) -> float:
        """Return when something is to be sent if nothing comes back; called only while something is outstanding."""

    @abstractmethod
    def _deadline_passed(self, now: float) -> None:
        """Mark what is due, for the next `datagrams_to_send`."""

    @abstractmethod
    def _acknowledged(self, newly: list[int], *, end: bool, now: float) -> None:
        """Learn that an acknowledgement came, and which fragments (and whether the end) it was the first to cover."""

    @property
    def _end_waits(self) -> bool:
        """Whether the end may be sent for the first time."""
        return self._end is not None and not self._end_sent and not self._fresh

    def _may_send_new(self, now: float) -> bool:
        """Return whether there is something new and no rule holds it back."""
        if not (self._window_is_open() if self._fresh else self._end_waits):
            return False
        return not self._over and not (self.outstanding and now - self._silent_since > QUIET_AFTER)

    def _weight(self, fragment: Fragment) -> int:
        """Return how many bytes a fragment counts while it is under way."""
        return len(fragment.data)

    def _window_is_open(self) -> bool:
        oldest = next(iter(self._unacked), self.sent)
        is_open = self.sent < min(oldest + WINDOW, self._limit) and self._flight < self.flight_limit
        return is_open and self.room > 0

    def _take_new(self, builder: DataBuilder) -> None:
        """Move new tokens, and the end after the last of them, into a packet as far as they fit."""
        while self._fresh and self._window_is_open() and builder.add(self._fresh[0]):
            fragment = self._fresh.popleft()
            self._unacked[fragment.index] = fragment
            self.sent += 1
            self._flight += self._weight(fragment)
            self._account.original_bytes += len(fragment.data)
        if self._end is not None and self._end_waits:
            self._end_sent = builder.add_end(self._end)

    def _count(self, payload: bytes, redundant: int) -> None:
        """Account for a packet.

        Args:
            payload: What was sent.
            redundant: Token bytes in it that were sent before.
        """
        self.room -= len(payload) + IP_UDP_HEADERS
        self._account.packets += 1
        self._account.wire_bytes += len(payload) + IP_UDP_HEADERS
        self._account.redundant_bytes += redundant

    def _stop(self, event: Event) -> None:
        self._over = True
        self._fresh.clear()
        self._unacked.clear()
        self._events.append(event)
