"""From sessions to figures: ratios of sums, percentiles, and the interval in which a ratio lies.

A ratio over sessions is the ratio of the sums, never the mean of the sessions' ratios: a second of waiting weighs the
same in a short session as in a long one. A figure that nothing was measured for is None, never 0.
"""

from collections.abc import Sequence
from math import floor
from random import Random

RESAMPLES = 2000  # enough for the second digit of a 95 % interval, and done in a tenth of a second for 30 sessions


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float | None:
    """Return the ratio of two sums, or None where the lower one is 0.

    Args:
        numerators: The upper quantity of each session, such as its stall seconds.
        denominators: The lower quantity of each session, such as its stream seconds.
    """
    total = sum(denominators)
    return sum(numerators) / total if total > 0 else None


def ratio_interval(
    numerators: Sequence[float],
    denominators: Sequence[float],
    *,
    seed: int,
    level: float = 0.95,
    resamples: int = RESAMPLES,
) -> tuple[float, float] | None:
    """Return the percentile bootstrap interval of a ratio of sums, by drawing whole sessions.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.

    Args:
        numerators: The upper quantity of each session.
        denominators: The lower quantity of each session, in the same order.
        seed: Seed of the draws; one seed gives one interval.
        level: Share of the resampled ratios inside the interval, 0..1.
        resamples: How often to draw as many sessions as there are, with replacement.

    Returns:
        Its lower and upper end, or None for fewer than two sessions, which say nothing of how sessions differ.
    """
    pairs = list(zip(numerators, denominators, strict=True))
    if len(pairs) < 2:
        return None
    rng = Random(f"eloquent bootstrap 1|{seed}")
    ratios = []
    for _ in range(resamples):
        drawn = rng.choices(pairs, k=len(pairs))
        below = sum(pair[1] for pair in drawn)
        if below > 0:
            ratios.append(sum(pair[0] for pair in drawn) / below)
    if not ratios:
        return None
    tail = (1 - level) / 2
    ratios.sort()
    return _interpolate(ratios, tail), _interpolate(ratios, 1 - tail)


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
