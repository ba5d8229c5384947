"""What both sides of a session share: numbering, framing, and the queues of datagrams and events.

Rules of this file
- A datagram speaks of one stream, so that the loss of one delays no other stream.
- Only streams that were touched since the last `datagrams_to_send` are asked for datagrams, in the order of touching, and
  for their timers: what others wait for costs a datagram nothing. Those that the path had no room for are asked first, as far
  as there is room again; until then they have no timers of their own, but one together.
- Once closed, a session sends what was queued, ignores what comes, and has no timer.
"""

from abc import ABC, abstractmethod
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from eloquent.errors import RemoteProtocolError
from eloquent.protocol.congestion import CongestionController, Recent
from eloquent.protocol.contract import StreamSender
from eloquent.protocol.controlled import ControlledSender
from eloquent.protocol.datagram import Body, Datagram, decode_datagram, encode_datagram, kind_name
from eloquent.protocol.rtt import RttEstimator
from eloquent.protocol.scheme import Scheme
from eloquent.protocol.timer_queue import TimerQueue

MAX_GONE = 1024  # streams remembered when they are over, so that late datagrams are answered rightly
SILENCE_LIMIT = 40.0  # seconds without a datagram while one is due, after which a session is lost; as for a stream

SchemeLookup = Callable[[str], Scheme]
"""Takes a scheme's name and returns it, or raises ConfigurationError."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Tally:
    """Datagrams by kind, as `kind_name` says it.

    Attributes:
        sent: Handed over to be sent.
        received: Taken, without what was refused with an error.
    """

    sent: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class PathView:
    """What a session knows of its path.

    Attributes:
        rtt: Seconds, smoothed; None before something was acknowledged.
        window: Bytes that may be under way.
        cuts: How often the window was cut.
        is_limited: Whether it held something back in the latest round trip.
    """

    rtt: float | None
    window: float
    cuts: int
    is_limited: bool


class SessionBase(ABC):
    """One side of a session.

    Args:
        connection_id: 8 bytes that name the session.
        tally: Where its datagrams are counted, alone or with those of other sessions.
        least_rtt: As for `CongestionController`.

    Attributes:
        connection_id: The same.
        tally: The same, or one of its own.
    """

    def __init__(self, connection_id: bytes, tally: Tally | None = None, least_rtt: Recent | None = None) -> None:
        self.connection_id = connection_id
        self.tally = Tally() if tally is None else tally
        self._closed = False
        self._number = 0  # of the next datagram
        self._highest = 0  # number that came from the peer
        self._last_heard: float | None = None  # seconds
        self._control: list[Body] = []
        self._touched: dict[int, None] = {}  # stream ids, in order
        self._held: OrderedDict[int, None] = OrderedDict()  # streams without room on the path, who waits longest first
        self._room_at = 0.0  # seconds; when there is room again, meaningful while some are held
        self._stream_timers: TimerQueue[int] = TimerQueue()  # by stream id
        self._rtt = RttEstimator()  # one path, shared by all streams
        self._congestion = CongestionController(least_rtt)  # likewise

    @property
    def closed(self) -> bool:
        """Whether the session is over (closed by either side, refused, idle or lost)."""
        return self._closed

    @property
    def rtt(self) -> float | None:
        """Seconds; the smoothed round-trip time, or None before something was acknowledged."""
        return self._congestion.rtt if self._rtt.smoothed is None else self._rtt.smoothed

    def view_path(self, *, now: float) -> PathView:
        """Return what is known of the path."""
        congestion = self._congestion
        return PathView(self.rtt, congestion.window, congestion.cuts, congestion.is_limited(now))

    def receive_datagram(self, data: bytes, *, now: float) -> None:
        """Take one datagram from the peer.

        Raises:
            RemoteProtocolError: It is malformed, of another session, or breaks the protocol; nothing has changed.
        """
        self.receive(decode_datagram(data), now=now)

    def receive(self, datagram: Datagram, *, now: float) -> None:
        """Take one datagram that is decoded already, as by who found out for which session it is.

        Raises:
            RemoteProtocolError: It is of another session, or breaks the protocol; nothing has changed.
        """
        if datagram.connection_id != self.connection_id:
            raise RemoteProtocolError("a datagram of another session")
        if self._closed:
            return
        self._handle(datagram, now)
        self.tally.received[kind_name(datagram.body)] += 1
        self._highest = max(self._highest, datagram.number)
        self._last_heard = now
        self._congestion.spoken()

    def note_life(self) -> None:
        """Note that the peer was heard of, if not by a datagram of this session."""
        self._congestion.spoken()

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Hand over what is to be sent now, in order."""
        if not (self._control or self._touched or self._held):
            return []
        datagrams = self._take_control()
        touched, self._touched = self._touched, {}
        served: list[int] = []
        if self._held:
            is_time = now >= self._room_at or self._congestion.is_silent(now)
            for _ in range(len(self._held)):
                if self._congestion.room(now) <= 0:
                    break
                stream_id, _ = self._held.popitem(last=False)
                touched.pop(stream_id, None)
                if is_time:
                    self._handle_stream_timer(stream_id, now)
                datagrams += self._ask(stream_id, served, now)
        for stream_id in touched:
            datagrams += self._ask(stream_id, served, now)
        for stream_id in served:  # whoever had a turn waits behind those who had none
            self._held.move_to_end(stream_id)
        if self._held:
            self._room_at = self._congestion.next_room(now)
        return datagrams + self._take_control() if self._control else datagrams

    def _take_control(self) -> list[bytes]:
        """Return what is to be said of no stream that is open."""
        if not self._control:
            return []
        datagrams = [self._frame(body) for body in self._control]
        self._control.clear()
        return datagrams

    def _ask(self, stream_id: int, served: list[int], now: float) -> list[bytes]:
        """Return what a stream has to send, set its timer, and note it among those served if it has more."""
        sent = self._stream_datagrams(stream_id, now)
        self._stream_timers.set(stream_id, self._stream_timer(stream_id))
        if sent and stream_id in self._held:
            served.append(stream_id)
        return sent

    def get_timer(self) -> float | None:
        """Return the instant at which `handle_timer` wants to be called, or None."""
        if self._closed:
            return None
        due = min(self._timers(), default=None)
        first = self._stream_timers.first()
        if self._held and due is not None:
            first = self._room_at if first is None else min(first, self._room_at)
        return due if first is None or due is None else min(due, first)

    @abstractmethod
    def handle_timer(self, *, now: float) -> None:
        """Do what is due at `now`."""

    @abstractmethod
    def _handle(self, datagram: Datagram, now: float) -> None:
        """Act on a datagram; raise RemoteProtocolError before anything has changed."""

    @abstractmethod
    def _stream_datagrams(self, stream_id: int, now: float) -> list[bytes]:
        """Return the framed datagrams of a touched stream, which may be over by now."""

    @abstractmethod
    def _stream_timer(self, stream_id: int) -> float | None:
        """Return the instant at which a stream, which may be over by now, wants something, or None."""

    @abstractmethod
    def _handle_stream_timer(self, stream_id: int, now: float) -> None:
        """Do what is due of a stream, which may be over by now; what it has to send is asked for after that."""

    def _handle_stream_timers(self, now: float) -> None:
        while (stream_id := self._stream_timers.pop(now)) is not None:
            self._handle_stream_timer(stream_id, now)
            self._touch(stream_id)

    @abstractmethod
    def _timers(self) -> list[float]:
        """Return every instant at which something is due but for streams; none means that nothing of them is due either."""

    def _frame(self, body: Body) -> bytes:
        datagram = encode_datagram(Datagram(self.connection_id, self._number, body))
        self._number += 1
        self.tally.sent[kind_name(body)] += 1
        return datagram

    def _touch(self, stream_id: int) -> None:
        self._touched[stream_id] = None

    def _forget_timers(self, stream_id: int) -> None:
        """Have nothing due for a stream that is over."""
        self._stream_timers.set(stream_id, None)
        self._held.pop(stream_id, None)

    def _note_held(self, stream_id: int, sender: StreamSender | None) -> None:
        """Have a stream asked again before others, if there was no room for what its sender has."""
        if isinstance(sender, ControlledSender) and sender.held:
            self._held[stream_id] = None


def remember(memory: "OrderedDict[int, Value]", stream_id: int, value: Value) -> int:
    """Note a stream that is over, and forget the oldest beyond `MAX_GONE`.

    Returns:
        1 + the id that was forgotten, or 0.
    """
    memory[stream_id] = value
    return memory.popitem(last=False)[0] + 1 if len(memory) > MAX_GONE else 0
