"""What no scheme with the same packet rate can beat, exactly: the stall ratio when each packet carries all that is missing.

The renderings of such a scheme are the arrivals of its packets, so the gaps follow from the channel's Markov chain alone,
whatever the round-trip time. Per step (the interval between two packets) let P be the chain's transition matrix, R the diagonal
matrix of the probability that this step renders something and N that it does not. In the long run, with the stationary
distribution p,

    f(d) = p R (P N)^(d-1) P R 1

is the share of the steps that begin a gap of d steps, and the sum of d f(d) is 1 (Kac's formula): d f(d) is the share of the
TIME in gaps of d steps. The stall ratio is therefore 1 minus the sum of d f(d) over the gaps that are no stalls.

With several packets for each token, those after the first one are only sent while something is missing; the state then also
holds which packet of the token's interval is next and whether something is missing.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from eloquent.channel.loss import LossModel, MarkovLoss
from eloquent.errors import ConfigurationError
from eloquent.qoe.session import STALL_THRESHOLD

Matrix = NDArray[np.float64]
_TOLERANCE = 1e-9  # seconds, the resolution of the clock (docs/measures.md)


def stall_ratio_bound(
    model: LossModel, *, gap: float = 0.1, packets_per_token: int = 1, threshold: float = STALL_THRESHOLD
) -> float:
    """Return the least stall ratio on a channel, in the long run.

    Args:
        model: The channel: a Markov model whose slots begin with tokens, or one that never changes.
        gap: Seconds between tokens.
        packets_per_token: Packets at even intervals for each token, from 1; those after the first one only if needed.
        threshold: Longest gap that is no stall, in seconds.

    Returns:
        The share of the time that is spent in stalls, 0..1; 1 where nothing ever arrives.

    Raises:
        ConfigurationError: The model has no exact bound: its slots and the packets have no common beat.
    """
    render, silent = step_matrices(model, gap=gap, packets_per_token=packets_per_token)
    share = stationary(render + silent)
    begins = share @ render  # a rendering ends the gap before, and begins this one
    if begins.sum() < 1e-15:
        return 1.0
    step = gap / packets_per_token
    smooth = 0.0
    for length in range(1, int((threshold + _TOLERANCE) / step) + 1):
        smooth += length * float((begins @ render).sum())
        begins = begins @ silent
    return 1.0 - smooth


def step_matrices(model: LossModel, *, gap: float, packets_per_token: int) -> tuple[Matrix, Matrix]:
    """Return the transitions of one step that end in a rendering, and those that do not.

    Entry [i, j] is the probability that state i is followed by state j, whose packet is then rendered or not; both matrices
    together are the chain. A state is (state of the channel at the packet, its place among the packets of the token's
    interval, whether something is missing after it).

    Args:
        model: The channel.
        gap: Seconds between tokens.
        packets_per_token: Packets for each token.

    Raises:
        ConfigurationError: As for `stall_ratio_bound`.
    """
    chain, losses = _channel(model)
    moves = _moves(model, chain, gap, packets_per_token)
    size = len(losses) * packets_per_token * 2
    render, silent = np.zeros((size, size)), np.zeros((size, size))

    def number(state: int, place: int, *, missing: bool) -> int:
        return (state * packets_per_token + place) * 2 + missing

    for state in range(len(losses)):
        for place in range(packets_per_token):
            following = (place + 1) % packets_per_token
            for missing in (False, True):
                here = number(state, place, missing=missing)
                for after, probability in enumerate(moves[place][state]):
                    if following == 0 or missing:
                        render[here, number(after, following, missing=False)] += probability * (1 - losses[after])
                        silent[here, number(after, following, missing=True)] += probability * losses[after]
                    else:
                        silent[here, number(after, following, missing=False)] += probability
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


def _moves(model: LossModel, chain: Matrix, gap: float, packets_per_token: int) -> list[Matrix]:
    """Return the channel's transition from each packet of a token's interval to the one after it."""
    if model.slot is None:
        return [chain] * packets_per_token
    slots = gap / model.slot
    step = gap / packets_per_token
    if abs(slots - round(slots)) > _TOLERANCE or round(slots) < 1:
        raise ConfigurationError("the exact bound needs tokens at the beginning of slots: a gap of whole slots")
    crossed = [int((place * step + _TOLERANCE) / model.slot) for place in range(packets_per_token + 1)]
    powers = [np.linalg.matrix_power(chain, after - before) for before, after in pairwise(crossed)]
    return [np.asarray(power, dtype=np.float64) for power in powers]
