"""Figure 2 of the paper, from a real run: what three schemes make of an outage that swallows the first two tokens."""

from dataclasses import dataclass

from eloquent import schemes
from eloquent.channel.scenario import Scenario, parse_line
from eloquent.sim.engine.session import run_session
from eloquent.sim.engine.tables import Cell, Table
from eloquent.sim.engine.trace import PacketLog, SessionTrace

WORDS = ("You", "can", "go", "to", "watch", "the", "game", "now")
SCHEMES = ("tcp-simple", "duplicate-2", "eloquent")
FIRST_LOST = 2  # "You can" has arrived; "go" and "to" are lost

_BEFORE = 16  # tokens before the outage: long enough for the senders to know the round-trip time
# Slots of 20 ms. Six of them swallow both packets of a scheme that sends each token once, and of two copies all but the last.
SCENARIO: Scenario = parse_line(f"name=figure-2 rtt=200ms loss=trace(slot=20ms,shares=0*{_BEFORE * 5};1*6;0*1000)")


@dataclass(frozen=True, slots=True)
class Column:
    """One scheme of the figure.

    Attributes:
        scheme: Its name.
        start_s: When the first of `WORDS` was generated: the origin of the figure's time axis.
        first: Index of the first of `WORDS` in the session.
        trace: The session, with its packets.
    """

    scheme: str
    start_s: float
    first: int
    trace: SessionTrace


def columns() -> list[Column]:
    """Run the three schemes."""
    first = _BEFORE - FIRST_LOST
    generated = tuple(round(index * 0.1, 9) for index in range(first + len(WORDS)))
    return [
        Column(
            name,
            generated[first],
            first,
            run_session(schemes.get(name), SCENARIO, seed=1, generated_s=generated, record=PacketLog()),
        )
        for name in SCHEMES
    ]


def table(runs: list[Column]) -> Table:
    """Return when each word was generated and rendered with each scheme."""
    rows: list[tuple[Cell, ...]] = [
        (
            column.scheme,
            word,
            round(column.trace.generated_s[column.first + place] - column.start_s, 9),
            round(column.trace.rendered_s[column.first + place] - column.start_s, 9),
        )
        for column in runs
        for place, word in enumerate(WORDS)
    ]
    return Table(
        "figure-2", "Figure 2: an outage of 120 ms", ("scheme", "word", "generated_s", "rendered_s"), tuple(rows)
    )
