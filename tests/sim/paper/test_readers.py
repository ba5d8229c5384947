"""The table of what reports of the reader save."""

import math

import pytest

from eloquent.sim.paper import readers
from eloquent.sim.paper.readers import READERS, SCENARIOS, ReaderCase, Trial, examine, seen_stalls, table

NEVER = (math.inf, math.inf)


@pytest.mark.parametrize(
    ("displayed", "away", "stall", "looking"),
    [
        ([0.0, 0.2, 0.5, 0.6], NEVER, 0.3, 0.6),
        ([0.0, 0.2, 0.5, 0.6], (0.3, 0.4), 0.2, 0.5),
        ([0.0, 0.2, 0.5, 0.6], (0.1, 0.55), 0.0, 0.15),
        ([1.0, 2.0], (0.0, 3.0), 0.0, 0.0),
        ([1.0], NEVER, 0.0, 0.0),
    ],
)
def test_only_what_the_reader_sees_counts(
    displayed: list[float], away: tuple[float, float], stall: float, looking: float
) -> None:
    assert seen_stalls(displayed, away) == pytest.approx((stall, looking))


def test_a_session_with_and_without_reports_is_a_pair() -> None:
    without, reported = examine(Trial(ReaderCase("paper-default", 5, "150 ms a token"), seed=3, session_s=10.0))
    assert without.tokens == reported.tokens == 100
    assert reported.wire_bytes < 0.9 * without.wire_bytes


def test_the_table_has_a_row_for_each_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "TOKEN_BYTES", (5,))
    done: list[int] = []
    found = table(sessions=1, seed=1, session_s=3.0, progress=done.append)
    assert [row[:3] for row in found.rows] == [(name, 5, reader) for name in SCENARIOS for reader in READERS]
    assert sum(done) == 2 * len(found.rows)
