"""How much went on at once: sessions that were open, and tokens a second."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """What was going on in a window of time.

    Attributes:
        mean: Open sessions, the mean over time.
        peak: Open sessions at the busiest instant.
        tokens_per_s: Tokens rendered a second.
    """

    mean: float
    peak: int
    tokens_per_s: float


def concurrency(
    sessions: Sequence[tuple[float, float]], rendered_s: Sequence[float], *, window: tuple[float, float]
) -> Concurrency | None:
    """Count what went on at once.

    Args:
        sessions: When each session began and ended, in seconds.
        rendered_s: When each token was rendered, in seconds.
        window: First and last instant that count, in seconds.

    Returns:
        The counts; None where the window has no length.
    """
    first, last = window
    length = last - first
    if not length > 0:
        return None
    open_s, steps = 0.0, []
    for began, ended in sessions:
        begin, end = max(began, first), min(ended, last)
        if begin < end:
            open_s += end - begin
            steps += [(begin, 1), (end, -1)]
    now = peak = 0
    for _, step in sorted(steps):  # at one instant, ends come first
        now += step
        peak = max(peak, now)
    tokens = sum(first <= at <= last for at in rendered_s)
    return Concurrency(mean=open_s / length, peak=peak, tokens_per_s=tokens / length)
