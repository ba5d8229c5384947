"""The targets of eloquent-packed: what the verdicts say of, and that they can say no."""

import pytest

from eloquent import scenarios
from eloquent.sim.engine.batch import Point, SessionSums
from eloquent.sim.engine.experiment import Results
from eloquent.sim.paper import targets_packed
from eloquent.sim.paper.modern import Setting
from eloquent.sim.paper.targets_packed import (
    ADAPTIVE,
    OUTAGES,
    PACKED,
    PRINTED_SCHEME,
    SETTINGS,
    TWICE,
    CleanLinkCase,
    CleanLinkFound,
    bytes_table,
    clean_table,
    examine,
    near_bound_table,
    others_table,
    tables,
)

FAST, SLOW = Setting(50, "text", "paper-default-rtt100"), Setting(10, "openai", "paper-default-rtt100")


def result(scheme: str, *, stall_s: float = 4.0, least_s: float = 4.0, size: int = 50, packets: int = 500) -> Results:
    """Make the results of one session of 1,000 tokens of 4 bytes in 20 s."""
    made = Results(Point(scheme, scenarios.load("paper-default")))
    sums = SessionSums(
        *(0, "ok", 1000, 1, stall_s, stall_s, stall_s, least_s, 20.0, 0, 0, 0.2),
        *(4000, 0, packets, 1000 * size, ()),
    )
    made.add(sums)
    return made


def test_the_tables_hold_every_setting(monkeypatch: pytest.MonkeyPatch):
    few = [setting for setting in SETTINGS if setting.content == "text" and "default" in setting.scenario]
    monkeypatch.setattr(targets_packed, "SETTINGS", few)
    monkeypatch.setattr(targets_packed, "CLEAN", 5.0)
    monkeypatch.setattr(targets_packed, "CLEAN_RATES", (50,))
    monkeypatch.setattr(targets_packed, "PLACES", (0.0,))
    done: list[int] = []
    bound, spent, others, clean = tables(sessions=1, seed=1, session_s=3.0, progress=done.append)
    assert sum(done) == targets_packed.count_sessions(1)
    assert [row[:3] for row in bound.rows] == [row[:3] for row in spent.rows] == few
    assert [row[:4] for row in others.rows] == [
        (*setting, name) for setting in few if "rtt100" in setting.scenario for name in (PRINTED_SCHEME, ADAPTIVE)
    ]
    assert len(clean.rows) == 2 * 3 * len(OUTAGES)
    assert len({table.name for table in (bound, spent, others, clean)}) == 4
    for table in (bound, others, clean):
        assert {row[-1] for row in table.rows} <= {"yes", "no"}
        assert all(len(row) == len(table.headings) for row in table.rows)


def test_the_bound_is_met_or_missed():
    met, missed = result(PACKED, least_s=3.9), result(PACKED, least_s=3.8)
    assert [near_bound_table({(FAST, PACKED): one}).rows[0][-1] for one in (met, missed)] == ["yes", "no"]
    assert near_bound_table({(SLOW, PACKED): met}).rows[0][-1] == "no"


def test_bytes_are_those_of_tcp_or_of_eloquent():
    for size, verdict in ((56, "yes"), (57, "no")):
        found = {(FAST, PACKED): result(PACKED, size=size), (FAST, TWICE): result(TWICE, stall_s=3.9)}
        table = bytes_table(found)
        row = dict(zip(table.headings, table.rows[0], strict=True))
        assert (row["against"], row["theirs"], row["met"], row["fewer_stalls"]) == ("TCP", 56.0, verdict, "yes")
    slow = bytes_table(
        {(SLOW, PACKED): result(PACKED, size=36), (SLOW, PRINTED_SCHEME): result(PRINTED_SCHEME, size=100)}
    )
    row = dict(zip(slow.headings, slow.rows[0], strict=True))
    assert (row["against"], row["share"], row["met"], row["fewer_stalls"]) == (PRINTED_SCHEME, 0.36, "no", None)


def test_twice_the_budget_cannot_help_who_has_the_fastest_pace():
    found = {(FAST, PACKED): result(PACKED, packets=1000), (FAST, TWICE): result(TWICE)}
    assert bytes_table(found).rows[0][-1] == "fastest"
    found = {(FAST, PACKED): result(PACKED), (FAST, TWICE): result(TWICE, stall_s=4.1)}
    assert bytes_table(found).rows[0][-1] == "no"


def test_more_stalls_than_another_scheme_miss_the_target():
    names = (PRINTED_SCHEME, ADAPTIVE)
    found = {(FAST, PACKED): result(PACKED)} | {
        (FAST, name): result(name, stall_s=stall_s) for name, stall_s in zip(names, (4.1, 3.9), strict=True)
    }
    assert [row[-1] for row in others_table(found).rows] == ["yes", "no"]


def test_an_outage_may_cost_itself_and_the_slowest_pace():
    gaps = tuple(outage + 0.06 for outage in OUTAGES)
    found = [
        CleanLinkFound(CleanLinkCase(50, "text", 0.4), 50.0, 0.9, gaps),
        CleanLinkFound(CleanLinkCase(50, "text", 0.1), 60.0, 1.1, gaps[::-1]),
    ]
    rows = clean_table(found).rows
    assert [row[-1] for row in rows] == ["yes", "yes", "yes", "no", "yes", "yes"]
    assert [row[5] for row in rows] == ["yes"] * 3 + ["no"] * 3


def test_an_outage_after_a_clean_minute_at_fifty_tokens_a_second(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(targets_packed, "PLACES", (0.0,))
    found = examine(CleanLinkCase(50, "openai", 0.4))
    assert found.of_tcp < 0.5
    assert all(longest <= outage + 0.06 for outage, longest in zip(OUTAGES, found.longest_gaps_s, strict=True))
