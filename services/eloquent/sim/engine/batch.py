"""A batch of sessions: what one worker does at a time, and the few numbers that it gives back for each session.

Batches and their results are small and can be pickled, so that a worker may be another process or another machine. A scheme
travels by its name.
"""

import math
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from eloquent import schemes
from eloquent.channel.scenario import Scenario
from eloquent.errors import ConfigurationError
from eloquent.qoe.session import TOLERANT_LATE_AFTER, TOLERANT_THRESHOLD, gaps
from eloquent.sim.engine.bound import least_stall_s
from eloquent.sim.engine.choices import Choices
from eloquent.sim.engine.session import LONGEST_SESSION, run_session
from eloquent.sim.engine.trace import SessionTrace

SEEDS_APART = 1_000_000  # between the first sessions of two seeds


@dataclass(frozen=True, slots=True)
class Point:
    """One thing to simulate: a scheme, a link, and what is assumed.

    Attributes:
        scheme: Name of the scheme.
        scenario: The link.
        choices: What the simulation assumes.
    """

    scheme: str
    scenario: Scenario
    choices: Choices = Choices()  # noqa: RUF009 - frozen


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive sessions of one point.

    Attributes:
        point: What to simulate.
        generated_s: When the tokens of each session are generated, in seconds.
        seed: Seed of the run.
        first: Number of the first session, from 0.
        count: Number of sessions.
    """

    point: Point
    generated_s: tuple[float, ...]
    seed: int
    first: int
    count: int


class SessionSums(NamedTuple):
    """What is kept of one session; the names are those of `SessionMeasures` and `StreamAccount`.

    Attributes:
        session: Its number, from 0.
        outcome: `ok`, or what went wrong.
        tokens: Tokens rendered.
        stalls: Gaps longer than 200 ms.
        stall_s: Their length.
        stall_210_s: Length of the gaps longer than 210 ms.
        excess_s: What of the stalls exceeds 200 ms.
        least_stall_s: What no scheme can stall less whose packets arrive at these instants (`bound.least_stall_s`).
        stream_s: Seconds from the first to the last rendering.
        late_tokens: Tokens rendered more than 400 ms after their generation.
        late_390_tokens: Tokens rendered more than 390 ms after it.
        ttft_s: Seconds from 0 to the first rendering; None where there was none.
        original_bytes: Token bytes, each once.
        redundant_bytes: Token bytes sent again.
        packets: Packets sent.
        wire_bytes: Bytes sent with headers.
        gaps_ms: How many gaps there were of each length in whole milliseconds, rounded.
    """

    session: int
    outcome: str
    tokens: int
    stalls: int
    stall_s: float
    stall_210_s: float
    excess_s: float
    least_stall_s: float
    stream_s: float
    late_tokens: int
    late_390_tokens: int
    ttft_s: float | None
    original_bytes: int
    redundant_bytes: int
    packets: int
    wire_bytes: int
    gaps_ms: tuple[tuple[int, int], ...]


def run_batch(batch: Batch) -> list[SessionSums]:
    """Run the sessions of a batch, one after the other."""
    scheme = schemes.get(batch.point.scheme)
    numbers = range(batch.first, batch.first + batch.count)
    return [
        sum_up(
            number,
            run_session(
                scheme,
                batch.point.scenario,
                seed=batch.seed * SEEDS_APART + number,
                generated_s=batch.generated_s,
                choices=batch.point.choices,
            ),
        )
        for number in numbers
    ]


def sum_up(number: int, trace: SessionTrace) -> SessionSums:
    """Keep of a session what figures need.

    Args:
        number: Number of the session.
        trace: What happened in it.
    """
    strict, lengths = trace.measure(), gaps(trace.rendered_s)
    return SessionSums(
        session=number,
        outcome=trace.outcome,
        tokens=strict.tokens,
        stalls=strict.stalls,
        stall_s=strict.stall_s,
        stall_210_s=sum(gap for gap in lengths if gap > TOLERANT_THRESHOLD),
        excess_s=strict.excess_s,
        least_stall_s=least_stall_s(trace.arrived_s, trace.rendered_s),
        stream_s=strict.stream_s,
        late_tokens=strict.late_tokens,
        late_390_tokens=trace.measure(late_after=TOLERANT_LATE_AFTER).late_tokens,
        ttft_s=trace.rendered_s[0] if trace.rendered_s else None,
        original_bytes=trace.account.original_bytes,
        redundant_bytes=trace.account.redundant_bytes,
        packets=trace.account.packets,
        wire_bytes=trace.account.wire_bytes,
        gaps_ms=tuple(sorted(Counter(round(gap * 1e3) for gap in lengths).items())),
    )


def read_instants(text: str, *, name: str) -> tuple[float, ...]:
    """Read the instants of tokens, one a line, in seconds; empty lines and those that begin with `#` are passed over.

    Args:
        text: The lines.
        name: Where they are from, for messages.

    Raises:
        ConfigurationError: A line is no number, before the line above or more than a day after the first, or there is none.
    """
    instants: list[float] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not (word := line.strip()) or word.startswith("#"):
            continue
        try:
            instant = float(word)
        except ValueError:
            instant = math.nan
        if not math.isfinite(instant):
            raise ConfigurationError(f"{name}, line {number}: '{word[:80]}' is not an instant in seconds")
        if instants and not instants[-1] <= instant <= instants[0] + LONGEST_SESSION:
            raise ConfigurationError(
                f"{name}, line {number}: {word} s is before the line above, or more than a day after the first"
            )
        instants.append(instant)
    if not instants:
        raise ConfigurationError(f"{name} holds no instants")
    return tuple(round(instant - instants[0], 9) for instant in instants)
