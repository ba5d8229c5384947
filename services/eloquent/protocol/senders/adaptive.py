"""The project's own sender: Eloquent's idea, with redundancy that follows the loss and stays within stated budgets.

Rules of this file
- New tokens go at once, and with them unacknowledged ones as far as the credit reaches (`adaptive_budget`): first those
  not sent for a round trip, then the newest, as most bursts of loss are short. In the packet all stand in ascending
  order, so that a run of neighbours needs one index; bytes are the only limit (Eloquent §3.3).
- Repetitions between two tokens get only what that leaves over. While something is overdue the oldest are repeated
  `REPEATS_PER_GAP` times, each time as much as one packet's credit; when there is plenty, once without a sign of loss.
- A reader who looks elsewhere, or whose buffer outlasts the repair of a loss, needs no redundancy (Eloquent §5.3, §5.4):
  while that is reported, only what was not sent for a round trip goes with new tokens, and between them only timeouts
  repeat. The reserve of credit is kept for when the buffer is near empty. The tail is protected as ever.
- When the source pauses or has ended, they are repeated at its own pace.
- When the credit is used up there is still the timeout of RFC 6298: the oldest alone, at intervals that double.
- A silent peer gets no repetitions after `SILENCE_TIMEOUT` but those of the timeout; new tokens and the stream end as in every
  `Sender` (RFC 8085 §3.1).
"""

import math
import re
from dataclasses import dataclass

from eloquent.errors import ConfigurationError
from eloquent.protocol.datagram import PAYLOAD_BUDGET
from eloquent.protocol.frames import DataBuilder, Fragment
from eloquent.protocol.rtt import RttEstimator
from eloquent.protocol.scheme import Family, Scheme
from eloquent.protocol.sender import IP_UDP_HEADERS, Sender
from eloquent.protocol.senders.adaptive_budget import CreditLimits, TokenBucket
from eloquent.protocol.senders.adaptive_path import PathState
from eloquent.protocol.varint import varint_size

REPEATS_PER_GAP = 8  # of what is overdue, while there is credit: a burst of loss ends somewhere between two tokens
MIN_SPACING = 0.010  # seconds between packets without new tokens
PAUSE = 1.5  # gaps between tokens without a new one make a pause of the source
REPAIR = 0.3  # seconds of the buffer kept to get through what was found lost: a burst, and some more tries
SILENCE_TIMEOUT = 3.0  # seconds of silence after which only the timeout repeats, as for `eloquent`
MAX_TIMEOUT_INTERVAL = 2.0  # seconds between timeouts, as for `eloquent`
NEAR = 0.9  # of the gap between tokens: after that the pacing leaves the next packet to the next token
NEXT_PACKETS = 6  # packets of new tokens for which credit is kept, for what they will cost beyond their own
SURPLUS = 2  # quanta beyond the reserve; what is above is spent half-way between tokens without any sign of loss
FIRST_GAP = 0.1  # seconds between tokens, before it is known
LONGEST_GAP = 0.5  # seconds; a longer wait is a pause and says nothing about the pace
GAP_GAIN = 1 / 8
_FIXED_SIZE = IP_UDP_HEADERS + 1 + 2  # bytes of a packet beside its fragments: headers, type, one index below 2^14


@dataclass(slots=True)
class _Flight:
    """When an unacknowledged fragment was sent.

    Attributes:
        first: Seconds.
        last: Seconds.
        repeated: When it was last sent in a packet without newer ones; before that, the same as `first`.
        size: Bytes that it takes in a packet beside its neighbours.
    """

    first: float
    last: float
    repeated: float
    size: int


class AdaptiveSender(Sender):
    """New tokens with as much redundancy as the path needs and the budget allows.

    Args:
        budget: Bytes that the payload of one datagram may take.
        rtt: The path's estimator, which the streams of a session share; None for one of its own.
        limits: How much may be sent; by default the limits of `eloquent-adaptive`.
    """

    def __init__(
        self, *, budget: int = PAYLOAD_BUDGET, rtt: RttEstimator | None = None, limits: CreditLimits | None = None
    ) -> None:
        super().__init__(budget=budget)
        self._rtt = rtt if rtt is not None else RttEstimator()
        self._limits = limits if limits is not None else CreditLimits()
        self._path = PathState(self._rtt)
        self.bucket = TokenBucket(self._limits)
        self._flights: dict[int, _Flight] = {}  # of _unacked, in the same order
        self._flights_size = 0  # bytes, of all of them in one packet
        self._gap = FIRST_GAP
        self._last_new: float | None = None  # seconds
        self._last_packet = 0.0  # seconds
        self._timeouts = 0  # since the last acknowledgement
        self._held_until: float | None = None  # seconds; until then the pacing holds new tokens back
        self._repeat_due = False
        self._paced = False  # whether that is at the tokens' own pace
        self._timeout_due = False

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Return the packets with new tokens, or else the repetition that is due."""
        packets = []
        while (new := self._may_send_new(now)) and now >= self.bucket.next_send:
            packets.append(self._send_new(now))
        self._held_until = self.bucket.next_send if new else None
        if self.outstanding and not packets and (self._repeat_due or self._timeout_due):
            packets.append(self._repeat(now))
        self._repeat_due = self._timeout_due = False
        return packets

    def get_timer(self) -> float | None:
        """Return the instant at which something is to be sent, sent again or given up, or None."""
        if self._over:
            return None
        timers = [timer for timer in (super().get_timer(), self._held_until) if timer is not None]
        return min(timers, default=None)

    def handle_timer(self, *, now: float) -> None:
        """Mark what is due, or give up."""
        if self.outstanding:
            super().handle_timer(now=now)

    def _send_new(self, now: float) -> bytes:
        if not self.outstanding:
            self._silent_since = now
        if self._last_new is not None and now - self._last_new <= LONGEST_GAP:
            self._gap += GAP_GAIN * (now - self._last_new - self._gap)
        self._last_new = now
        older = list(self._unacked.values())
        new = DataBuilder(self._budget)
        self._take_new(new)
        is_calm = now < self._calm_until()
        for fragment in new.fragments:
            size = varint_size(len(fragment.data) << 2) + len(fragment.data)
            self._flights[fragment.index] = _Flight(now, now, now, size)
            self._flights_size += size
        self.bucket.refill(
            alone=IP_UDP_HEADERS + len(new.build()),
            token_bytes=sum(len(fragment.data) for fragment in new.fragments),
            loss=self._path.loss if self._path.is_lossy(now) else None,
            end=new.end is not None,
            calm=is_calm,
        )
        return self._send(new, self._by_need(older, now, only_stale=is_calm), self.bucket.room(self._budget), now)

    def _repeat(self, now: float) -> bytes:
        packet = DataBuilder(self._budget)
        if self._end is not None and self._end_sent and not self._end_acked:
            packet.add_end(self._end)
        oldest_first = list(self._unacked.values())
        if not self._repeat_due:
            return self._send(packet, oldest_first[:1], self._budget, now)
        if not self._paced:
            room = max(self.bucket.quantum, self._spare() / REPEATS_PER_GAP) - IP_UDP_HEADERS
            return self._send(packet, oldest_first, int(min(room, self._budget)), now)
        if self._end_sent:
            self.bucket.refill_tail()
        return self._send(packet, self._by_need(oldest_first, now), self.bucket.room(self._budget), now)

    def _by_need(self, older: list[Fragment], now: float, *, only_stale: bool = False) -> list[Fragment]:
        """Return unacknowledged fragments in the order in which a packet takes them.

        First those that were not sent for a round trip, oldest first: they are lost, and hold up all others. Then the
        newest first, as bursts of loss are mostly short.
        """
        sent_before = now - self._path.overdue_after
        stale = [fragment for fragment in older if self._flights[fragment.index].last <= sent_before]
        if only_stale:
            return stale
        return stale + [fragment for fragment in reversed(older) if self._flights[fragment.index].last > sent_before]

    def _calm_until(self) -> float:
        """Return until when the reader needs no redundancy; minus infinity unless that was reported."""
        if self._reader is None or self._end_sent:
            return -math.inf
        if not self._reader.looking:
            return math.inf
        return self._reader_at + self._reader.buffered_s - self._path.overdue_after - REPAIR

    def _send(self, packet: DataBuilder, by_need: list[Fragment], room: float, now: float) -> bytes:
        """Add to a packet what fits, in ascending order, and account for it; an empty one takes the first in any case."""
        chosen = {fragment.index: fragment for fragment in packet.fragments}
        size = len(packet.build()) if packet else 1
        room = min(room, self.room)
        redundant = 0
        for fragment in by_need:
            cost = _cost(fragment, chosen)
            if size + cost > room and (packet or chosen):
                break
            chosen[fragment.index] = fragment
            size += cost
            redundant += len(fragment.data)
            flight = self._flights[fragment.index]
            flight.last = now
            flight.repeated = flight.repeated if packet.fragments else now
        builder = DataBuilder(self._budget)
        for index in sorted(chosen):
            builder.add(chosen[index])
        if packet.end is not None:
            builder.add_end(packet.end)
        payload = builder.build()
        self._count(payload, redundant)
        self.bucket.spend(IP_UDP_HEADERS + len(payload), now=now)
        self._path.packet_sent(now)
        self._last_packet = now
        return payload

    def _next_deadline(self) -> float:
        return min(self._timeout_at(), self._repeat_at())

    def _timeout_at(self) -> float:
        interval = min(self._rtt.timeout(self._timeouts), MAX_TIMEOUT_INTERVAL)
        return max(self._last_packet + interval, self.bucket.next_send)

    def _overdue_at(self) -> float:
        oldest = next(iter(self._flights.values()), None)
        return (self._last_packet if oldest is None else oldest.first) + self._path.overdue_after

    def _pace_at(self) -> float:
        """Return when the next token would have come, had the source not paused or ended."""
        last_new = self._last_new if self._last_new is not None else self._last_packet
        gap = max(self._gap, MIN_SPACING)
        return max(last_new + (1.0 if self._end_sent else PAUSE) * gap, self._last_packet + gap)

    def _repeat_at(self) -> float:
        """Return when the unacknowledged ones are to be repeated, or are found overdue; infinite for not at all."""
        spare = self._spare()
        instant = self._pace_at() if spare >= 0 or self._end_sent else math.inf
        overdue = max(self._overdue_at(), self._last_packet + max(self._gap / REPEATS_PER_GAP, MIN_SPACING))
        if spare >= 0 or not self._path.is_lossy(overdue):
            instant = min(instant, overdue)
        if spare >= SURPLUS * self.bucket.quantum:
            instant = min(instant, self._last_packet + max(self._gap / 2, MIN_SPACING))
        instant = max(instant, self._calm_until())
        if self._limits.packets_per_s is not None:
            last_new = self._last_new if self._last_new is not None else self._last_packet
            instant = max(instant, self.bucket.paced_until)
            if instant > last_new + NEAR * self._gap and not self._end_sent:  # leave the next packet to the next token
                instant = max(instant, last_new + PAUSE * self._gap)
        return instant if instant - self._silent_since <= SILENCE_TIMEOUT else math.inf

    def _spare(self) -> float:
        """Return the credit that repetitions may use, less what the next one takes at least."""
        quantum = self.bucket.quantum
        if self._end_sent:
            return self.bucket.credit - quantum
        full = min(_FIXED_SIZE + self._flights_size, self._budget + IP_UDP_HEADERS)
        return self.bucket.credit - self.bucket.reserve - NEXT_PACKETS * max(full - quantum, 0.0) - quantum

    def _deadline_passed(self, now: float) -> None:
        self._repeat_due = self._repeat_at() <= now
        self._paced = self._repeat_due and self._pace_at() <= now
        self._timeout_due = not self._repeat_due and self._timeout_at() <= now
        self._timeouts += self._timeout_due
        if self._overdue_at() <= now:
            self._loss_seen(now)
            self._repeat_due &= self._spare() >= 0 or (self._paced and self._end_sent)

    def _loss_seen(self, now: float) -> None:
        if not self._path.is_lossy(now):
            self.bucket.release()
        self._path.loss_seen(now)

    def _acknowledged(self, newly: list[int], *, end: bool, now: float) -> None:  # noqa: ARG002 - the end tells no more
        self._timeouts = 0
        flights = [self._flights.pop(index) for index in newly]
        self._flights_size -= sum(flight.size for flight in flights)
        if not flights:
            return
        late = [self._path.acknowledged(first_sent=flight.first, now=now) for flight in flights]
        if any(late):
            self._loss_seen(now)
        self._path.delivered(first_sent=flights[-1].first, last_repeated=flights[-1].repeated, now=now)


def _cost(fragment: Fragment, chosen: dict[int, Fragment]) -> int:
    """Return how many bytes a fragment adds to a packet in which those chosen stand in ascending order."""
    size = varint_size(len(fragment.data) << 2) + len(fragment.data)
    if fragment.index and fragment.index - 1 not in chosen:
        size += varint_size(fragment.index)
    if fragment.index + 1 in chosen:
        size -= varint_size(fragment.index + 1)
    return size


def _build(match: re.Match[str]) -> Scheme:
    rate = match["rate"]
    if rate is not None and int(rate) == 0:
        raise ConfigurationError("'eloquent-adaptive-0pps' would send nothing: give at least one packet a second")
    limits = CreditLimits() if rate is None else CreditLimits(packets_per_s=float(rate), copies=None)

    def make_sender(budget: int, rtt: RttEstimator) -> Sender:
        return AdaptiveSender(budget=budget, rtt=rtt, limits=limits)

    return Scheme(match[0], "datagram", make_sender)


FAMILY = Family(
    "eloquent-adaptive[-Npps]",
    re.compile(r"eloquent-adaptive(?:-(?P<rate>\d{1,3})pps)?"),
    _build,
    "eloquent-adaptive",
)
