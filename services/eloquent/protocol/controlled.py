"""A sender under the control of its path's congestion: it is asked only when there is room, and told how much.

Rules of this file
- Redundancy takes only the room that is there, so that it goes first; new tokens wait when there is none, and go together later.
- Where there is a grid, all that it sends leaves at instants of it: of when a token came, an onlooker sees the step.
- That a fragment is acknowledged for the first time, and none after it was before, tells of the datagram that it left with: the
  first one, unless there was one since without anything new.
"""

import math
from collections import deque
from collections.abc import Callable

from eloquent.protocol.congestion import CongestionController
from eloquent.protocol.contract import Event, StreamAccount, StreamSender
from eloquent.protocol.datagram import MAX_DATAGRAM, PAYLOAD_BUDGET
from eloquent.protocol.sender import IP_UDP_HEADERS, Sender

_ROUNDING = 1e-6  # steps of a grid
FRAME = MAX_DATAGRAM - PAYLOAD_BUDGET  # bytes that a datagram has around a payload, at most
STREAM_LIMIT = 128 * 1024  # bytes of one stream under way: a receiver keeps four times as many beyond a gap


class ControlledSender:
    """A sender that shares a path with others.

    Args:
        sender: The sender.
        congestion: The controller of the path.
        wire_size: Tells how many bytes of UDP payload a datagram takes, where more goes out than the datagram itself.
        grid: Seconds between the instants at which datagrams leave; 0 lets them leave at once.

    Attributes:
        held: Whether it may have more to send than there was room for.
    """

    def __init__(
        self,
        sender: Sender,
        congestion: CongestionController,
        *,
        wire_size: Callable[[bytes], int] = len,
        grid: float = 0.0,
    ) -> None:
        self.held = False
        self._sender = sender
        self._sender.flight_limit = STREAM_LIMIT
        self._congestion = congestion
        self._wire_size = wire_size
        self._grid = grid
        self._wanted_at: float | None = None  # seconds; the instant of the grid at which there is something to see to
        self._instant: float | None = None  # seconds; the one that has come
        self._latest = 0.0  # seconds; when it was told something last
        self._departures: deque[tuple[int, float]] = deque()  # fragments that were sent until then, and seconds
        self._repeated_at = float("-inf")  # seconds; when it last sent something without anything new
        self._lost_from = float("-inf")  # seconds
        self._heard = 0  # fragments, up to the highest that was acknowledged

    @property
    def backlog(self) -> int:
        """Fragments that the peer has not acknowledged, sent or not."""
        return self._sender.backlog

    @property
    def account(self) -> StreamAccount:
        """What the stream has cost so far."""
        return self._sender.account

    def send_token(self, token: bytes, *, now: float) -> None:
        """Queue one token (`Sender.send_token`)."""
        self._latest = now
        self._sender.send_token(token, now=now)

    def finish(self, *, trailer: bytes = b"", now: float) -> None:
        """End the stream after the tokens queued so far (`Sender.finish`)."""
        self._latest = now
        self._sender.finish(trailer=trailer, now=now)

    def receive_datagram(self, data: bytes, *, now: float) -> None:
        """Take an acknowledgement, and tell the controller what it says of the path.

        Raises:
            RemoteProtocolError: It is malformed, not an acknowledgement, or of something never sent.
        """
        self._latest = now
        self._sender.receive_datagram(data, now=now)
        self._congestion.heard(now=now)
        self._tell_arrival(now)
        if not self._sender.outstanding:
            self._congestion.rests(self)

    def _tell_arrival(self, now: float) -> None:
        if self._sender.acked_to <= self._heard:
            return
        self._heard = self._sender.acked_to
        while self._departures[0][0] < self._heard:
            self._departures.popleft()
        sent_at = self._departures[0][1]
        self._congestion.arrived(sent_at, certain=self._repeated_at <= sent_at, now=now)

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Hand over what is to be sent now and has room."""
        if self._grid:
            if self._instant is None:
                self._wanted_at = self._snap(now) if self._wanted_at is None else self._wanted_at
                self.held = False
                return []
            now, self._instant, self._wanted_at = self._instant, None, None
        room = self._congestion.room(now)
        datagrams = self._ask(room, now) if room > 0 else []
        self.held = self._sender.room <= 0 if room > 0 else True
        return datagrams

    def _ask(self, room: float, now: float) -> list[bytes]:
        self._sender.room = room
        sent = self._sender.sent
        datagrams = self._sender.datagrams_to_send(now=now)
        if self._sender.sent > sent:
            self._departures.append((self._sender.sent, now))
        elif datagrams:
            self._repeated_at = now
        if self._sender.lost_from > self._lost_from:
            self._lost_from = self._sender.lost_from
            self._congestion.lost(self._lost_from, now=now)
        for data in datagrams:
            size = self._wire_size(bytes(len(data) + FRAME)) + IP_UDP_HEADERS  # its frame is not made yet
            self._congestion.sent(size, telling=self._sender.sent > sent, now=now)
        if datagrams:
            self._congestion.awaits(self, now=now)
        return datagrams

    def get_timer(self) -> float | None:
        """Return the instant at which something is to be sent, or given up, or None; while it is held its session knows."""
        if self._wanted_at is not None:
            return self._wanted_at
        timer = None if self.held else self._sender.get_timer()
        return timer if timer is None or not self._grid else self._snap(timer)

    def _snap(self, instant: float) -> float:
        """Return the first instant of the grid that is not before this one."""
        return math.ceil(instant / self._grid - _ROUNDING) * self._grid if math.isfinite(instant) else instant

    def handle_timer(self, *, now: float) -> None:
        """Mark what is due, or give up."""
        due = self.get_timer() if self._grid else None
        if (
            due is not None and now >= due
        ):  # that instant, however late it is looked at: the next one is whole steps away
            instant = max(math.floor(now / self._grid + _ROUNDING) * self._grid, self._latest)
            wanted = self._sender.get_timer()
            if wanted is not None and instant < wanted <= instant + _ROUNDING * self._grid:
                instant = wanted  # which rounding has put a hair beyond the instant
            now = self._instant = instant
        self._sender.handle_timer(now=now)
        if not self._sender.outstanding:
            self._congestion.rests(self)

    def leave_path(self) -> None:
        """Wait for nothing any more."""
        self._congestion.rests(self)

    def next_event(self) -> Event | None:
        """Return the oldest event that was not yet taken, or None."""
        return self._sender.next_event()


def leave_path(sender: StreamSender | None) -> None:
    """Have a sender that is dropped, if it shares a path, wait for nothing there any more."""
    if isinstance(sender, ControlledSender):
        sender.leave_path()


def control(
    sender: StreamSender,
    congestion: CongestionController,
    *,
    wire_size: Callable[[bytes], int] = len,
    grid: float = 0.0,
) -> StreamSender:
    """Return a sender under the control of its path, or as it is where it has a window of its own, like the model of TCP."""
    return (
        ControlledSender(sender, congestion, wire_size=wire_size, grid=grid) if isinstance(sender, Sender) else sender
    )
