"""What no scheme can beat: with packets at even distances, exactly and on any channel; and with the packets of a session.

With even distances it is the stall ratio when each packet carries all that is missing. The renderings of such a scheme are the
arrivals of its packets, so the gaps follow from the channel's Markov chain alone, whatever the round-trip time. Per step (the
interval between two packets) let P be the chain's transition matrix, R the diagonal matrix of the probability that this step
renders something and N that it does not. In the long run, with the stationary distribution p,

    f(d) = p R (P N)^(d-1) P R 1

is the share of the steps that begin a gap of d steps, and the sum of d f(d) is 1 (Kac's formula): d f(d) is the share of the
TIME in gaps of d steps. The stall ratio is therefore 1 minus the sum of d f(d) over the gaps that are no stalls.

Packets need not go with tokens: each renders whatever has been produced since the last one that arrived, and renders nothing where
that is nothing. The state then also holds whether something is missing, and the matrices depend on the packet's place against
slots and tokens. Places repeat, so that a round of them is a chain, too.

A scheme whose packets do not go at even distances, because it sends more in bad times or waits for what pays for them, has no such
bound. It has one of its own in each session: a token is rendered when a packet arrives and at no other instant, so no gap between
renderings is shorter than those between the arrivals in it, whatever the packets carry (`least_stall_s`).
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from eloquent.channel.loss import LossModel, MarkovLoss
from eloquent.errors import ConfigurationError
from eloquent.qoe.session import STALL_THRESHOLD, gaps

Matrix = NDArray[np.float64]
_TOLERANCE = 1e-9  # seconds, the resolution of the clock (docs/measures.md)
_FINEST = 1000  # parts of a second that times may have


def stall_ratio_bound(
    model: LossModel, *, gap: float = 0.1, spacing: float | None = None, threshold: float = STALL_THRESHOLD
) -> float:
    """Return the least stall ratio on a channel, in the long run.

    Args:
        model: The channel: a Markov model whose slots begin with tokens, or one that never changes.
        gap: Seconds between tokens.
        spacing: Seconds between packets, the first of which goes with a token; one packet a token unless given.
        threshold: Longest gap that is no stall, in seconds.

    Returns:
        The share of the time that is spent in stalls, 0..1; 1 where nothing ever arrives.

    Raises:
        ConfigurationError: The model has no exact bound, or times have no common beat: give whole milliseconds.
    """
    spacing = gap if spacing is None else spacing
    render, silent = step_matrices(model, gap=gap, spacing=spacing)
    before = _shares(render + silent)
    begins = np.einsum("pi,pij->pj", before, render)  # a rendering ends the gap before, and begins this one
    if begins.sum() < 1e-15:
        return 1.0
    smooth = 0.0
    for length in range(1, int((threshold + _TOLERANCE) / spacing) + 1):
        begins = np.roll(begins, 1, axis=0)  # the state after a packet is that before the next one
        smooth += length * float(np.einsum("pi,pij->", begins, render))
        begins = np.einsum("pi,pij->pj", begins, silent)
    return 1.0 - smooth


def least_stall_s(
    arrived_s: Sequence[float], rendered_s: Sequence[float], *, threshold: float = STALL_THRESHOLD
) -> float:
    """Return the seconds in stalls that a session would have had if each packet that arrived had rendered something.

    No scheme whose packets arrive at these instants has less between the same first and last rendering. Where packets are as
    frequent as tokens or less, sending all that is missing in each comes to it; where there are more packets than tokens, only
    who keeps some tokens back would.

    Args:
        arrived_s: When the packets arrived, in order, in seconds.
        rendered_s: When the tokens were rendered, in order; each at one of those instants.
        threshold: Longest gap that is no stall, in seconds.
    """
    if not rendered_s:
        return 0.0
    begin, end = bisect_left(arrived_s, rendered_s[0]), bisect_right(arrived_s, rendered_s[-1])
    return sum(gap for gap in gaps(arrived_s[begin:end]) if gap > threshold)


def step_matrices(model: LossModel, *, gap: float, spacing: float) -> tuple[Matrix, Matrix]:
    """Return, for each place that a packet may have, the transitions that end in its rendering, and those that do not.

    Entry [place, i, j] is the probability that state i before the packet is followed by state j, and the packet renders
    something or not; both together are a chain. A state is (state of the channel, whether something is missing).

    Args:
        model: The channel.
        gap: Seconds between tokens.
        spacing: Seconds between packets.

    Raises:
        ConfigurationError: As for `stall_ratio_bound`.
    """
    chain, losses = _channel(model)
    ticks, slot = _exact(spacing), None if model.slot is None else _exact(model.slot)
    tokens = _exact(gap)
    places = math.lcm(*(_over(beat, ticks) for beat in (tokens, slot) if beat is not None))
    size = len(losses) * 2
    render, silent = np.zeros((places, size, size)), np.zeros((places, size, size))
    for place in range(places):
        here, last = place * ticks, (place - 1) * ticks
        crossed = 1 if slot is None else here // slot - last // slot
        moves = np.linalg.matrix_power(chain, crossed)
        is_new = here // tokens > last // tokens
        for state, after in np.ndindex(moves.shape):
            for missing in (False, True):
                if is_new or missing:
                    render[place, state * 2 + missing, after * 2] += moves[state, after] * (1 - losses[after])
                    silent[place, state * 2 + missing, after * 2 + 1] += moves[state, after] * losses[after]
                else:
                    silent[place, state * 2, after * 2] += moves[state, after]
    return render, silent


def stationary(chain: Matrix) -> NDArray[np.float64]:
    """Return the share of the time that a chain spends in each state in the long run.

    Args:
        chain: Its transition matrix; states that cannot be reached, and periods, do no harm.
    """
    size = len(chain)
    equations = np.vstack([chain.T - np.eye(size), np.ones(size)])
    right = np.append(np.zeros(size), 1.0)
    solution: NDArray[np.float64] = np.linalg.lstsq(equations, right, rcond=None)[0]
    return solution


def _channel(model: LossModel) -> tuple[Matrix, tuple[float, ...]]:
    """Return the transition matrix from slot to slot, and the loss in each state."""
    if isinstance(model, MarkovLoss):
        good, bad = model.stay_good, model.stay_bad
        return np.array([[good, 1 - good], [1 - bad, bad]]), model.loss_by_state
    if model.slot is None:
        return np.eye(1), model.loss_by_state
    raise ConfigurationError("the exact bound is known for Markov models and for models that never change")


def _shares(steps: Matrix) -> Matrix:
    """Return the share of the packets before which each state is met, by the packet's place; all together are 1."""
    around = np.eye(steps.shape[1])
    for step in steps:
        around = around @ step
    shares = [stationary(around)]
    for step in steps[:-1]:
        shares.append(shares[-1] @ step)
    return np.array(shares) / len(steps)


def _exact(seconds: float) -> Fraction:
    exact = Fraction(seconds).limit_denominator(_FINEST)
    if abs(exact - Fraction(seconds)) > _TOLERANCE or exact <= 0:
        raise ConfigurationError(
            f"the exact bound needs tokens, packets and slots in whole milliseconds, not {seconds!r} s"
        )
    return exact


def _over(beat: Fraction, ticks: Fraction) -> int:
    """Return after how many packets a beat and the packets fall together again."""
    return (beat / ticks).numerator
