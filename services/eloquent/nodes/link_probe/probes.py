"""What the two ends of a link probe say to each other, and what the near end concludes. No clock and no sockets here.

Rules of this file: an echo repeats every arrival that the sender has not confirmed yet, so that a lost echo hides no
arrival, and the losses of the two directions are told apart. A probe is lost when `LOST_AFTER` has passed without a word
of it. Both ends read the clock of one kernel, so arrival minus departure is a one-way delay.

    probe: magic (4) | run (4) | sequence (8) | confirmed arrivals (8)
    echo:  magic (4) | run (4) | sequence (8) | number of the first arrival (8) | arrivals: sequence, ns (16 each)
"""

import struct
from collections import OrderedDict, deque
from dataclasses import dataclass

LOST_AFTER = 3.0  # seconds
MAX_DATAGRAM = 2048  # bytes
_PROBE_MAGIC, _ECHO_MAGIC = b"ELP1", b"ELE1"
_HEADER = struct.Struct("!4sIQQ")
_ARRIVAL = struct.Struct("!QQ")
_MAX_ARRIVALS = 64  # in one echo: 3.2 s of probes at the usual interval, in about 1 kB
_MAX_SENDERS = 16  # that one reflector remembers


class _Arrivals:
    """The arrivals from one sender that it has not confirmed."""

    def __init__(self) -> None:
        self.first = 0  # number of the oldest one that is kept
        self.kept: deque[tuple[int, int]] = deque()

    def add(self, sequence: int, now_ns: int, confirmed: int) -> None:
        """Note one, and forget what the sender knows of or what is too much."""
        self.kept.append((sequence, now_ns))
        while len(self.kept) > 1 and (self.first < confirmed or len(self.kept) > _MAX_ARRIVALS):
            self.kept.popleft()
            self.first += 1


class Reflector:
    """The far end."""

    def __init__(self) -> None:
        self._senders: OrderedDict[int, _Arrivals] = OrderedDict()

    def echo(self, data: bytes, *, now_ns: int) -> bytes | None:
        """Return the echo of a probe, or `None` for what is no probe.

        Args:
            data: What arrived.
            now_ns: When, in nanoseconds.
        """
        if len(data) != _HEADER.size:
            return None
        magic, run, sequence, confirmed = _HEADER.unpack(data)
        if magic != _PROBE_MAGIC:
            return None
        arrivals = self._senders.setdefault(run, _Arrivals())
        self._senders.move_to_end(run)
        if len(self._senders) > _MAX_SENDERS:
            self._senders.popitem(last=False)
        arrivals.add(sequence, now_ns, confirmed)
        header = _HEADER.pack(_ECHO_MAGIC, run, sequence, arrivals.first)
        return header + b"".join(_ARRIVAL.pack(*arrival) for arrival in arrivals.kept)


@dataclass(slots=True)
class Probe:
    """What is known of one probe.

    Attributes:
        sequence: Its number, from 0.
        sent_s: When it left, in seconds.
        received_s: When it arrived at the far end; `None` while nothing tells so.
        rtt_s: Seconds until its own echo was back; `None` without one.
    """

    sequence: int
    sent_s: float
    received_s: float | None = None
    rtt_s: float | None = None


class Link:
    """The near end.

    Args:
        run: Number below 2**32 that tells this sender's echoes from an earlier one's.
    """

    def __init__(self, run: int) -> None:
        self._run = run
        self._next = 0
        self._confirmed = 0
        self._open: deque[Probe] = deque()

    @property
    def open(self) -> int:
        """Probes that are not settled."""
        return len(self._open)

    def probe(self, *, now: float) -> bytes:
        """Return the next probe, which leaves now."""
        data = _HEADER.pack(_PROBE_MAGIC, self._run, self._next, self._confirmed)
        self._open.append(Probe(self._next, now))
        self._next += 1
        return data

    def withdraw(self) -> None:
        """Forget the latest probe, which has not left after all: it says nothing of the link."""
        self._open.pop()
        self._next -= 1

    def take_echo(self, data: bytes, *, now: float) -> None:
        """Learn from an echo; anything that is not one of ours is ignored."""
        if len(data) < _HEADER.size or (len(data) - _HEADER.size) % _ARRIVAL.size:
            return
        magic, run, sequence, first = _HEADER.unpack_from(data)
        if magic != _ECHO_MAGIC or run != self._run:
            return
        arrivals = dict(_ARRIVAL.iter_unpack(data[_HEADER.size :]))
        self._confirmed = max(self._confirmed, first + len(arrivals))
        for probe in self._open:
            if probe.received_s is None and probe.sequence in arrivals:
                probe.received_s = arrivals[probe.sequence] / 1e9
            if probe.sequence == sequence and probe.rtt_s is None:
                probe.rtt_s = now - probe.sent_s

    def settled(self, *, now: float) -> list[Probe]:
        """Take the oldest probes whose fate is known, in the order of their numbers."""
        probes: list[Probe] = []
        while self._open and (self._open[0].rtt_s is not None or now - self._open[0].sent_s >= LOST_AFTER):
            probes.append(self._open.popleft())
        return probes
