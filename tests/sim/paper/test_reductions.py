"""The tables of reductions: the same numbers as the results that they compare, and every TCP."""

import pytest

from eloquent import scenarios
from eloquent.sim.engine.batch import Point
from eloquent.sim.engine.experiment import run
from eloquent.sim.engine.session import constant_rate
from eloquent.sim.paper.reductions import TCPS, bound_table, printed_table, reduction_of, tcp_table
from eloquent.sim.paper.settings import DUPLICATES, OURS, PANELS, PAPER, TCP


def test_a_reduction_is_the_ratio_of_the_stall_ratios_less_one():
    link = scenarios.load("paper-frequent")
    points = [Point(name, link, PAPER) for name in (*TCPS, OURS)]
    done = dict(zip(points, run(points, sessions=3, generated_s=constant_rate(6.0), seed=1), strict=True))
    ours, tcp = done[Point(OURS, link, PAPER)], done[Point(TCP, link, PAPER)]
    theirs = tcp.figures().stall_ratio
    reached = ours.figures().stall_ratio
    assert tcp.figures().failed == 0
    reduction, low, high = reduction_of(ours, tcp)
    assert theirs
    assert reached
    assert reduction == pytest.approx((reached / theirs - 1) * 100)
    assert low is not None
    assert high is not None
    assert low < reduction < high

    rows = tcp_table(done).rows
    assert [(row[0], row[1]) for row in rows] == [("paper-frequent", name) for name in TCPS]
    assert rows[0][4] == reduction

    assert bound_table({"paper-frequent": [ours]}).rows[0][2] == pytest.approx(0.4252, abs=1e-3)


def test_each_printed_reduction_stands_beside_one_of_ours():
    names = (TCP, *DUPLICATES, OURS)
    points = [Point(name, scenarios.load(setting), PAPER) for setting in PANELS["figure-5"] for name in names]
    done = dict(zip(points, run(points, sessions=6, generated_s=constant_rate(12.0), seed=1), strict=True))
    table = printed_table(done)
    assert len(table.rows) == 2 * (1 + len(DUPLICATES))
    printed = {row[:2]: row[2] for row in table.rows if row[table.headings.index("within_tolerance")] in {"yes", "no"}}
    assert printed == {
        ("400 ms", "Simple TCP"): -71.0,
        ("100 ms", "Simple TCP"): -60.0,
        ("400 ms", "Duplicate ×5"): -31.6,
        ("100 ms", "Duplicate ×3"): -31.3,
    }
    assert sum(row[2] is not None for row in table.rows) == 4
