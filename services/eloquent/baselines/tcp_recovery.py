"""How the TCP model repairs losses: the states of a connection, and when a reduction of its window is taken back.

Rules of this file (Linux's `tcp_fastretrans_alert`, `tcp_enter_loss`, `tcp_process_loss`)
- A loss that is found begins a recovery, and a timeout the loss state. Both end when all that had been sent by then is
  acknowledged. A retransmission that is lost turns the loss state into a recovery.
- What was found lost and is under way again still counts as lost: if there is any when a state ends, a recovery begins.
- Each recovery reduces the window once. So does a timeout, but not during a recovery, and not another time before something
  is acknowledged. A tail loss probe that proves to have repaired a loss reduces it too (RFC 8985 §7.4.2).
- A reduction is taken back when D-SACKs have told that each retransmission since then was needless (RFC 3708); after a
  timeout also when something arrives that was sent before it and only once, for then not all was lost (F-RTO, RFC 5682).
- If the first acknowledgement after a timeout brings no such thing, new data goes before what is lost (RFC 5682 §3.1, step 2b).

Left out: that timestamps tell of needless retransmissions (RFC 4015). On a path that keeps the order they do so after a
timeout only, where F-RTO does it, too.
"""

from dataclasses import dataclass, field

from eloquent.baselines.tcp_loss import Reordering
from eloquent.baselines.tcp_window import CongestionWindow, State


@dataclass(slots=True)
class Recovery:
    """What a connection does about losses.

    Attributes:
        window: Its congestion window.
        reordering: What it knows of its path's reordering.
        state: Of congestion control.
        until: Offset whose acknowledgement ends the state.
        new_first: Whether what is lost waits, until the next acknowledgement or timeout.
    """

    window: CongestionWindow
    reordering: Reordering = field(default_factory=Reordering)
    state: State = State.OPEN
    until: int = 0
    new_first: bool = False
    _began_at: int | None = None  # acknowledged offset at the last reduction; None when it cannot be taken back
    _doubtful: int | None = None  # retransmissions since then that may have been needed; None before the first
    _timeout_doubtful: bool = False

    @property
    def repairing(self) -> bool:
        """Whether a loss is being repaired."""
        return self.state is not State.OPEN

    def rest(self) -> None:
        """Learn that all is repaired and the connection was idle; what comes begins at offset 0."""
        if self.state is State.RECOVERY:
            self.window.recovered()
        self.state, self._began_at, self.new_first = State.OPEN, None, False
        self.window.rest()

    def sent_again(self) -> None:
        """Learn of a retransmission other than a tail loss probe."""
        self._doubtful = (self._doubtful or 0) + 1

    def repeated(self, stop: int) -> None:
        """Learn of a D-SACK for something that ends at an offset."""
        if self._began_at is not None and stop > self._began_at and self._doubtful:
            self._doubtful -= 1

    def probe_repaired(self) -> None:
        """Learn that what a tail loss probe repeated had been lost."""
        self.window.reduce()
        self.window.recovered()

    def timed_out(self, *, acked: int, sent_to: int, in_flight: int, sent_again: int, timeouts: int) -> None:
        """Begin the loss state.

        Args:
            acked: Offset below which everything has arrived.
            sent_to: Offset after the last byte that was sent.
            in_flight: Segments that may still be on their way.
            sent_again: Those of them that are retransmissions.
            timeouts: How many there were before since something was acknowledged.
        """
        self._timeout_doubtful = self.state is State.OPEN or timeouts > 0
        if self.state is State.OPEN or (self.state is State.LOSS and not timeouts):
            self._reduce(acked, sent_again)
        self.window.timed_out(in_flight)
        self.state, self.until, self.new_first = State.LOSS, sent_to, False

    def acknowledged(
        self, *, acked: int, advanced: bool, sacked: bool, original: bool, sent_to: int, unsent: bool
    ) -> bool:
        """Take an acknowledgement, before it is known what it shows to be lost.

        Args:
            acked: Offset below which everything has arrived.
            advanced: Whether that grew.
            sacked: Whether something arrived beyond a gap.
            original: Whether something arrived that was sent once, and ends at `until` at the latest.
            sent_to: Offset after the last byte that was sent.
            unsent: Whether there is something new to send.

        Returns:
            Whether a timeout was needless, so that what is taken for lost may be under way.
        """
        self.new_first = False
        if self.state is State.LOSS and self._is_timeout_needless(advanced=advanced, original=original):
            self._undo()
            return True
        if self.repairing and acked >= self.until:
            self._end()
        elif self.state is State.LOSS:
            self._doubt_timeout(advanced=advanced, sacked=sacked, sent_to=sent_to, unsent=unsent)
        elif self._is_needless:
            self.reordering.spared()
            self._undo()
        return False

    def lost(self, *, again: bool, acked: int, sent_to: int, sent_again: int) -> bool:
        """Learn that segments are lost, and return whether a recovery began.

        Args:
            again: Whether retransmissions have just been found lost, or RACK's timer has found it.
            acked: Offset below which everything has arrived.
            sent_to: Offset after the last byte that was sent.
            sent_again: Retransmissions that may still be on their way.
        """
        if self.state is State.OPEN or (self.state is State.LOSS and again):
            self._reduce(acked, sent_again)
            self.state, self.until, self.new_first = State.RECOVERY, sent_to, False
            return True
        return False

    @property
    def _is_needless(self) -> bool:
        return self._began_at is not None and self._doubtful == 0

    def _is_timeout_needless(self, *, advanced: bool, original: bool) -> bool:
        return (advanced and self._is_needless) or (original and self._timeout_doubtful)

    def _doubt_timeout(self, *, advanced: bool, sacked: bool, sent_to: int, unsent: bool) -> None:
        """F-RTO with SACK (RFC 5682 §3.1), until it says that the timeout was needed."""
        if not self._timeout_doubtful:
            return
        if sent_to > self.until:
            self._timeout_doubtful = not sacked
        elif advanced:
            self.new_first = self._timeout_doubtful = unsent

    def _reduce(self, acked: int, sent_again: int) -> None:
        self.window.reduce()
        self._began_at, self._doubtful = acked, sent_again or None

    def _undo(self) -> None:
        self.window.undo()
        self.state, self._began_at = State.OPEN, None

    def _end(self) -> None:
        if self._is_needless:
            self._undo()
            return
        self.reordering.recovered()
        if self.state is State.RECOVERY:
            self.window.recovered()
        self.state = State.OPEN
