"""The reproduction: the same files from the same seed, and the paper's orderings in them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eloquent.sim.paper import limit, modern
from eloquent.sim.paper.figure7 import POOLED
from eloquent.sim.paper.reproduction import Plan, Reproduction, reproduce, summary_lines, write
from eloquent.sim.paper.settings import DUPLICATES, OURS, PANELS, TCP

SCHEMES = (TCP, *DUPLICATES, OURS, "bound")
PLAN = Plan(SCHEMES, sessions=2, headline=3, varied=1, extra=("eloquent-packed",))


FEW = [case for case in limit.cases() if case.gap == limit.GAP and case.rtt == limit.RTTS[-1]]


@pytest.fixture(scope="module", autouse=True)
def _a_small_sweep():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limit, "cases", lambda: FEW)
        yield


@pytest.fixture(scope="module")
def reproduction() -> Reproduction:
    return reproduce(PLAN, seed=1, session_s=3.0)


def test_two_runs_leave_the_same_bytes(reproduction: Reproduction, tmp_path: Path):
    write(reproduction.tables, tmp_path / "one", title="One")
    with ThreadPoolExecutor(2) as executor:
        again = reproduce(PLAN, seed=1, session_s=3.0, executor=executor)
    write(again.tables, tmp_path / "two", title="One")
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    figures = {f"figure-{number}.csv" for number in (2, 5, 6, 7)}
    assert {"reductions.csv", "tcp.csv", "choices.csv", "limit.csv", "reproduction.md", *figures} | {
        "modern.csv",
        "frontier_modern.csv",
        "frontier_modern.md",
    } <= {*files}
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_each_point_is_simulated_once(reproduction: Reproduction):
    more = 3 * len(SCHEMES) + 2 * (
        len(SCHEMES) + 1
    )  # figure 7: one session on each trace; and the sample of today's rates
    assert PLAN.total == sum(PLAN.wanted.values()) + more
    assert set(PLAN.wanted.values()) == {1, 2, 3}
    for panel in PANELS.values():
        for scenario in panel:
            assert [result.point.scheme for result in reproduction.panels[scenario]] == list(SCHEMES)
            assert {result.outcomes.total() for result in reproduction.panels[scenario]} == {2}
    assert [result.point.scheme for result in reproduction.replayed[POOLED]] == list(SCHEMES)


def test_a_sample_of_todays_rates_has_all_schemes(reproduction: Reproduction):
    assert list(reproduction.modern) == list(modern.SAMPLE)
    for results in reproduction.modern.values():
        assert [result.point.scheme for result in results] == [*SCHEMES, "eloquent-packed"]


def test_the_order_of_the_paper_holds(reproduction: Reproduction):
    """Over 3 short sessions already; the reductions themselves need hundreds (docs/reproduction.md)."""
    ratios = {result.point.scheme: result.figures().stall_ratio for result in reproduction.panels["paper-frequent"]}
    assert ratios[OURS] < ratios["duplicate-2"]
    assert ratios[OURS] < ratios[TCP]


def test_the_screen_shows_the_printed_figures(reproduction: Reproduction):
    headings, *rows = summary_lines(reproduction.tables[0])
    assert headings[:4] == ("RTT", "against", "printed", "ours")
    assert rows[0][:3] == ("400 ms", "Simple TCP", "-71.0")
    assert len(rows) == 10
