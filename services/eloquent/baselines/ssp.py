"""Mosh's State Synchronisation Protocol, applied to a growing text.

Source: Winstein and Balakrishnan, "Mosh: An Interactive Remote Shell for Mobile Clients" (USENIX ATC 2012), §2.3 and
§3, and the constants and heuristics of its `transportsender`.

The sender, in our words
1. A state is the stream up to some token (and whether it has ended). An instruction is the difference from a base
   state to the newest; a receiver without the base state throws it away.
2. Frames are at least SRTT / 2 apart, within 20 to 250 ms, so about one is under way; and a frame waits 8 ms after
   its first change, to collect what comes together.
3. Whatever was sent less than a timeout (and the delay of an acknowledgement) ago is assumed to have arrived: the base
   is the newest state before which no sent state is older than that.
4. But where the difference from the acknowledged state is hardly longer (100 bytes) and stays below 1000 bytes, that
   one is sent instead, which cannot be thrown away. This is what makes Mosh robust for small changes, and Eloquent is
   near to it.
5. When all changes were sent but are not acknowledged, the difference from what is assumed, or after a timeout from
   what is acknowledged, is sent again.

The receiver acknowledges 100 ms after the first datagram that it has not acknowledged, or at once at the end. Each
datagram tells its time, each acknowledgement the last such time less the delay, so every one measures the round trip.

Left out: encryption, the client's own states (keystrokes travel the other way here: there are none), prediction of
echoes, heartbeats each 3 s, roaming, and compression of the differences. An instruction that does not fit a datagram
is sent as several that build on each other, where Mosh has all or nothing. Mosh stops repeating 10 s after the last
sign of life; ours goes on each 2 s until the stream is given up.
"""

import re
from collections import deque
from dataclasses import dataclass

from eloquent.protocol.frames import DataBuilder
from eloquent.protocol.receiver import Receiver, decode_data
from eloquent.protocol.rtt import RttEstimator
from eloquent.protocol.scheme import Family, Scheme, read_indices
from eloquent.protocol.sender import GIVE_UP_AFTER, Sender
from eloquent.protocol.varint import ByteReader

SEND_INTERVAL_MIN, SEND_INTERVAL_MAX = 0.020, 0.250  # seconds between frames
MIN_DELAY = 0.008  # seconds a frame waits for more of the same change
ACK_DELAY = 0.100  # seconds
ACTIVE_RETRY = 10.0  # seconds since the last sign of life, after which the repetitions become rare
RARE_INTERVAL = 2.0  # seconds between such
TIMEOUT_MIN, TIMEOUT_MAX = 0.050, 1.0  # seconds; the latter also before the first measurement
INITIAL_SRTT = 1.0  # seconds
PROPHYLACTIC_EXTRA, PROPHYLACTIC_MAX = 100, 1000  # bytes
MAX_SAMPLE = 5.0  # seconds; a longer round trip is that of a machine that slept
_STAMP_SIZE = 2  # bytes: milliseconds modulo 65 536, as in Mosh
_STAMPS = 1 << 16
_FRAGMENT_HEADER = 2  # bytes, about


@dataclass(slots=True)
class _State:
    count: int  # fragments
    ended: bool
    sent_at: float  # seconds


class SspSender(Sender):
    """Bring the receiver from a state that it has, or should have, to the newest.

    Args:
        budget: Bytes that the payload of one datagram may take.
        rtt: The path's estimator; its measurements are used, with Mosh's own bounds.
    """

    def __init__(self, *, budget: int, rtt: RttEstimator) -> None:
        super().__init__(budget=budget - _STAMP_SIZE)
        self._rtt = rtt
        self._states: list[_State] = []  # sent and not acknowledged, oldest first
        self._frame_at = -SEND_INTERVAL_MAX  # seconds, of the last frame
        self._changed_at: float | None = None  # seconds, of the first change that was not sent
        self._send_at: float | None = None  # seconds, of the next frame

    def receive_datagram(self, data: bytes, *, now: float) -> None:
        """Take an acknowledgement and its time.

        Raises:
            RemoteProtocolError: It is malformed, not an acknowledgement, or of something never sent.
        """
        stamp, payload = _split(data)
        super().receive_datagram(payload, now=now)
        rtt = (_stamp(now) - stamp) % _STAMPS / 1000
        if rtt < MAX_SAMPLE:
            self._rtt.sample(rtt)

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Return the frame that is due."""
        frames = []
        self._send_at = self._due(now)
        if self._send_at is not None and now >= self._send_at:
            frames = self._frame(now)
            self._send_at = self._due(now)
        return frames

    def get_timer(self) -> float | None:
        """Return the instant of the next frame, or of giving up, or None."""
        timers = [] if self._send_at is None or self._over else [self._send_at]
        if self.outstanding:
            timers.append(self._silent_since + GIVE_UP_AFTER)
        return min(timers, default=None)

    def handle_timer(self, *, now: float) -> None:
        """Give up a silent peer; what is due is found when datagrams are asked for."""
        if self.outstanding:
            super().handle_timer(now=now)

    def _due(self, now: float) -> float | None:
        """Return when the next frame is due: `calculate_timers` of Mosh."""
        if self._may_send_new(now):
            if self._changed_at is None:
                self._changed_at = now
            return max(self._changed_at + MIN_DELAY, self._frame_at + self._send_interval())
        if not self.outstanding:
            return None
        if now - self._silent_since > ACTIVE_RETRY:
            return self._frame_at + RARE_INTERVAL
        if self._assumed(now) != (self.sent, self._end_sent):
            return self._frame_at + self._send_interval()
        return self._frame_at + self._ack_timeout()

    def _frame(self, now: float) -> list[bytes]:
        if not self.outstanding:
            self._silent_since = now
        base = self._base(now)
        older = deque(fragment for fragment in self._unacked.values() if fragment.index >= base)
        end_due = self._end_sent and not self._end_acked
        datagrams: list[bytes] = []
        while older or end_due or self._may_send_new(now):
            builder = DataBuilder(self._budget)
            redundant = 0
            while older and builder.add(older[0]):
                redundant += len(older.popleft().data)
            if not older:
                if end_due and self._end is not None:
                    end_due = not builder.add_end(self._end)
                elif self._may_send_new(now):
                    self._take_new(builder)
            payload = _stamp(now).to_bytes(_STAMP_SIZE) + builder.build()
            self._count(payload, redundant)
            datagrams.append(payload)
        self._frame_at, self._changed_at = now, None
        self._states.append(_State(self.sent, self._end_sent, now))
        return datagrams

    def _assumed(self, now: float) -> tuple[int, bool]:
        """Return the state that the receiver has if all goes well: fragments, and whether the end."""
        assumed = self._acked, self._end_acked
        for state in self._states:
            if now >= state.sent_at + self._ack_timeout():
                break
            assumed = state.count, state.ended
        return assumed

    def _base(self, now: float) -> int:
        """Return the state to build on, in fragments: the assumed one, or the acknowledged one if that costs little."""
        assumed = self._assumed(now)[0]
        sizes = [(index, len(item.data) + _FRAGMENT_HEADER) for index, item in self._unacked.items()]
        extra = sum(size for index, size in sizes if index < assumed)
        whole = sum(size for _, size in sizes) + sum(len(item.data) + _FRAGMENT_HEADER for item in self._fresh)
        return self._acked if extra < PROPHYLACTIC_EXTRA and whole < PROPHYLACTIC_MAX else assumed

    @property
    def _acked(self) -> int:
        return next(iter(self._unacked), self.sent)

    def _send_interval(self) -> float:
        srtt = INITIAL_SRTT if self._rtt.smoothed is None else self._rtt.smoothed
        return min(max(srtt / 2, SEND_INTERVAL_MIN), SEND_INTERVAL_MAX)

    def _ack_timeout(self) -> float:
        """Return after how many seconds what was sent should have been acknowledged."""
        timeout = TIMEOUT_MAX if self._rtt.smoothed is None else self._rtt.smoothed + 4 * self._rtt.variance
        return min(max(timeout, TIMEOUT_MIN), TIMEOUT_MAX) + ACK_DELAY

    def _acknowledged(self, newly: list[int], *, end: bool, now: float) -> None:  # noqa: ARG002 - the state counts, not what was new
        self._states = [
            state for state in self._states if state.count > self._acked or (state.ended and not self._end_acked)
        ]

    def _next_deadline(self) -> float:
        return float("inf") if self._send_at is None else self._send_at

    def _deadline_passed(self, now: float) -> None:
        """Nothing to mark: `datagrams_to_send` looks at the times itself."""


class SspReceiver(Receiver):
    """Take the instructions whose base is known, and acknowledge the state after a delay."""

    def __init__(self) -> None:
        super().__init__()
        self._ack_at = 0.0  # seconds; meaningful while an acknowledgement is due
        self._stamp = 0  # of the last datagram
        self._stamped_at = 0.0  # seconds

    def receive_datagram(self, data: bytes, *, now: float) -> None:
        """Take an instruction.

        Raises:
            RemoteProtocolError: It is malformed, or an acknowledgement.
        """
        stamp, payload = _split(data)
        instruction = decode_data(payload)
        if instruction.fragments and instruction.fragments[0].index > self._next:
            return
        was_due = self._ack_due
        self._take(instruction)
        self._stamp, self._stamped_at = stamp, now
        if not was_due:
            self._ack_at = now + ACK_DELAY

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Return the acknowledgement, if its time has come."""
        if not self._finished and now < self._ack_at:
            return []
        stamp = (self._stamp + round((now - self._stamped_at) * 1000)) % _STAMPS
        return [stamp.to_bytes(_STAMP_SIZE) + ack for ack in super().datagrams_to_send(now=now)]

    def get_timer(self) -> float | None:
        """Return when the acknowledgement is due, or the news that there is room again."""
        return self._ack_at if self._ack_due and not self._broken else super().get_timer()


def _stamp(now: float) -> int:
    return round(now * 1000) % _STAMPS


def _split(data: bytes) -> tuple[int, bytes]:
    reader = ByteReader(data)
    return int.from_bytes(reader.take(_STAMP_SIZE)), reader.rest()


def _read(datagram: bytes) -> tuple[int, ...]:
    return read_indices(_split(datagram)[1])


def _build(match: re.Match[str]) -> Scheme:
    def make_sender(budget: int, rtt: RttEstimator) -> Sender:
        return SspSender(budget=budget, rtt=rtt)

    return Scheme(match[0], "datagram", make_sender, SspReceiver, lambda: _read)


FAMILY = Family("ssp", re.compile("ssp"), _build, "ssp")
