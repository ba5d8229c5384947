"""A model of the kernel's TCP (Linux) under a token stream, to set beside the real one of the lab.

Rules of this file
- Tokens are records in one byte stream. Nagle's algorithm is off: what the window lets through is sent at once, in
  segments of at most 1448 bytes (1500 less IPv4 and TCP headers with timestamps) or what the budget of a datagram
  leaves. What waits for the window is sent together.
- A segment that is sent again takes along the segments after it that have not arrived, as far as they fit: Linux
  does (`tcp_retrans_collapse`), and for small tokens it matters.
- Timers: RACK's, and while that is not set, the tail loss probe or the retransmission timeout. New data set the probe, and so
  does an acknowledgement, as long as no loss is known or suspected; a probe is followed by a whole timeout.
- The probe (RFC 8985 §7) is due after 2 SRTT, and 200 ms more for a single segment that a delayed acknowledgement may
  answer, but not later than the timeout of the first segment. In a steady stream that is what sets it. It is new data if
  there is any, else the last segment, which may have been sent just before.
- The timeout is RFC 6298's with Linux's floor of 200 ms under the term of the variance, and doubles while nothing comes
  back. Probe and timeout count whole ticks.
- D-SACKs widen RACK's window, except those that answer a tail loss probe, and as long as there are no more of them than
  retransmissions (Linux's `tcp_dsack_seen`). A loss that is found ends the episode of a probe.
- Segments sent once tell a round-trip time (Karn): the earliest that an acknowledgement covers the smoothed one, the latest the
  least one. Where it covers only what was sent again, its timestamp tells both, in whole milliseconds that may be one less
  (`tcp_ack_update_rtt`), unless that is sooner than any: then it echoes an earlier transmission.

Left out: the handshake (the lab's connection is open before the stream; here the first timeout is 1 s unless the
estimator of the path is warm), ECN and receive windows. A stream has a connection of its own, which
is forgotten with it; `keep_connection` has streams follow each other on one.
"""

import math
import re
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from eloquent.baselines.tcp_bbr import BbrWindow
from eloquent.baselines.tcp_loss import Flight, Rack
from eloquent.baselines.tcp_receiver import RECEIVE_WINDOW, TcpReceiver
from eloquent.baselines.tcp_recovery import Recovery
from eloquent.baselines.tcp_segment import (
    HEADER_SIZE,
    Segment,
    SegmentAck,
    SegmentReader,
    decode_segment,
    encode_end,
    encode_segment,
    encode_token,
)
from eloquent.baselines.tcp_window import CongestionWindow, CubicWindow, Progress
from eloquent.errors import LocalProtocolError, RemoteProtocolError
from eloquent.protocol.checksum import extend_checksum
from eloquent.protocol.contract import Event, PeerLost, StreamAccount, StreamAcknowledged
from eloquent.protocol.datagram import PAYLOAD_BUDGET
from eloquent.protocol.frames import MAX_TOKEN, MAX_TRAILER
from eloquent.protocol.rtt import INITIAL_TIMEOUT, RttEstimator
from eloquent.protocol.scheme import Family, Scheme
from eloquent.protocol.sender import IP_UDP_HEADERS, MAX_BACKLOG

MAX_SEGMENT = 1448  # bytes
PROBE_ACK_DELAY = 0.200  # seconds that the acknowledgement of a single segment may be held back (Linux)
TICK = 0.004  # seconds that Linux counts timers in, at its usual 250 Hz
TIMESTAMP = 0.001  # seconds that timestamps count in
PROBE_SLACK = 0.002  # seconds, TCP_TIMEOUT_MIN_US
GIVE_UP_AFTER = 924.6  # seconds of silence: Linux's tcp_retries2 of 15; between relays the session ends after 40 s
_CONTENT, _FRAMING = b"\1", b"\0"


class TcpSender:
    """Send the tokens as a byte stream.

    Args:
        budget: Bytes that the payload of one datagram may take.
        rtt: The path's estimator.
        recovery: What the connection does about losses; None for a fresh one with the window of CUBIC.
        collapse: Whether a retransmission takes along the segments after it.
    """

    def __init__(
        self,
        *,
        budget: int = PAYLOAD_BUDGET,
        rtt: RttEstimator | None = None,
        recovery: Recovery | None = None,
        collapse: bool = True,
    ) -> None:
        self._max_segment = min(MAX_SEGMENT, budget - HEADER_SIZE)
        if self._max_segment < 1:
            raise LocalProtocolError(f"a budget of {budget} bytes has no room for a segment")
        self._rtt = rtt if rtt is not None else RttEstimator()
        self._collapse = collapse
        self._buffer = bytearray()  # of the stream, from the acknowledged offset on
        self._kinds = bytearray()  # for each of its bytes, whether it is token content
        self._acked = 0  # offset
        self._sent_to = 0  # offset
        self._flight: list[Flight] = []  # sorted by offset, without gaps
        self._records: deque[tuple[int, int]] = deque()  # offset after each token, and how many packets it counts for
        self._backlog = 0
        self._checksum = 0
        self._ended = False
        self._over = False
        self._recovery = recovery if recovery is not None else Recovery(CubicWindow())
        self._rack = Rack(self._recovery.reordering)
        self._window = self._recovery.window
        self._backoff = 0  # timeouts since something was acknowledged
        self._silent_since = 0.0  # seconds; meaningful while something is in flight
        self._timer = 0.0  # seconds, of probe or timeout; meaningful while something is in flight
        self._timer_probes = False  # whether it is the probe's
        self._probe_due = False
        self._probed_to = -1  # offset after the last byte when a tail loss probe was sent and not answered
        self._probed_again = False  # whether that probe was something sent before
        self._retransmissions = self._repetitions = 0  # segments sent again, and D-SACKs
        self._paced = False  # whether something waits for the pace
        self._events: deque[Event] = deque()
        self._account = StreamAccount()

    @property
    def backlog(self) -> int:
        """Tokens that are not acknowledged; one that takes n segments counts n."""
        return self._backlog

    @property
    def account(self) -> StreamAccount:
        """What the stream has cost so far; the same object all along."""
        return self._account

    def send_token(self, token: bytes, *, now: float) -> None:  # noqa: ARG002 - the contract gives the time to each call
        """Append one token to the stream.

        Args:
            token: At most 1 MiB.
            now: Seconds.

        Raises:
            LocalProtocolError: After `finish`, a token too long, or the backlog beyond its limit.
        """
        if self._ended:
            raise LocalProtocolError("a token came after the end of its stream")
        if len(token) > MAX_TOKEN:
            raise LocalProtocolError(f"a token of {len(token)} bytes is too long")
        weight = max(1, -(-len(token) // self._max_segment))
        if self._backlog + weight > MAX_BACKLOG:
            raise LocalProtocolError("too many tokens wait for their acknowledgement: mind the backlog")
        if self._over:
            return
        self._note_starvation()
        head, content = encode_token(token)
        self._append(head, _FRAMING)
        self._append(content, _CONTENT)
        self._records.append((self._acked + len(self._buffer), weight))
        self._backlog += weight
        self._checksum = extend_checksum(self._checksum, token)
        self._account.tokens += 1

    def finish(self, *, trailer: bytes = b"", now: float) -> None:  # noqa: ARG002 - as above
        """End the stream after the tokens given so far.

        Args:
            trailer: At most 512 bytes.
            now: Seconds.

        Raises:
            LocalProtocolError: Called twice, or the trailer is too long.
        """
        if self._ended:
            raise LocalProtocolError("a stream was finished twice")
        if len(trailer) > MAX_TRAILER:
            raise LocalProtocolError(f"a trailer of {len(trailer)} bytes is too long")
        self._ended = True
        if not self._over:
            self._append(encode_end(self._checksum, trailer), _FRAMING)

    def receive_datagram(self, data: bytes, *, now: float) -> None:
        """Take an acknowledgement.

        Raises:
            RemoteProtocolError: It is malformed, not an acknowledgement, or of something never sent.
        """
        ack = decode_segment(data)
        if not isinstance(ack, SegmentAck):
            raise RemoteProtocolError("a receiver sent tokens")
        if max([ack.next_offset, *(stop for _, stop in ack.blocks)]) > self._sent_to:
            raise RemoteProtocolError("the peer acknowledged what was never sent")
        if self._over:
            return
        self._account.acks_received += 1
        self._silent_since = now
        self._note_starvation()
        if ack.repeated is not None:
            self._take_repetition(*ack.repeated)
        newly = [segment for segment in self._flight if not segment.sacked and _is_covered(segment, ack)]
        rtts = self._measure_rtt(newly, ack, now)
        for segment in newly:
            segment.sacked = True
            segment.lost = segment.repaired = False
            self._rack.arrived(segment, now)
        if rtts is not None:
            self._rtt.sample(rtts[0])
            self._rack.reordering.measured(rtts[1])
        advanced = ack.next_offset > self._acked
        if advanced:
            self._forget_below(ack.next_offset)
            self._backoff = 0
        if 0 <= self._probed_to <= self._acked - self._probed_again:
            if self._probed_again:  # no D-SACK has told that it arrived twice
                self._recovery.probe_repaired()
            self._probed_to = -1
        if self._ended and not self._buffer:
            self._stop(StreamAcknowledged())
        else:
            self._adapt(newly, now, advanced=advanced, rtt=rtts[1] if rtts is not None else None)
            if self._flight and (advanced or any(segment.sent_at < self._flight[0].sent_at for segment in newly)):
                self._set_timer(now, advancing=True)

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Return what the window lets through: lost segments first, then new bytes."""
        datagrams = []
        unsent, sent_to = self._unsent, self._sent_to
        self._paced = False
        while (datagram := self._next_datagram(now)) is not None:
            datagrams.append(datagram)
        limited = self._in_flight >= self._window.size
        if unsent and (limited or self._sent_to > sent_to):
            self._window.used(limited=limited, flight=len(self._flight), acked=self._acked, sent_to=self._sent_to)
        return datagrams

    def get_timer(self) -> float | None:
        """Return the instant of the next probe, timeout, paced segment or surrender, or None."""
        if self._over or not self._flight:
            return None
        timer = min(self._due, self._silent_since + GIVE_UP_AFTER)
        return min(timer, self._window.open_at) if self._paced else timer

    def handle_timer(self, *, now: float) -> None:
        """Find what is lost, probe the tail, fall back to one segment, or give up."""
        if self._over or not self._flight or now < min(self._due, self._silent_since + GIVE_UP_AFTER):
            return
        if now >= self._silent_since + GIVE_UP_AFTER:
            self._stop(PeerLost(f"nothing came from the peer for {GIVE_UP_AFTER:g} seconds"))
        elif self._rack.deadline is not None and now >= self._rack.deadline:
            self._adapt([], now, advanced=False, by_timer=True)
            self._set_timeout(now, since=self._flight[0].sent_at)
        elif self._timer_probes and self._probed_to >= 0:  # only one at a time (RFC 8985 §7.3)
            self._set_timeout(now, since=self._flight[0].sent_at)
        elif self._timer_probes:
            self._probe_due = True
            self._probed_to = self._sent_to
            self._set_timeout(now, since=now)
        else:
            self._time_out(now)

    def next_event(self) -> Event | None:
        """Return the oldest event that was not yet taken, or None."""
        return self._events.popleft() if self._events else None

    @property
    def _due(self) -> float:
        return self._timer if self._rack.deadline is None else self._rack.deadline

    @property
    def _in_flight(self) -> int:
        return sum(segment.in_flight for segment in self._flight)

    @property
    def _sent_again(self) -> int:
        return sum(segment.in_flight and segment.transmissions > 1 for segment in self._flight)

    @property
    def _unsent(self) -> bool:
        return self._sent_to < min(self._acked + len(self._buffer), self._acked + RECEIVE_WINDOW)

    @property
    def _timeout(self) -> float:
        return _in_ticks(self._rtt.timeout(self._backoff))

    def _set_timer(self, now: float, *, advancing: bool) -> None:
        """Set the probe's timer, or the timeout's where a loss is known or suspected (`tcp_schedule_loss_probe`)."""
        first = self._flight[0].sent_at
        if self._recovery.repairing or any(segment.sacked for segment in self._flight):
            if advancing or self._timer_probes:
                self._set_timeout(now, since=first if self._timer_probes else now)
            return
        wait = INITIAL_TIMEOUT
        if self._rtt.smoothed is not None:
            wait = 2 * self._rtt.smoothed + (PROBE_ACK_DELAY if len(self._flight) == 1 else PROBE_SLACK)
        latest = self._timeout if advancing else first + self._timeout - now
        self._timer = now + _in_ticks(min(wait, latest) if latest > 0 else wait)
        self._timer_probes = True

    def _set_timeout(self, now: float, *, since: float) -> None:
        self._timer = max(since + self._timeout, now + TICK)
        self._timer_probes = False

    def _take_repetition(self, start: int, stop: int) -> None:
        self._repetitions += 1
        if self._repetitions > self._retransmissions:  # the network's doing
            return
        if stop == self._probed_to:
            self._probed_to = -1
        else:
            self._rack.reordering.repeated()
        self._recovery.repeated(stop)
        self._rack.reordering.seen |= any(
            segment.sacked and segment.transmissions > 1 and start <= segment.start and segment.stop <= stop
            for segment in self._flight
        )

    def _measure_rtt(self, newly: list[Flight], ack: SegmentAck, now: float) -> tuple[float, float] | None:
        """Return the round-trip times of the first and the last segment that tells one, in seconds, or None."""
        covered = [segment for segment in self._flight if segment.stop <= ack.next_offset]
        in_order = [segment for segment in newly if segment.stop <= ack.next_offset]
        beyond = [segment.sent_at for segment in newly if segment.stop > ack.next_offset and segment.transmissions == 1]
        again = any(segment.transmissions > 1 for segment in covered)
        once = [] if again else [segment.sent_at for segment in in_order]
        if once or beyond:
            return now - (once or beyond)[0], now - (beyond or once)[-1]
        if not in_order:
            return None
        echoed = max(segment.sent_at for segment in in_order)
        rtt = (_in_timestamps(now) - _in_timestamps(echoed)) * TIMESTAMP
        return (rtt, rtt) if rtt > self._rack.reordering.min_rtt - TIMESTAMP else None

    def _note_starvation(self) -> None:
        waiting = self._acked + len(self._buffer) - self._sent_to
        if waiting < self._max_segment and not any(segment.lost for segment in self._flight):
            self._window.starved(self._in_flight)

    def _adapt(
        self, newly: list[Flight], now: float, *, advanced: bool, rtt: float | None = None, by_timer: bool = False
    ) -> None:
        recovery = self._recovery
        newest = max(newly, key=lambda segment: (segment.sent_at, segment.stop), default=None)
        if newest is not None:
            self._rack.reordering.delivered(sent_at=newest.sent_at, now=now)
        if not by_timer and self._take_progress(newly, advanced=advanced):
            for segment in self._flight:
                segment.lost = segment.repaired = False
        smoothed = self._rtt.smoothed if self._rtt.smoothed is not None else 0.0
        found = self._rack.detect(self._flight, now, smoothed=smoothed, recovering=recovery.repairing)
        began = False
        if any(segment.lost or segment.repaired for segment in self._flight):
            again = by_timer or any(segment.transmissions > 1 for segment in found)
            began = recovery.lost(again=again, acked=self._acked, sent_to=self._sent_to, sent_again=self._sent_again)
        if began:
            self._probed_to = -1
        progress = Progress(
            delivered=int(began) if by_timer else len(newly),
            newest=newest,
            rtt=rtt,
            lost=len(found),
            in_flight=self._in_flight,
            advanced=advanced,
            by_timer=by_timer,
            state=recovery.state,
            min_rtt=self._rack.reordering.min_rtt,
            now=now,
        )
        self._window.adapt(progress)

    def _take_progress(self, newly: list[Flight], *, advanced: bool) -> bool:
        """Return whether a timeout was needless."""
        until = self._recovery.until
        return self._recovery.acknowledged(
            acked=self._acked,
            advanced=advanced,
            sacked=any(segment.stop > self._acked for segment in newly),
            original=any(segment.transmissions == 1 and segment.stop <= until for segment in newly),
            sent_to=self._sent_to,
            unsent=self._unsent,
        )

    def _time_out(self, now: float) -> None:
        for segment in self._flight:
            segment.lost |= not segment.sacked and (segment is self._flight[0] or self._rack.is_overdue(segment, now))
        self._probed_to = -1
        self._recovery.timed_out(
            acked=self._acked,
            sent_to=self._sent_to,
            in_flight=self._in_flight,
            sent_again=self._sent_again,
            timeouts=self._backoff,
        )
        self._backoff += 1
        self._set_timeout(now, since=now)

    def _next_datagram(self, now: float) -> bytes | None:
        if self._over:
            return None
        unsent = self._unsent
        if self._probe_due and self._flight:
            self._probe_due, self._probed_again = False, not unsent
            return self._send_new(now) if unsent else self._send_again(self._flight[-1], now)
        lost = next((segment for segment in self._flight if segment.lost), None)
        if self._recovery.new_first:
            lost = None
        if (lost is None and not unsent) or self._in_flight >= self._window.size:
            return None
        if now < self._window.open_at:
            self._paced = True
            return None
        if lost is not None:
            self._recovery.sent_again()
            return self._send_again(lost, now)
        datagram = self._send_new(now)
        self._set_timer(now, advancing=len(self._flight) == 1)
        return datagram

    def _send_new(self, now: float) -> bytes:
        if not self._flight:
            self._silent_since = now
        stop = min(self._acked + len(self._buffer), self._sent_to + self._max_segment)
        segment = Flight(self._sent_to, stop, now)
        self._flight.append(segment)
        self._sent_to = stop
        self._account.original_bytes += self._content(segment)
        return self._emit(segment)

    def _send_again(self, segment: Flight, now: float) -> bytes:
        position = self._flight.index(segment) + 1
        while self._collapse and position < len(self._flight) and not self._flight[position].sacked:
            if self._flight[position].stop - segment.start > self._max_segment:
                break
            segment.stop = self._flight.pop(position).stop
        segment.sent_at = now
        segment.lost, segment.repaired = False, segment.lost or segment.repaired
        segment.transmissions += 1
        self._retransmissions += 1
        if segment is self._flight[0]:
            self._set_timeout(now, since=now)
        self._account.redundant_bytes += self._content(segment)
        return self._emit(segment)

    def _emit(self, segment: Flight) -> bytes:
        data = bytes(self._buffer[segment.start - self._acked : segment.stop - self._acked])
        datagram = encode_segment(Segment(segment.start, data))
        self._window.sent(segment, alone=len(self._flight) == 1 and segment.transmissions == 1, now=segment.sent_at)
        self._account.packets += 1
        self._account.wire_bytes += len(datagram) + IP_UDP_HEADERS
        return datagram

    def _content(self, segment: Flight) -> int:
        return self._kinds.count(_CONTENT, segment.start - self._acked, segment.stop - self._acked)

    def _append(self, data: bytes, kind: bytes) -> None:
        self._buffer += data
        self._kinds += kind * len(data)

    def _forget_below(self, offset: int) -> None:
        del self._buffer[: offset - self._acked]
        del self._kinds[: offset - self._acked]
        self._acked = offset
        self._flight = [segment for segment in self._flight if segment.stop > offset]
        if self._flight:
            self._flight[0].start = max(self._flight[0].start, offset)
        while self._records and self._records[0][0] <= offset:
            self._backlog -= self._records.popleft()[1]

    def _stop(self, event: Event) -> None:
        self._over = True
        self._flight.clear()
        self._buffer.clear()
        self._records.clear()
        self._backlog = 0
        self._events.append(event)


def _in_ticks(seconds: float) -> float:
    return math.ceil(round(seconds / TICK, 6)) * TICK


def _in_timestamps(seconds: float) -> int:
    return math.floor(round(seconds / TIMESTAMP, 6))


def _is_covered(segment: Flight, ack: SegmentAck) -> bool:
    return segment.stop <= ack.next_offset or any(
        start <= segment.start and segment.stop <= stop for start, stop in ack.blocks
    )


def _build(match: re.Match[str]) -> Scheme:
    window = _WINDOWS[match["window"]]

    def make_sender(budget: int, rtt: RttEstimator) -> TcpSender:
        return TcpSender(budget=budget, rtt=rtt, recovery=Recovery(window()))

    return Scheme(match[0], "datagram", make_sender, TcpReceiver, SegmentReader)


_WINDOWS: dict[str | None, Callable[[], CongestionWindow]] = {None: CubicWindow, "bbr": BbrWindow}
FAMILY = Family("tcp[-bbr]", re.compile("tcp(?:-(?P<window>bbr))?"), _build, "tcp")


def keep_connection(scheme: Scheme) -> Scheme:
    """Return a TCP model whose streams follow each other on one connection, with pauses between them.

    They share the window and what is known of reordering. An estimator of the path is for the caller to share.

    Args:
        scheme: `tcp` or `tcp-bbr`.

    Raises:
        LocalProtocolError: It is another scheme.
    """
    match = FAMILY.pattern.fullmatch(scheme.name)
    if match is None:
        raise LocalProtocolError(f"'{scheme.name}' has no connection to keep")
    recovery = Recovery(_WINDOWS[match["window"]]())

    def make_sender(budget: int, rtt: RttEstimator) -> TcpSender:
        recovery.rest()
        return TcpSender(budget=budget, rtt=rtt, recovery=recovery)

    return replace(scheme, sender=make_sender)
