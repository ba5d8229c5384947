"""Today's rates: settings, the frontier, and the bounds of each scheme."""

import pytest

from eloquent import scenarios
from eloquent.sim.engine.batch import Point, SessionSums
from eloquent.sim.engine.experiment import Results, run
from eloquent.sim.engine.session import constant_rate
from eloquent.sim.paper import modern
from eloquent.sim.paper.modern import SAMPLE, SETTINGS, Setting, even_packets, frontier, simulate
from eloquent.sim.paper.settings import scheme_names

NAMES = ("tcp-bbr", "eloquent", "eloquent-packed", "duplicate-5", "bound")
HERE = Setting(50, "text", "paper-default")


def result(scheme: str, *, stall_s: float, size: int, outcome: str = "ok", packets: int = 1000) -> Results:
    """Make the results of one session of 1,000 tokens in 20 s."""
    made = Results(Point(scheme, scenarios.load("paper-default")))
    sums = SessionSums(
        *(0, outcome, 1000, 1, stall_s, stall_s, stall_s, stall_s / 2, 20.0, 0, 0, 0.2),
        *(4000, 0, packets, 1000 * size, ()),
    )
    made.add(sums)
    return made


def test_the_settings_are_all_combinations():
    assert len(SETTINGS) == len(set(SETTINGS)) == 36
    assert {setting.rate for setting in SETTINGS} == {10, 50, 200}
    assert set(SAMPLE) < set(SETTINGS)
    assert modern.settings_of(0) == (SAMPLE, 1)
    assert modern.settings_of(60) == (SETTINGS, 60)


def test_the_frontier_has_who_is_beaten_by_nobody():
    results = [
        result("eloquent", stall_s=4.0, size=100),
        result("duplicate-2", stall_s=4.0, size=90),  # as many stalls for fewer bytes
        result("duplicate-3", stall_s=5.0, size=95),
        result("tcp-bbr", stall_s=9.0, size=50),
        result("kcp", stall_s=1.0, size=300),
        result("ssp", stall_s=1.0, size=300),  # level with another: the first one stands
        result("red-1", stall_s=0.1, size=60, outcome="lost"),  # would be best, but lost its session
        result("bound", stall_s=0.0, size=10),
    ]
    assert [best.point.scheme for best in frontier(results)] == ["tcp-bbr", "duplicate-2", "kcp"]


@pytest.mark.parametrize(
    "setting", [HERE, Setting(10, "text", "paper-long-rtt100"), Setting(200, "openai", "paper-frequent")]
)
def test_no_scheme_beats_the_bound_of_its_own_packets(setting: Setting):
    names = (*scheme_names(), *modern.EXTRA)
    points = [modern.point_of(name, setting) for name in names]
    results = run(points, sessions=1, generated_s=constant_rate(3.0, setting.gap), seed=7)
    found = {result.point.scheme: (result.figures().stall_ratio, result.own_bound()) for result in results}
    assert set(found) == set(names)
    known = [(reached, own) for reached, own in found.values() if reached is not None and own is not None]
    assert len(known) > len(names) / 2
    assert all(reached >= own - 1e-9 for reached, own in known)
    assert any(reached > own + 0.05 for reached, own in known)
    assert any(reached < own + 0.01 for reached, own in known)


def test_the_bound_stands_beside_each_scheme():
    table = modern.points_table({HERE: [result("kcp", stall_s=1.0, size=50)]})
    row = dict(zip(table.headings, table.rows[0], strict=True))
    assert (row["stall_ratio"], row["own_bound"], row["over_own_bound"]) == (0.05, 0.025, 2.0)


def test_even_packets_are_as_many():
    assert even_packets(result("kcp", stall_s=1.0, size=50, packets=1000), HERE) == pytest.approx(
        (50.0, 0.0610), abs=1e-4
    )
    assert even_packets(result("kcp", stall_s=1.0, size=50, packets=500), HERE) == pytest.approx(
        (25.0, 0.0960), abs=1e-4
    )
    assert even_packets(result("kcp", stall_s=1.0, size=50, outcome="lost"), HERE) is None
    many = even_packets(result("kcp", stall_s=1.0, size=50, packets=90_000), HERE)
    assert many is not None
    assert many[1] < 1e-3


def test_every_scheme_is_simulated_with_real_content():
    found = simulate(NAMES, sessions=0, seed=1, session_s=4.0)
    assert list(found) == list(SAMPLE)
    text, events = (found[setting] for setting in SAMPLE)
    for results in (text, events):
        assert [one.point.scheme for one in results] == list(NAMES)
        assert all(one.point.choices.ack_loss for one in results)
    sizes = [one.figures().wire_bytes_per_token for one in (text[0], events[0])]
    assert sizes[0] is not None
    assert sizes[1] is not None
    assert sizes[1] > 3 * sizes[0]
    table = modern.points_table(found)
    assert len(table.rows) == len(SAMPLE) * len(NAMES)
    assert {row[-1] for row in table.rows} == {"yes", "no"}
    best = modern.frontier_table(found)
    assert len(best.rows) == [row[-1] for row in table.rows].count("yes")
