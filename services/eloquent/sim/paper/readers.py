"""What reports of the reader save: `eloquent-adaptive` with and without them, on the same losses (Eloquent §5.3, §5.4).

Rules of this file

- The stalls are those that the reader sees: of the displayed tokens behind the same playout buffer (`qoe.playout`), whether
  the buffer is reported or not; of these only the part in which the reader looks, over the time in which the reader looks.
- Acknowledgements are lost too. Session k of a run has the seed 1,000,000 x seed + k, as everywhere.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

from eloquent import scenarios, schemes
from eloquent.qoe.playout import Playout, display_times
from eloquent.qoe.session import STALL_THRESHOLD
from eloquent.sim.engine.batch import SEEDS_APART
from eloquent.sim.engine.choices import Choices
from eloquent.sim.engine.experiment import in_order, tell_nobody
from eloquent.sim.engine.reader import Reader
from eloquent.sim.engine.session import constant_rate, run_session
from eloquent.sim.engine.tables import Table

SCHEME = "eloquent-adaptive"
SCENARIOS = ("paper-default", "paper-long")
TOKEN_BYTES = (5, 18)
READERS = {
    "150 ms a token": Reader(Playout(token_time=0.150)),
    "2 s behind": Reader(Playout(token_time=0.100, start_tokens=20)),
    "away half of the time": Reader(away=(0.25, 0.75)),
}
SESSION = 30.0  # seconds
_INSTANT_DIGITS = 9  # instants are whole nanoseconds


class ReaderCase(NamedTuple):
    """One setting.

    Attributes:
        scenario: Name of the link.
        token_bytes: Length of a token.
        reader: Key in `READERS`.
    """

    scenario: str
    token_bytes: int
    reader: str


class Trial(NamedTuple):
    """One session of one setting, with and without reports.

    Attributes:
        case: The setting.
        seed: Seed of the session.
        session_s: Its length in seconds.
    """

    case: ReaderCase
    seed: int
    session_s: float


class Seen(NamedTuple):
    """What one run of a session cost, and gave.

    Attributes:
        tokens: Tokens rendered.
        wire_bytes: Bytes sent with headers.
        stall_s: Displayed stalls while the reader looked, in seconds.
        looking_s: Time in which the reader looked, from the first to the last displayed token, in seconds.
    """

    tokens: int
    wire_bytes: int
    stall_s: float
    looking_s: float


def cases() -> list[ReaderCase]:
    """Return every setting, in the order of the table."""
    return [ReaderCase(name, size, reader) for name in SCENARIOS for size in TOKEN_BYTES for reader in READERS]


def table(
    *,
    sessions: int,
    seed: int,
    session_s: float = SESSION,
    executor: Executor | None = None,
    progress: Callable[[int], None] = tell_nobody,
) -> Table:
    """Simulate every setting.

    Args:
        sessions: Sessions of each setting, each with reports and without.
        seed: Seed of the run.
        session_s: Length of a session in seconds.
        executor: Who computes; None for this process.
        progress: Called with the number of sessions that have just been done.
    """
    trials = [Trial(case, seed * SEEDS_APART + k, session_s) for case in cases() for k in range(sessions)]
    done: dict[ReaderCase, list[tuple[Seen, Seen]]] = {case: [] for case in cases()}
    found = map(examine, trials) if executor is None else in_order(executor, examine, trials)
    for trial, pair in zip(trials, found, strict=True):
        done[trial.case].append(pair)
        progress(2)
    rows = tuple(_row(case, *map(_total, zip(*pairs, strict=True))) for case, pairs in done.items())
    headings = (
        "scenario",
        "token_bytes",
        "reader",
        "bytes_unreported",
        "bytes_reported",
        "ratio",
        "stalls_unreported",
        "stalls_reported",
    )
    title = f"{SCHEME}: bytes a token and displayed stall ratio, without and with reports of the reader"
    return Table("targets-readers", title, headings, rows)


def examine(trial: Trial) -> tuple[Seen, Seen]:
    """Simulate one session without and with reports."""
    case, reader = trial.case, READERS[trial.case.reader]
    silent = Choices(ack_loss=True, token_bytes=case.token_bytes)
    unreported, reported = (_see(trial, reader, choices) for choices in (silent, replace(silent, reader=reader)))
    return unreported, reported


def seen_stalls(displayed_s: Sequence[float], away_s: tuple[float, float]) -> tuple[float, float]:
    """Return the seconds of stalls that a reader sees, and for how long the reader looks.

    Args:
        displayed_s: When each token was displayed, in seconds.
        away_s: From when until when the reader looks elsewhere, in seconds.
    """
    start, stop = away_s
    stall = looking = 0.0
    for before, after in pairwise(displayed_s):
        seen = max(min(after, start) - before, 0.0) + max(after - max(before, stop), 0.0)
        looking += seen
        if round(after - before, _INSTANT_DIGITS) > STALL_THRESHOLD:
            stall += seen
    return stall, looking


def _see(trial: Trial, reader: Reader, choices: Choices) -> Seen:
    generated = constant_rate(trial.session_s)
    scheme, link = schemes.get(SCHEME), scenarios.load(trial.case.scenario)
    trace = run_session(scheme, link, seed=trial.seed, generated_s=generated, choices=choices)
    start, stop = (share * generated[-1] for share in reader.away)
    away = (start, stop) if start < stop else (math.inf, math.inf)
    stall, looking = seen_stalls(display_times(trace.rendered_s, reader.playout), away)
    return Seen(len(trace.rendered_s), trace.account.wire_bytes, stall, looking)


def _total(seen: Iterable[Seen]) -> Seen:
    tokens, wire_bytes, stall, looking = (sum(column) for column in zip(*seen, strict=True))
    return Seen(int(tokens), int(wire_bytes), stall, looking)


def _row(case: ReaderCase, silent: Seen, told: Seen) -> tuple[str | int | float, ...]:
    spent = [seen.wire_bytes / seen.tokens for seen in (silent, told)]
    stalls = [seen.stall_s / seen.looking_s for seen in (silent, told)]
    return (*case, *spent, spent[1] / spent[0], *stalls)
