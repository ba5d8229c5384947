"""The exact bound, and that the simulator comes to the same."""

import pytest

from eloquent import scenarios
from eloquent.channel.loss import IndependentLoss, LossModel, MarkovLoss, NoLoss
from eloquent.errors import ConfigurationError
from eloquent.qoe.ratios import ratio, share_interval
from eloquent.sim.engine.batch import Point
from eloquent.sim.engine.bound import least_stall_s, stall_ratio_bound, stationary, step_matrices
from eloquent.sim.engine.experiment import run
from eloquent.sim.engine.session import constant_rate


@pytest.mark.parametrize(
    ("name", "percent"), [("paper-default", 14.17), ("paper-frequent", 42.52), ("paper-long", 33.70)]
)
def test_the_bounds_of_the_papers_channels(name: str, percent: float):
    for threshold in (0.200, 0.210):  # a single lost packet makes a gap of exactly 200 ms
        assert stall_ratio_bound(scenarios.load(name).loss_down, threshold=threshold) * 100 == pytest.approx(
            percent, abs=0.006
        )


def test_independent_losses_have_a_closed_form():
    """A gap of d steps has probability q^(d-1) (1-q); in gaps of 1 and 2 steps are (1-q)^2 (1 + 2q) of the time."""
    for q in (0.0, 0.15, 0.5, 0.9):
        expected = 1 - (1 - q) ** 2 * (1 + 2 * q)
        assert stall_ratio_bound(IndependentLoss(probability=q)) == pytest.approx(expected, abs=1e-12)


def test_the_extremes():
    assert stall_ratio_bound(NoLoss()) == pytest.approx(0.0, abs=1e-12)
    assert stall_ratio_bound(IndependentLoss(probability=1.0)) == 1.0


def test_more_packets_lower_it():
    model = scenarios.load("paper-default").loss_down
    bounds = [stall_ratio_bound(model, spacing=0.1 / count) for count in (1, 2, 3, 5, 10)]
    assert bounds == sorted(bounds, reverse=True)


def test_known_values_of_several_packets_a_token():
    """As they were computed before packets could go at any distance."""
    model = scenarios.load("paper-default").loss_down
    for count, percent in ((1, 14.175), (2, 12.809), (3, 11.533), (5, 9.279), (10, 5.280)):
        assert stall_ratio_bound(model, spacing=0.1 / count) * 100 == pytest.approx(percent, abs=0.001)


def test_faster_tokens_do_not_change_what_packets_can_bring():
    """Each packet has something new, however much."""
    model = scenarios.load("paper-long").loss_down
    bounds = {stall_ratio_bound(model, gap=gap, spacing=0.06) for gap in (0.005, 0.01, 0.02, 0.06)}
    assert max(bounds) == pytest.approx(min(bounds), abs=1e-12)


def test_the_matrices_are_a_chain():
    model = scenarios.load("paper-long").loss_down
    for gap, spacing, places in ((0.1, 0.1, 1), (0.1, 0.1 / 3, 3), (0.02, 0.06, 5), (0.02, 0.015, 20), (0.005, 0.3, 1)):
        render, silent = step_matrices(model, gap=gap, spacing=spacing)
        assert len(render) == places
        assert (render + silent).sum(axis=2) == pytest.approx(1.0)
        assert all(stationary(step).sum() == pytest.approx(1.0) for step in render + silent)


@pytest.mark.parametrize(
    ("model", "scheme", "gap", "spacing"),
    [
        (scenarios.load("paper-default").loss_down, "bound", 0.1, 0.1),
        (scenarios.load("paper-frequent").loss_down, "bound", 0.1, 0.1),
        (scenarios.load("paper-long").loss_down, "bound", 0.1, 0.1),
        (scenarios.load("paper-default").loss_down, "bound-50ms", 0.1, 0.05),
        (scenarios.load("paper-long").loss_down, "bound-25ms", 0.1, 0.025),
        (IndependentLoss(probability=0.4), "bound", 0.1, 0.1),
        (scenarios.load("paper-default").loss_down, "bound", 0.06, 0.06),
        (scenarios.load("paper-long").loss_down, "bound", 0.033, 0.033),
        (scenarios.load("paper-default").loss_down, "bound-20ms", 0.06, 0.02),
        (MarkovLoss(stay_good=0.8, stay_bad=0.7, loss_in_good=0.1, loss_in_bad=0.8, slot=0.05), "bound", 0.1, 0.1),
    ],
)
def test_the_simulator_agrees(model: LossModel, scheme: str, gap: float, spacing: float):
    """The exact value lies in the interval that holds the truth all but once in a million times."""
    scenario = scenarios.Scenario(rtt=0.1, loss_down=model)
    (result,) = run([Point(scheme, scenario)], sessions=15, generated_s=constant_rate(60.0, gap), seed=1)
    stall_s, stream_s = result.column("stall_s"), result.column("stream_s")
    exact, simulated = stall_ratio_bound(model, gap=gap, spacing=spacing), ratio(stall_s, stream_s)
    interval = share_interval(stall_s, stream_s, level=1 - 1e-6)
    assert simulated is not None
    assert interval is not None
    assert interval[0] < exact < interval[1]
    assert simulated == pytest.approx(exact, rel=0.2)


def test_the_packets_that_arrived_bound_the_stalls_of_their_session():
    arrived = (0.1, 0.2, 0.45, 0.5, 0.5, 1.0, 1.1, 2.0)
    assert least_stall_s(arrived, (0.1, 0.5, 1.1)) == pytest.approx(0.25 + 0.5)
    assert least_stall_s(arrived, (0.2, 0.2, 0.45)) == pytest.approx(0.25)
    assert least_stall_s(arrived, (0.1, 0.5, 1.1), threshold=0.3) == pytest.approx(0.5)
    assert least_stall_s(arrived, (1.0,)) == 0.0
    assert least_stall_s(arrived, ()) == 0.0


def test_an_oracle_with_a_packet_a_token_is_at_the_bound_of_its_packets():
    scenario = scenarios.load("paper-long")
    (result,) = run([Point("bound", scenario)], sessions=3, generated_s=constant_rate(20.0), seed=1)
    own = result.own_bound()
    assert own is not None
    assert own > 0.1
    assert own == pytest.approx(result.figures().stall_ratio)


def test_what_has_no_common_beat_has_no_bound():
    for times in ({"gap": 0.0701234}, {"spacing": 0.0701234}, {"spacing": 0.0}):
        with pytest.raises(ConfigurationError, match="whole milliseconds"):
            stall_ratio_bound(scenarios.load("paper-default").loss_down, **times)
