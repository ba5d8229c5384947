"""From sessions to figures: ratios of sums, percentiles, and the interval in which a ratio lies.

A ratio over sessions is the ratio of the sums, never the mean of the sessions' ratios: a second of waiting weighs the
same in a short session as in a long one. A figure that nothing was measured for is None, never 0.
"""

from collections.abc import Sequence
from math import cos, floor, pi, sin, sqrt, tan

Measured = tuple[float, float]
"""Numerator and denominator of one session."""

# Student's t of 2 sessions is 12.7: their interval is right as often as it says, but spans most of 0..1 and tells nothing.
FEWEST_SESSIONS = 3


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float | None:
    """Return the ratio of two sums, or None where the lower one is 0.

    Args:
        numerators: The upper quantity of each session, such as its stall seconds.
        denominators: The lower quantity of each session, such as its stream seconds.
    """
    total = sum(denominators)
    return sum(numerators) / total if total > 0 else None


def share_interval(
    numerators: Sequence[float], denominators: Sequence[float], *, level: float = 0.95
) -> tuple[float, float] | None:
    """Return the interval in which a ratio of sums lies that cannot leave 0..1, such as a share of time.

    The ratio's deviation is nearly the mean of the sessions' residuals (numerator - ratio x denominator) over the mean
    denominator, so Student's t gives its interval (docs/measures.md has the formula and the measured coverage).

    Source: Cochran, Sampling Techniques (3rd ed. 1977), chapter 6.

    Args:
        numerators: The upper quantity of each session.
        denominators: The lower quantity of each session, in the same order.
        level: How often such intervals are to hold the truth, 0..1.

    Returns:
        Its lower and upper end, or None for fewer than FEWEST_SESSIONS, which say too little of how sessions differ.
    """
    centre = ratio(numerators, denominators)
    if centre is None or len(numerators) < FEWEST_SESSIONS:
        return None
    total = sum(denominators)
    residuals = [(above - centre * below) / total for above, below in zip(numerators, denominators, strict=True)]
    reach = _reach(residuals, level)
    return max(0.0, centre - reach), min(1.0, centre + reach)


def relative_ratio(
    pairs: Sequence[tuple[Measured, Measured]], *, level: float = 0.95
) -> tuple[float, tuple[float, float] | None] | None:
    """Return a ratio of sums over another one, and the interval in which that lies, from sessions in pairs.

    What both sessions of a pair met alike, such as the losses of their link, leaves no doubt about their comparison.

    Args:
        pairs: Numerator and denominator of a session, and those of its counterpart in the baseline.
        level: How often such intervals are to hold the truth, 0..1.

    Returns:
        The ratio over the baseline's, and its lower (0 or more) and upper end, which are None for fewer than FEWEST_SESSIONS pairs;
        None where a ratio is not known or the baseline's is 0.
    """
    above, below = sum(ours[0] for ours, _ in pairs), sum(ours[1] for ours, _ in pairs)
    base_above, base_below = sum(base[0] for _, base in pairs), sum(base[1] for _, base in pairs)
    if min(below, base_above, base_below) <= 0:
        return None
    centre = above * base_below / (below * base_above)
    if len(pairs) < FEWEST_SESSIONS:
        return centre, None
    residuals = [
        ours[0] / below * base_below / base_above
        + centre * (base[1] / base_below - base[0] / base_above - ours[1] / below)
        for ours, base in pairs
    ]
    reach = _reach(residuals, level)
    return centre, (max(0.0, centre - reach), centre + reach)


def students_t(level: float, freedom: int) -> float:
    """Return the value that Student's t stays within, either side of 0, with a probability of `level`.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 26.7.3 and 26.7.4.

    Args:
        level: The probability, 0 up to but not 1.
        freedom: Degrees of freedom, from 1.
    """
    low, high = 0.0, pi / 2
    for _ in range(60):  # halvings, down to the last digits of a float
        angle = (low + high) / 2
        if _probability_within(angle, freedom) < level:
            low = angle
        else:
            high = angle
    return tan(low) * sqrt(freedom)


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the value below which a share of the values lies, interpolated linearly between neighbours.

    Args:
        values: The sample, in any order.
        share: 0 for the smallest, 0.5 for the median, 1 for the largest.

    Returns:
        The percentile, or None for an empty sample.
    """
    return _interpolate(sorted(values), share) if values else None


def redundancy_rate(original_bytes: int, redundant_bytes: int) -> float | None:
    """Return the data sent beyond the original tokens over the original tokens (Eloquent §4.1).

    Args:
        original_bytes: Bytes of token content, each token counted once.
        redundant_bytes: Bytes of token content sent again, retransmissions included.

    Returns:
        The rate, 0 or more, or None where nothing was sent.
    """
    return redundant_bytes / original_bytes if original_bytes > 0 else None


def _interpolate(ordered: Sequence[float], share: float) -> float:
    position = share * (len(ordered) - 1)
    below = floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def _reach(residuals: Sequence[float], level: float) -> float:
    """Return how far the interval reaches to either side, from the sessions' parts of the deviation."""
    count = len(residuals)
    error = sqrt(sum(residual**2 for residual in residuals) * count / (count - 1))
    return students_t(level, count - 1) * error


def _probability_within(angle: float, freedom: int) -> float:
    """Return the probability that Student's t lies within tan(angle) x sqrt(freedom) of 0."""
    term, total = (cos(angle), 0.0) if freedom % 2 else (1.0, 0.0)
    for power in range(freedom % 2, freedom - 1, 2):
        total += term
        term *= cos(angle) ** 2 * (power + 1) / (power + 2)
    return (angle + sin(angle) * total) * 2 / pi if freedom % 2 else sin(angle) * total
