"""Eloquent's idea at today's rates: all that is unacknowledged in each packet, compressed, at a pace that the text pays for.

Rules of this file
- A packet holds every fragment that is not acknowledged, compressed against the part of the stream that is (`protocol/packed`), so
  whichever arrives next brings the reader up to date. There is no limit of tokens.
- Packets with new tokens keep a pace at which the text pays for them: a token's credit is what TCP would have spent on it, headers
  and the token, whose repeated part (an event's frame) counts a sixth. The pace follows the mean cost of many packets, not that
  of the next one, so that it does not slow down in a burst of loss, when packets are large and needed most; what is owed then is
  paid back later. It is `MAX_HOLD` at the slowest.
- What does not fit into one datagram goes in two at the same instant: the oldest, which hold up all others, and the newest.
- In pauses and after the end the packets go on at the pace, until a round trip has passed in which they could have been
  acknowledged; after that what is still missing is overdue, and they go on. A repetition waits longer than the pace, so that none
  comes just before new tokens.
- A reader who looks elsewhere, or whose buffer outlasts what it takes to find and repair a loss, gets a packet each `CALM_HOLD`
  (Eloquent §5.3, §5.4), if that is reported. What it saves is credit.
- A silent peer gets less: after `SILENCE_TIMEOUT` repetitions back off, doubled up to 2 s; new tokens and the stream end as in
  every `Sender` (RFC 8085 §3.1).
"""

import math
import re
from collections.abc import Sequence

from eloquent.errors import ConfigurationError
from eloquent.protocol.datagram import PAYLOAD_BUDGET
from eloquent.protocol.frames import MAX_FRAGMENTS, Fragment
from eloquent.protocol.history import History
from eloquent.protocol.packed import PACKED_OVERHEAD, pack, read_packed
from eloquent.protocol.packed_receiver import PackedReceiver
from eloquent.protocol.rtt import RttEstimator
from eloquent.protocol.scheme import Family, Scheme
from eloquent.protocol.sender import IP_UDP_HEADERS, Sender
from eloquent.protocol.senders.adaptive_path import PathState

SHARE = 0.97  # of TCP's bytes: what repeats the tail is paid from the rest
TCP_HEADERS = 52  # bytes of IPv4 (20) and of TCP with timestamps, as Linux sends it (32)
SHARED_WORTH = 1 / 6  # of a byte that a token shares with the one before it
MIN_SPACING = 0.010  # seconds between packets
MAX_HOLD = 0.060  # seconds for which new tokens wait at most since the last packet; a reader does not notice it
CALM_HOLD = 0.180  # seconds, the same while the reader needs nothing soon; no stall for one who looks again
REPAIR = 0.300  # seconds that a buffer must last beyond finding a loss: more than `CALM_HOLD`
REPEAT_AFTER = 1.5  # smoothed spacings between packets with new tokens, without a packet
MIN_REPEAT = 0.030  # seconds; the least of that
FIRST_GAP = 0.1  # seconds between tokens, or packets, before it is known
LONGEST_GAP = 0.5  # seconds; a longer one is a pause and says nothing about the pace
GAP_GAIN = 1 / 8
MAX_BALANCE = 64  # packets of mean cost that may be saved or owed; what is beyond is forgotten
SWING = 16  # packets owed that double the spacing; saved ones halve it
COST_GAIN = 1 / 64  # of a packet in the mean cost: some seconds of text
SILENCE_TIMEOUT = 3.0  # seconds of silence after which repetitions back off
MAX_BACKOFF = 2.0  # seconds between repetitions
_FIRST_COST = IP_UDP_HEADERS + 16.0  # bytes of a packet, before it is known


class PackedSender(Sender):
    """All that is unacknowledged, compressed, at a pace.

    Args:
        budget: Bytes that the payload of one datagram may take.
        rtt: The path's estimator, which the streams of a session share; None for one of its own.
        factor: How many times TCP's bytes may be spent.
    """

    fragment_overhead = PACKED_OVERHEAD

    def __init__(self, *, budget: int = PAYLOAD_BUDGET, rtt: RttEstimator | None = None, factor: float = 1.0) -> None:
        super().__init__(budget=budget)
        self._rtt = rtt if rtt is not None else RttEstimator()
        self._factor = factor
        self._history = History()
        self._path = PathState(self._rtt)
        self._sent_at: dict[int, float] = {}  # seconds: when each of _unacked was first sent
        self._credit = 0.0
        self._mean_cost = _FIRST_COST
        self._worth = float(TCP_HEADERS)  # bytes of credit of the tokens of one instant, smoothed
        self._new_worth = 0.0  # of the present instant
        self._last_token = -math.inf  # seconds
        self._gap = FIRST_GAP  # seconds between instants with tokens, smoothed
        self._raw = 0  # bytes of tokens, in _unacked
        self._last_packet = -math.inf  # seconds
        self._last_new = -math.inf  # seconds
        self._spacing = FIRST_GAP
        self._last_repeat = -math.inf  # seconds
        self._backoff = 0.0  # seconds that repetitions wait in a silence
        self._held_until: float | None = None  # seconds
        self._repeat_due = False

    def send_token(self, token: bytes, *, now: float) -> None:
        """Queue one token, as `Sender.send_token` does, and count its credit."""
        history = self._history
        known = history.next_index
        super().send_token(token, now=now)
        for index in range(known, self._given):
            data = self._fresh[index - self._given].data
            middle = len(history.append(data).middle)
            worth = TCP_HEADERS + middle + SHARED_WORTH * (len(data) - middle)
            self._earn(SHARE * self._factor * worth, now)

    def _earn(self, worth: float, now: float) -> None:
        if now > self._last_token:
            if now - self._last_token <= LONGEST_GAP:
                self._gap += GAP_GAIN * (now - self._last_token - self._gap)
                self._worth += GAP_GAIN * (self._new_worth - self._worth)
            self._last_token, self._new_worth = now, 0.0
        self._new_worth += worth
        self._credit = min(self._credit + worth, MAX_BALANCE * self._mean_cost)

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Return the packets with new tokens, or else the repetition that is due."""
        self._held_until = None
        if self._may_send_new(now):
            due = self._new_due()
            if now >= due:
                self._repeat_due = False
                return self._send(now)
            self._held_until = due
        if self._repeat_due and self.outstanding:
            self._repeat_due = False
            self._last_repeat = now
            return self._send(now, new=False)
        return []

    def get_timer(self) -> float | None:
        """Return the instant at which something is to be sent, sent again or given up, or None."""
        if self._over:
            return None
        timer, held_until = super().get_timer(), self._held_until
        if timer is None or held_until is None:
            return held_until if timer is None else timer
        return min(timer, held_until)

    def _new_due(self) -> float:
        """Return when a packet with new tokens may go: the pace, sped up by what was saved, slowed down by what is owed."""
        paid = self._gap * self._mean_cost / self._worth
        balance = self._credit / (SWING * self._mean_cost)
        due = self._last_packet + min(max(paid * math.exp2(-balance), MIN_SPACING), MAX_HOLD)
        return due if self._reader is None else max(due, min(self._last_packet + CALM_HOLD, self._calm_until()))

    def _calm_until(self) -> float:
        """Return until when the reader needs nothing soon; minus infinity unless that was reported."""
        if self._reader is None or self._end is not None:
            return -math.inf
        if not self._reader.looking:
            return math.inf
        return self._reader_at + self._reader.buffered_s - self._path.overdue_after - REPAIR

    def _send(self, now: float, *, new: bool = True) -> list[bytes]:
        if not self.outstanding:
            self._silent_since = now
        if new:
            self._take_fresh(now)
        fragments = list(self._unacked.values())
        base = fragments[0].index if fragments else self.sent
        payloads = self._pack(base, fragments)
        for payload in payloads:
            self._credit -= IP_UDP_HEADERS + len(payload)
        self._credit = max(self._credit, -MAX_BALANCE * self._mean_cost)
        if new:
            size = sum(IP_UDP_HEADERS + len(payload) for payload in payloads)
            self._mean_cost += COST_GAIN * (size - self._mean_cost)
        self._last_packet = now
        self._path.packet_sent(now)
        return payloads

    def _take_fresh(self, now: float) -> None:
        """Move new tokens to those under way, and measure the pace."""
        while self._fresh and self._window_is_open():
            fragment = self._fresh.popleft()
            self._unacked[fragment.index] = fragment
            self._sent_at[fragment.index] = now
            self.sent += 1
            self._flight += self._weight(fragment)
            self._raw += len(fragment.data)
            self._account.original_bytes += len(fragment.data)
            self._account.redundant_bytes -= len(fragment.data)  # `_pack` counts all that is sent
        if self._end_waits:
            self._end_sent = True
        if now - self._last_new <= LONGEST_GAP:
            self._spacing += GAP_GAIN * (now - self._last_new - self._spacing)
        self._last_new = now

    def _pack(self, base: int, fragments: Sequence[Fragment]) -> list[bytes]:
        """Return one datagram with all of these and the end, or several: the oldest, the newest, the end where it has no room."""
        end = self._end if self._end_sent and not self._end_acked else None
        if len(fragments) <= MAX_FRAGMENTS:
            payload = pack(base, fragments, self._history, end=end)
            if len(payload) <= self._budget:
                self._count(payload, self._raw)
                return [payload]
        oldest, count = self._fit(base, fragments)
        payloads = [oldest]
        if rest := fragments[count:]:
            payloads.append(self._fit(base, rest, newest=True)[0])
        if end is not None:
            payloads.append(pack(base, [], self._history, end=end))
            self._count(payloads[-1], 0)
        return payloads

    def _fit(self, base: int, fragments: Sequence[Fragment], *, newest: bool = False) -> tuple[bytes, int]:
        """Return a datagram with as many of these as fit, from the oldest or from the newest on, and how many."""
        count = min(len(fragments), MAX_FRAGMENTS)
        while True:
            some = fragments[-count:] if newest else fragments[:count]
            payload = pack(base, some, self._history)
            if len(payload) <= self._budget:
                self._count(payload, sum(len(fragment.data) for fragment in some))
                return payload, count
            count = max(min(count - 1, int(0.95 * count * self._budget / len(payload))), 1)

    def _weight(self, fragment: Fragment) -> int:
        return len(self._history.delta(fragment.index).middle) + 1

    def _next_deadline(self) -> float:
        times = 1.0 if self._end_sent else REPEAT_AFTER
        repeat = self._last_packet + max(times * self._spacing, MIN_REPEAT, self._backoff)
        if self._reader is not None:
            repeat = max(repeat, min(self._last_packet + times * CALM_HOLD, self._calm_until()))
        if self._end_sent or self._credit >= self._mean_cost:
            return repeat
        oldest = next(iter(self._sent_at.values()), self._last_packet)
        return max(repeat, oldest + self._path.overdue_after)

    def _deadline_passed(self, now: float) -> None:
        if now >= self._next_deadline():
            self._repeat_due = True
            if now - self._silent_since >= SILENCE_TIMEOUT:
                self._backoff = min(max(2 * self._backoff, 2 * MIN_REPEAT), MAX_BACKOFF)

    def _acknowledged(self, newly: list[int], *, end: bool, now: float) -> None:  # noqa: ARG002 - any sign of life will do
        self._backoff = 0.0
        for index in newly:
            first = self._sent_at.pop(index)
            self._raw -= len(self._history.data(index))
            self._path.acknowledged(first_sent=first, now=now)
        if newly:
            repeated = max(first, self._last_repeat)
            self._path.delivered(first_sent=first, last_repeated=repeated, now=now)
        self._history.forget_below(next(iter(self._unacked), self.sent))


def _build(match: re.Match[str]) -> Scheme:
    factor = float(match["factor"] or 1.0)
    if not factor:
        raise ConfigurationError("'eloquent-packed-0x' would send nothing that is paid for: give a factor above 0")

    def make_sender(budget: int, rtt: RttEstimator) -> Sender:
        return PackedSender(budget=budget, rtt=rtt, factor=factor)

    return Scheme(match[0], "datagram", make_sender, PackedReceiver, lambda: read_packed)


FAMILY = Family(
    "eloquent-packed[-Nx]",
    re.compile(r"eloquent-packed(?:-(?P<factor>\d{1,2}(?:\.\d)?)x)?"),
    _build,
    "eloquent-packed",
)
