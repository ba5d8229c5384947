"""One number for how good an answer's delivery felt: the QoE of Andes, and what stalls of unequal length weigh.

Rules of this file (docs/measures.md, Beyond stalls, has the formulas):

- `andes_qoe` is 1 for a reader who never waited and near 0 for one who got everything at the very end. It compares areas under
  two curves of tokens over time: those expected, and those delivered at no more than reading speed.
- `stall_burden` weighs a stall of x seconds as x^k: with k > 1 (convex) one long stall is worse than the same seconds in
  short ones, with k < 1 (concave) it is better, as Eloquent §5.2 supposes readers may feel; with k = 1 it is the stall time.
- Neither is a mean opinion score: nobody was asked.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from eloquent.qoe.playout import READING_TOKEN_TIME, Playout, display_times
from eloquent.qoe.session import STALL_THRESHOLD, gaps

EXPECTED_TTFT = 1.0  # seconds; our choice, a second being what keeps a reader's thought unbroken


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a reader expects of an answer.

    Attributes:
        ttft: Seconds from the request to the first token.
        token_time: Seconds from one token to the next: the reader's own pace.
    """

    ttft: float = EXPECTED_TTFT
    token_time: float = READING_TOKEN_TIME


def andes_qoe(requested_s: float, rendered_s: Sequence[float], expectation: Expectation) -> float | None:
    """Return the area under the curve of tokens taken in over that under the expected curve, 0..1.

    The reader takes in a token in one token time: token i from s_i = max(r_i, s_(i-1) + token time) on, however much faster
    it was rendered, and expected it from e_i = request + TTFT + i x token time on. Both areas end when all is taken in and
    was expected, a token time after the later of the last s and the last e, which is z. So

        QoE = 1 - sum(max(0, s_i - e_i)) / sum(z + token time / 2 - e_i)

    Source: Andes (Liu et al., "Defining and Enhancing Quality-of-Experience in LLM-Based Text Streaming Services",
    arXiv:2404.16283): the ratio of the integrals of the two curves, of which the actual one rises no faster than the expected
    one. The sums are those integrals, token by token. Ours is that a token before its time gains nothing: there, being
    early once can make up for being late elsewhere, and a ratio above 1 counts as 1.

    Args:
        requested_s: When the answer was asked for, in seconds.
        rendered_s: When each token was rendered, in order, on the same clock.
        expectation: What the reader expects.

    Returns:
        The score, or None for fewer than two tokens, which make no curve.

    Raises:
        ValueError: The clock ran backwards.
    """
    if len(rendered_s) < 2:
        return None
    taken_in = display_times(rendered_s, Playout(token_time=expectation.token_time))
    expected = [requested_s + expectation.ttft + index * expectation.token_time for index in range(len(rendered_s))]
    end = max(taken_in[-1], expected[-1])
    waited = sum(max(0.0, taken - due) for taken, due in zip(taken_in, expected, strict=True))
    whole = sum(end + expectation.token_time / 2 - due for due in expected)
    return 1.0 - waited / whole if whole > 0 else 1.0


def stall_burden(
    rendered_s: Sequence[float], *, exponent: float, threshold: float = STALL_THRESHOLD, unit: float = 1.0
) -> float:
    """Return the sum over the stalls of unit x (length / unit)^exponent, in seconds.

    A stall as long as the unit weighs its own length whatever the exponent. N stalls of x seconds weigh N^(1-exponent) times
    what one stall of N x seconds does. An exponent of 0 counts stalls.

    Args:
        rendered_s: When each token was rendered, in order, in seconds.
        exponent: Above 1 long stalls weigh more than the same time in short ones, below 1 less; 0 or more.
        threshold: Longest gap that is no stall, in seconds.
        unit: Length of the stall whose weight does not depend on the exponent, in seconds.

    Raises:
        ValueError: The exponent is negative, the unit is not positive, or the clock ran backwards.
    """
    if not exponent >= 0 or not unit > 0:
        raise ValueError(f"exponent {exponent} or unit {unit} is out of range")
    return sum(unit * math.pow(gap / unit, exponent) for gap in gaps(rendered_s) if gap > threshold)


def burden_ratio(rendered_s: Sequence[float], *, exponent: float, threshold: float = STALL_THRESHOLD) -> float | None:
    """Return the stall burden over the stream time: the stall ratio where the exponent is 1.

    Args:
        rendered_s: When each token was rendered, in order, in seconds.
        exponent: As in `stall_burden`.
        threshold: Longest gap that is no stall, in seconds.

    Returns:
        The ratio, which exceeds 1 where long stalls weigh more than their time; None for a stream without length.
    """
    stream_s = sum(gaps(rendered_s))
    return stall_burden(rendered_s, exponent=exponent, threshold=threshold) / stream_s if stream_s > 0 else None
