"""Experiments: pairs, order, and figures by the common formulas."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import pytest

from eloquent import scenarios, schemes
from eloquent.errors import ConfigurationError
from eloquent.qoe.ratios import ratio
from eloquent.sim.engine.batch import SEEDS_APART, Point
from eloquent.sim.engine.experiment import BATCHES_UNDER_WAY, in_order, run
from eloquent.sim.engine.session import constant_rate, run_session

SCENARIO = scenarios.load("paper-default")
POINTS = [Point("retransmit", SCENARIO), Point("eloquent", SCENARIO)]
TOKENS = constant_rate(5.0)


def test_the_figures_are_those_of_the_sessions():
    done = []
    (result,) = run(POINTS[:1], sessions=12, generated_s=TOKENS, seed=1, progress=done.append)
    figures = result.figures()
    traces = [
        run_session(schemes.get("retransmit"), SCENARIO, seed=SEEDS_APART + number, generated_s=TOKENS)
        for number in range(12)
    ]
    measures = [trace.measure() for trace in traces]
    assert figures.stall_ratio == ratio([one.stall_s for one in measures], [one.stream_s for one in measures])
    assert figures.late_ratio == sum(one.late_tokens for one in measures) / 600
    assert figures.wire_bytes_per_token == sum(trace.account.wire_bytes for trace in traces) / 600
    assert (figures.sessions, figures.failed, figures.tokens, figures.accounted) == (12, 0, 600, 12)
    assert figures.ttft_p50_s is not None
    assert figures.ttft_p50_s >= 0.2
    assert figures.gap_p95_s is not None
    assert done == [5, 5, 2]


def test_comparisons_are_paired():
    baseline, ours = run(POINTS, sessions=8, generated_s=TOKENS, seed=1)
    relative = ours.figures(baseline).relative_stall_ratio
    assert relative is not None
    assert relative.baseline == "retransmit"
    ratios = [result.figures().stall_ratio for result in (ours, baseline)]
    assert relative.ratio == pytest.approx(ratios[0] / ratios[1])


def test_many_processors_give_what_one_gives():
    serial = run(POINTS, sessions=12, generated_s=TOKENS, seed=1)
    each: list[tuple[str, int]] = []
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        parallel = run(
            POINTS,
            sessions=12,
            generated_s=TOKENS,
            seed=1,
            executor=executor,
            each=lambda point, sums: each.append((point.scheme, sums.session)),
        )
    assert [result.figures() for result in parallel] == [result.figures() for result in serial]
    assert each == [(point.scheme, number) for point in POINTS for number in range(12)]


def test_the_work_under_way_is_bounded():
    started, taken = [], 0
    with ThreadPoolExecutor(1) as executor:
        for result in in_order(executor, lambda item: started.append(item) or item, range(100)):
            assert result == taken
            taken += 1
            assert len(started) <= taken + BATCHES_UNDER_WAY


def test_failed_sessions_are_counted_and_enter_nothing():
    dead = scenarios.load("rtt=100ms loss=independent(probability=1)")
    (result,) = run([Point("eloquent", dead)], sessions=2, generated_s=(0.0, 0.1), seed=1)
    figures = result.figures()
    assert (figures.sessions, figures.failed, figures.stall_ratio, figures.gap_p95_s) == (0, 2, None, None)


def test_what_cannot_be_simulated_is_refused_before_anything_runs():
    with pytest.raises(ConfigurationError, match="kernel"):
        run([POINTS[0], Point("grpc", SCENARIO)], sessions=1, generated_s=TOKENS, seed=1)
    with pytest.raises(ConfigurationError):
        run(POINTS, sessions=0, generated_s=TOKENS, seed=1)


@pytest.mark.parametrize(("start", "is_one"), [("begin", True), ("random", False)])
def test_sessions_that_begin_with_the_same_trace_are_one_for_an_interval(start, is_one):
    scenario = scenarios.load(f"rtt=100ms loss=trace(slot=100ms,shares=0*9;0.5*4;0*12;1*7;0*6,start={start})")
    baseline, ours = run(
        [Point("retransmit", scenario), Point("eloquent", scenario)], sessions=6, generated_s=TOKENS, seed=1
    )
    figures = ours.figures(baseline)
    assert figures.stall_ratio is not None
    assert (figures.stall_ratio_ci95 is None) is is_one
    assert figures.relative_stall_ratio is not None
    assert (figures.relative_stall_ratio.ci95 is None) is is_one
