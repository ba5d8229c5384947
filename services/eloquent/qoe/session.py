"""What one session felt like: its stalls, its late tokens, its length.

Rules of this file (docs/measures.md has the formulas):

- A gap is the time between the renderings of two consecutive tokens. The wait for the first token is not a gap.
- A stall is a gap LONGER than the threshold, and counts in full: docs/adr/0002-a-stall-counts-the-whole-gap.md.
- The tolerance of that comparison is 0. A gap is first rounded to whole nanoseconds, the resolution of the clock, so
  that a gap of exactly 200 ms is no stall whatever the floating point leaves of 0.9 - 0.7.
- `measure` looks at a whole session, `SessionMeter` at one token after the other; both give the same numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from eloquent.units import TO_WHOLE

STALL_THRESHOLD = 0.200  # seconds; a longer gap is a stall (Eloquent §2.2, footnote 2)
TOLERANT_THRESHOLD = 0.210  # seconds; clear of the gap that one lost packet makes at a token every 100 ms
LATE_AFTER = 0.400  # seconds from generation to rendering; a longer delay makes a token late (Eloquent §4.3)
_NANOSECONDS = 1e9  # in a second
TOLERANT_LATE_AFTER = 0.390  # seconds; clear of the delay of a token that comes with the third packet, likewise


@dataclass(frozen=True, slots=True)
class SessionMeasures:
    """The sums of one session, from which ratios over many sessions are made.

    Attributes:
        tokens: Tokens rendered.
        stalls: Gaps longer than the threshold.
        stall_s: Their length in seconds, from rendering to rendering.
        excess_s: What of it exceeds the threshold, in seconds.
        stream_s: Seconds from the first to the last rendering.
        late_tokens: Tokens rendered too long after they were generated.
        timed_tokens: Tokens whose time of generation is known: the only ones that can be found late.
    """

    tokens: int
    stalls: int
    stall_s: float
    excess_s: float
    stream_s: float
    late_tokens: int
    timed_tokens: int


@dataclass(frozen=True, slots=True)
class Rendering:
    """What one more token adds to a session.

    Attributes:
        gap_s: Seconds since the token before it was rendered; None for the first one.
        stall_s: The gap where it is a stall, otherwise 0.
        excess_s: What of the stall exceeds the threshold.
        late: Whether the token is late; None where its time of generation is not known.
    """

    gap_s: float | None
    stall_s: float
    excess_s: float
    late: bool | None


class SessionMeter:
    """Measure a session while it runs, one token at a time, in constant memory.

    Args:
        threshold: Longest gap that is no stall, in seconds.
        late_after: Longest delay from generation to rendering that is not late, in seconds.
    """

    def __init__(self, *, threshold: float = STALL_THRESHOLD, late_after: float = LATE_AFTER) -> None:
        self._threshold = threshold
        self._late_after = late_after
        self._first_s: float | None = None
        self._last_s = 0.0
        self._tokens = self._stalls = self._late = self._timed = 0
        self._stall_s = self._excess_s = 0.0

    def add(self, *, rendered_s: float, generated_s: float | None = None) -> Rendering:
        """Count one rendered token.

        Args:
            rendered_s: When it was rendered, on the clock of the session, in seconds; not before the token ahead of it.
            generated_s: When it was generated, on the same clock, where that is known.

        Returns:
            What this token adds to the sums.

        Raises:
            ValueError: The clock ran backwards.
        """
        gap = stall = excess = 0.0
        if self._first_s is None:
            self._first_s = rendered_s
        else:
            gap = elapsed(self._last_s, rendered_s)
            if gap > self._threshold:
                stall, excess = gap, gap - self._threshold
        late = None if generated_s is None else _seconds(generated_s, rendered_s) > self._late_after
        first, self._last_s = self._tokens == 0, rendered_s
        self._tokens += 1
        self._stalls += stall > 0
        self._stall_s += stall
        self._excess_s += excess
        self._timed += late is not None
        self._late += late is True
        return Rendering(gap_s=None if first else gap, stall_s=stall, excess_s=excess, late=late)

    def measures(self) -> SessionMeasures:
        """Return the sums so far."""
        return SessionMeasures(
            tokens=self._tokens,
            stalls=self._stalls,
            stall_s=self._stall_s,
            excess_s=self._excess_s,
            stream_s=0.0 if self._first_s is None else elapsed(self._first_s, self._last_s),
            late_tokens=self._late,
            timed_tokens=self._timed,
        )


def gaps(rendered_s: Sequence[float]) -> list[float]:
    """Return the seconds between consecutive renderings, rounded to whole nanoseconds.

    Args:
        rendered_s: When each token was rendered, in order, in seconds.

    Raises:
        ValueError: The clock ran backwards.
    """
    lengths = [  # as `elapsed` has it, but faster
        ((after - before) * _NANOSECONDS + TO_WHOLE - TO_WHOLE) / _NANOSECONDS
        for before, after in pairwise(rendered_s)
        if before <= after
    ]
    if len(lengths) < len(rendered_s) - 1:
        return [elapsed(before, after) for before, after in pairwise(rendered_s)]
    return lengths


def measure(
    rendered_s: Sequence[float],
    generated_s: Sequence[float | None],
    *,
    threshold: float = STALL_THRESHOLD,
    late_after: float = LATE_AFTER,
) -> SessionMeasures:
    """Measure a whole session (Eloquent §2.2 and §4.1; docs/measures.md).

    Args:
        rendered_s: When each token was rendered, in order, in seconds.
        generated_s: When each was generated, on the same clock; None where that is not known.
        threshold: Longest gap that is no stall, in seconds.
        late_after: Longest delay from generation to rendering that is not late, in seconds.

    Raises:
        ValueError: The two sequences differ in length, or the clock ran backwards.
    """
    stalls = [gap for gap in gaps(rendered_s) if gap > threshold]
    delays = [
        _seconds(generated, rendered)
        for generated, rendered in zip(generated_s, rendered_s, strict=True)
        if generated is not None
    ]
    return SessionMeasures(
        tokens=len(rendered_s),
        stalls=len(stalls),
        stall_s=sum(stalls),
        excess_s=sum(gap - threshold for gap in stalls),
        stream_s=elapsed(rendered_s[0], rendered_s[-1]) if rendered_s else 0.0,
        late_tokens=sum(delay > late_after for delay in delays),
        timed_tokens=len(delays),
    )


def elapsed(before: float, after: float) -> float:
    """Return the seconds between two instants of one process, rounded to whole nanoseconds.

    Raises:
        ValueError: The clock ran backwards.
    """
    seconds = _seconds(before, after)
    if not seconds >= 0:
        raise ValueError(f"the clock ran backwards: from {before} s to {after} s")
    return seconds


def _seconds(before: float, after: float) -> float:
    """Return the seconds between two instants at the resolution of the clock, one nanosecond; of more than 26 days, a few.

    Much faster than `round(seconds, 9)`, and the same but for ties.
    """
    return ((after - before) * _NANOSECONDS + TO_WHOLE - TO_WHOLE) / _NANOSECONDS
