"""Whether two groups of sessions differ by more than chance, for many measures at once: a permutation test.

Rules of this file:

- A unit is one client in one round, with all its schemes: they shared a link, so they stay together. If it makes no difference
  which run a unit came from, then any other assignment of the units to the two runs was as likely as the real one. A p-value is
  the share of the assignments whose largest |t| over all measures reaches the |t| of the measure in question: so the probability
  that any measure at all of a comparison is called different by mere chance is at most the level (Westfall and Young,
  Resampling-Based Multiple Testing, 1993, the single-step max-T procedure).
- Where the units of the two runs are pairs, an assignment swaps some of them; else it deals all units out anew.
- Every assignment is tried where there are few enough, else a fixed number of them is drawn from a fixed seed.
- t is a difference of ratios of sums over its standard error, with the ratios linearised as in `qoe.ratios`.
- A unit that has nothing of a measure has 0 in both sums, and weighs nothing.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eloquent.qoe.ratios import students_t

Array = NDArray[np.float64]

LEVEL = 0.05
MOST_ASSIGNMENTS = 4096  # beyond which they are drawn
DRAWN = 9999
SEED = 1
_CHUNK = 256  # assignments at once, for memory
_ROUNDING = 1e-9  # relative; what floating point leaves of equal values is less


@dataclass(frozen=True, slots=True)
class Units:
    """The sums of one run.

    Attributes:
        above: Upper quantity of each unit and measure, shape (units, measures).
        below: Lower quantity of each, in the same shape; 0 where the unit has nothing of the measure.
    """

    above: Array
    below: Array


@dataclass(frozen=True, slots=True)
class PermutationResult:
    """What came of each measure; every array has one number a measure.

    Attributes:
        first: Ratio of the first run.
        second: Ratio of the second.
        low: Lower end of the 95 % interval of second - first; NaN where it has none.
        high: Its upper end.
        p: The p-value, which allows for the number of measures.
        attainable: The least p-value that any data could have had with so many units.
    """

    first: Array
    second: Array
    low: Array
    high: Array
    p: Array
    attainable: float


def compare_pairs(first: Units, second: Units) -> PermutationResult:
    """Compare two runs whose units are pairs.

    Args:
        first: Sums of the first run.
        second: Sums of the second, its unit k being the counterpart of unit k of the first.
    """
    both = (first.below > 0) & (second.below > 0)  # a unit counts where both runs have it
    above, below = np.stack([first.above, second.above]) * both, np.stack([first.below, second.below]) * both
    count = len(first.above)

    def assign(swaps: NDArray[np.bool_]) -> _Estimate:
        swap = swaps[None, :, :, None]
        return _paired(
            np.where(swap, above[::-1, None], above[:, None]), np.where(swap, below[::-1, None], below[:, None])
        )

    real = np.zeros((1, count), dtype=bool)
    tops = [assign(swaps).largest() for swaps in _swaps(count)]
    return _outcome(assign(real), tops, attainable=2.0 ** (1 - count))


def compare_groups(first: Units, second: Units) -> PermutationResult:
    """Compare two runs whose units have nothing to do with each other.

    Args:
        first: Sums of the first run.
        second: Sums of the second; the number of units may differ.
    """
    count, total = len(first.above), len(first.above) + len(second.above)
    above, below = np.concatenate([first.above, second.above]), np.concatenate([first.below, second.below])
    real = np.arange(total)[None, :] < count
    tops = [_grouped(above, below, chosen).largest() for chosen in _deals(total, count)]
    return _outcome(_grouped(above, below, real), tops, attainable=1 / math.comb(total, count))


@dataclass(frozen=True, slots=True)
class _Estimate:
    """Both ratios, the standard error of their difference and its degrees of freedom, each (assignments, measures)."""

    first: Array
    second: Array
    error: Array
    freedom: Array

    def t(self) -> Array:
        """Return |t|; 0 where nothing differs or nothing was measured, infinite where no unit leaves any doubt."""
        scale = _ROUNDING * np.maximum(np.abs(self.first), np.abs(self.second))
        difference = np.abs(self.second - self.first)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.where(self.error > scale, difference / self.error, np.inf)
        return np.where((difference > scale) & ~np.isnan(found), found, 0.0)

    def largest(self) -> Array:
        """Return the largest |t| of each assignment."""
        return np.asarray(self.t().max(axis=-1))


def _paired(above: Array, below: Array) -> _Estimate:
    """Estimate from sums of the shape (2 runs, assignments, units, measures)."""
    ratios, residuals, known = _linearised(above, below)
    squares = ((residuals[1] - residuals[0]) ** 2).sum(axis=-2)
    freedom = known[0] - 1
    return _Estimate(ratios[0], ratios[1], _error(squares, freedom), freedom)


def _grouped(above: Array, below: Array, chosen: NDArray[np.bool_]) -> _Estimate:
    """Estimate from sums of the shape (units, measures) and who is of the first run, (assignments, units)."""
    mine = np.stack([chosen, ~chosen])[..., None]
    ratios, residuals, known = _linearised(above * mine, below * mine)
    parts = _error((residuals**2).sum(axis=-2), known - 1) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):  # Welch and Satterthwaite's degrees of freedom
        freedom = parts.sum(axis=0) ** 2 / (parts**2 / (known - 1)).sum(axis=0)
    least = known.min(axis=0) - 1
    freedom = np.where(np.isnan(freedom), least, np.maximum(freedom, least))
    return _Estimate(ratios[0], ratios[1], np.sqrt(parts.sum(axis=0)), freedom)


def _linearised(above: Array, below: Array) -> tuple[Array, Array, Array]:
    """Return the ratios of sums over the units (axis -2), each unit's part in their deviation, and how many have a part."""
    total = below.sum(axis=-2, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = above.sum(axis=-2, keepdims=True) / total
        residuals = (above - ratios * below) / total
    return ratios[..., 0, :], residuals, (below > 0).sum(axis=-2).astype(np.float64)


def _error(squares: Array, freedom: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.sqrt(squares * (freedom + 1) / freedom))


def _swaps(count: int) -> Iterator[NDArray[np.bool_]]:
    """Yield which units are swapped, (assignments, units), in parts."""
    if 2**count <= MOST_ASSIGNMENTS:
        yield (np.arange(2**count)[:, None] >> np.arange(count)[None, :]) & 1 == 1
        return
    rng = np.random.default_rng(SEED)
    yield np.zeros((1, count), dtype=bool)  # the real one is always among them
    for size in _parts():
        yield rng.integers(0, 2, (size, count)) == 1


def _deals(total: int, count: int) -> Iterator[NDArray[np.bool_]]:
    """Yield which of all units go to the first run, (assignments, units), in parts."""
    if math.comb(total, count) <= MOST_ASSIGNMENTS:
        chosen = np.array(list(itertools.combinations(range(total), count)))
        yield (chosen[:, :, None] == np.arange(total)).any(axis=1)
        return
    rng = np.random.default_rng(SEED)
    first = np.arange(total) < count
    yield first[None, :]  # the real one is always among them
    for size in _parts():
        yield rng.permuted(np.tile(first, (size, 1)), axis=1)


def _parts() -> Iterator[int]:
    for done in range(0, DRAWN, _CHUNK):
        yield min(_CHUNK, DRAWN - done)


def _outcome(real: _Estimate, tops: list[Array], *, attainable: float) -> PermutationResult:
    largest, t = np.concatenate(tops), real.t()[0]
    p = (largest[:, None] >= t * (1 - _ROUNDING)).mean(axis=0)
    reach = np.array(
        [
            students_t(0.95, int(freedom)) * error if freedom >= 1 else np.nan
            for error, freedom in zip(real.error[0], real.freedom[0], strict=True)
        ]
    )
    difference = real.second[0] - real.first[0]
    return PermutationResult(real.first[0], real.second[0], difference - reach, difference + reach, p, attainable)
