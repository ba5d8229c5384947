"""A client that holds tokens back and shows them at reading speed (Eloquent §5.3), after the fact, from the log.

Rules of this file:

- Token i has arrived when it could be rendered in order: the log's `rendered_s`. It is displayed no sooner than it arrived,
  and no sooner than one token time after the token ahead of it.
- The client starts when `start_tokens` have arrived. Where it runs dry, it waits until `resume_tokens` of what is still to
  come have arrived. What the end of the answer cuts short is not waited for.
- So a display is late only where the buffer ran dry: that wait beyond the token time is a starvation. Stalls after playout
  are those of `qoe.session.measure` over the displayed times, with the same threshold.

Sources: Andes (Liu et al., arXiv:2404.16283) describes such a token buffer at the client, which withholds what comes
faster than it is read; Eloquent §5.3 names Andes and Google's Bard.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from eloquent.qoe.session import LATE_AFTER, STALL_THRESHOLD, SessionMeasures, gaps, measure

# Eloquent §3.3 has people read 4 to 6 words a second; three words are about four tokens of English.
READING_TOKEN_TIME = 0.150  # seconds a token at 5 words a second


@dataclass(frozen=True, slots=True)
class Playout:
    """How a client shows tokens.

    Attributes:
        token_time: Shortest time between two displayed tokens, in seconds; 0 shows each token as it comes.
        start_tokens: Tokens that have to be there before the first is displayed, 1 or more.
        resume_tokens: Tokens that have to be there before it goes on after it ran dry, 1 or more.
    """

    token_time: float = READING_TOKEN_TIME
    start_tokens: int = 1
    resume_tokens: int = 1

    def __post_init__(self) -> None:
        if not self.token_time >= 0 or min(self.start_tokens, self.resume_tokens) < 1:
            raise ValueError(f"no such playout: {self}")


@dataclass(frozen=True, slots=True)
class Depth:
    """How many tokens a client holds back from an instant on.

    Attributes:
        at_s: The instant, in seconds.
        tokens: Tokens that have arrived and are not displayed yet.
    """

    at_s: float
    tokens: int


@dataclass(frozen=True, slots=True)
class PlayoutMeasures:
    """What a session feels like behind a playout buffer.

    Attributes:
        session: Stalls, late tokens and length of what is displayed.
        starvations: Times the buffer ran dry before the answer's end.
        starved_s: Seconds by which that delayed the display, beyond the token time.
        held_s: Mean seconds that a token waited in the buffer: what smoothness costs.
        deepest: Most tokens held at once.
    """

    session: SessionMeasures
    starvations: int
    starved_s: float
    held_s: float
    deepest: int


def display_times(arrived_s: Sequence[float], playout: Playout) -> list[float]:
    """Return when each token is displayed.

    Args:
        arrived_s: When each token could be rendered, in order, in seconds.
        playout: How the client shows them.

    Raises:
        ValueError: The clock ran backwards.
    """
    gaps(arrived_s)  # checks the clock
    displayed: list[float] = []
    last = len(arrived_s) - 1
    for index, arrived in enumerate(arrived_s):
        if index == 0:
            displayed.append(arrived_s[min(playout.start_tokens - 1, last)])
            continue
        due = displayed[-1] + playout.token_time
        is_dry = round(arrived - due, 9) > 0
        displayed.append(arrived_s[min(index + playout.resume_tokens - 1, last)] if is_dry else max(arrived, due))
    return displayed


def depths(arrived_s: Sequence[float], displayed_s: Sequence[float]) -> list[Depth]:
    """Return the depth of the buffer over time, one step an instant at which tokens came or went.

    Args:
        arrived_s: When each token arrived, in order, in seconds.
        displayed_s: When each was displayed, in order; not before it arrived.

    Raises:
        ValueError: The two differ in length, or a token was displayed before it arrived.
    """
    if any(displayed < arrived for arrived, displayed in zip(arrived_s, displayed_s, strict=True)):
        raise ValueError("a token was displayed before it arrived")
    changes: dict[float, int] = {}
    for at in arrived_s:
        changes[at] = changes.get(at, 0) + 1
    for at in displayed_s:
        changes[at] = changes.get(at, 0) - 1
    tokens = 0
    steps = []
    for at in sorted(changes):
        tokens += changes[at]
        steps.append(Depth(at, tokens))
    return steps


def measure_playout(
    arrived_s: Sequence[float],
    generated_s: Sequence[float | None],
    playout: Playout,
    *,
    threshold: float = STALL_THRESHOLD,
    late_after: float = LATE_AFTER,
) -> PlayoutMeasures:
    """Measure a session behind a playout buffer (docs/measures.md, Beyond stalls).

    Args:
        arrived_s: When each token could be rendered, in order, in seconds.
        generated_s: When each was generated, on the same clock; None where that is not known.
        playout: How the client shows them.
        threshold: Longest displayed gap that is no stall, in seconds.
        late_after: Longest delay from generation to display that is not late, in seconds.

    Raises:
        ValueError: The two sequences differ in length, or the clock ran backwards.
    """
    displayed = display_times(arrived_s, playout)
    waits = [round(gap - playout.token_time, 9) for gap in gaps(displayed)]
    starved = [wait for wait in waits if wait > 0]
    held = [shown - arrived for arrived, shown in zip(arrived_s, displayed, strict=True)]
    return PlayoutMeasures(
        session=measure(displayed, generated_s, threshold=threshold, late_after=late_after),
        starvations=len(starved),
        starved_s=sum(starved),
        held_s=sum(held) / len(held) if held else 0.0,
        deepest=max((step.tokens for step in depths(arrived_s, displayed)), default=0),
    )
