"""The targets of eloquent-adaptive: what the verdicts say of, and that they can say no."""

import pytest

from eloquent.sim.paper import targets
from eloquent.sim.paper.targets import (
    SCENARIOS,
    CleanCase,
    CleanFound,
    clean_table,
    examine,
    tables,
)


def test_the_tables_hold_every_channel_and_case(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(targets, "CLEAN_TOKENS", (5,))
    monkeypatch.setattr(targets, "CLEAN_OUTAGES", (0.1, 0.5))
    bound, small, large, clean = tables(sessions=2, seed=1, session_s=3.0)
    assert [row[0] for row in bound.rows] == [row[0] for row in small.rows] == list(SCENARIOS)
    assert [row[0] for row in large.rows] == list(SCENARIOS)
    assert small.name != large.name
    assert [row[4] for row in clean.rows] == [100, 500]
    for table in (bound, small, large, clean):
        assert {row[-1] for row in table.rows} <= {"yes", "no"}


def test_a_stall_longer_than_the_outage_and_a_gap_misses_the_target():
    found = [CleanFound(CleanCase(5, 0.3), 66.0, longest) for longest in (0.4, 0.45)]
    assert [row[-1] for row in clean_table(found).rows] == ["yes", "no"]
    dear = clean_table([CleanFound(CleanCase(5, 0.3), 70.0, 0.4)])
    assert dear.rows[0][3] == "no"


def test_an_outage_of_half_a_second_after_a_clean_minute_costs_itself_and_one_gap():
    found = examine(CleanCase(token_bytes=5, outage=0.5))
    assert found.longest_gap_s == pytest.approx(0.6)
    assert found.bytes_per_token < 1.2 * (52 + 5)
