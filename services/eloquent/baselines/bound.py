"""What no scheme with the same packets can beat: each packet carries all that is missing, and no feedback is needed.

Only the simulator can carry it, for it learns the fate of each packet at the moment of sending. With `bound` there is one packet
at each token; with `bound-20ms` another one every 20 ms while something is missing. `sim.bound` has the same in closed form.
"""

import re

from eloquent.protocol.frames import DataBuilder
from eloquent.protocol.rtt import RttEstimator
from eloquent.protocol.scheme import Family, Scheme
from eloquent.protocol.sender import Sender
from eloquent.units import parse_duration

TAIL_INTERVAL = 0.1  # seconds between packets when the last token has no next one
SILENCE_INTERVAL = 1.0  # seconds, through a silence of the source
_UNLIMITED = 1 << 30  # bytes of payload


class BoundSender(Sender):
    """A sender that is told by an oracle which of its packets arrive.

    Args:
        interval: Seconds after which a packet follows while something is missing; None to wait for the next token.
    """

    def __init__(self, *, interval: float | None = None) -> None:
        super().__init__(budget=_UNLIMITED)
        self._interval = interval
        self._due = False
        self._last_sent = 0.0

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Return one packet with all that is missing, if there is a new token or a packet is due."""
        new = bool(self._fresh) or self._end_waits
        if self._over or not (new or (self._due and self.outstanding)):
            return []
        builder = DataBuilder(self._budget)
        missing = list(self._unacked.values())
        for fragment in missing:
            builder.add(fragment)
        self._take_new(builder)
        if self._end is not None and self._end_sent and builder.end is None:
            builder.add_end(self._end)
        if not self.outstanding or not missing:
            self._silent_since = now
        payload = builder.build()
        self._count(payload, sum(len(fragment.data) for fragment in missing))
        self._last_sent, self._due = now, False
        return [payload]

    def learn_fate(self, *, arrives: bool, now: float) -> None:
        """Learn whether the packet that has just been sent will arrive.

        Args:
            arrives: Whether it will.
            now: Seconds.
        """
        if arrives:
            self._silent_since = now
            self._flight = 0
            self._unacked.clear()
            self._end_acked = self._end_sent

    def _next_deadline(self) -> float:
        spare = TAIL_INTERVAL if self._end_sent else SILENCE_INTERVAL
        return self._last_sent + (spare if self._interval is None else self._interval)

    def _deadline_passed(self, now: float) -> None:  # noqa: ARG002 - the base gives the time to each call
        self._due = True

    def _acknowledged(self, newly: list[int], *, end: bool, now: float) -> None:
        """Nothing is new: the oracle was faster."""


def _build(match: re.Match[str]) -> Scheme:
    interval = None if match["interval"] is None else parse_duration(match["interval"])

    def make_sender(budget: int, rtt: RttEstimator) -> Sender:  # noqa: ARG001 - an oracle needs neither
        return BoundSender(interval=interval)

    return Scheme(match[0], "bound", make_sender)


FAMILY = Family("bound[-INTERVAL]", re.compile(r"bound(?:-(?P<interval>\d+(?:\.\d+)?ms))?"), _build, "bound")
