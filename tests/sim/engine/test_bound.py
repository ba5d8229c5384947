"""The exact bound, and that the simulator comes to the same."""

import pytest

from eloquent import scenarios
from eloquent.channel.loss import IndependentLoss, LossModel, MarkovLoss, NoLoss
from eloquent.errors import ConfigurationError
from eloquent.qoe.ratios import ratio, share_interval
from eloquent.sim.engine.batch import Point
from eloquent.sim.engine.bound import stall_ratio_bound, stationary, step_matrices
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
    bounds = [stall_ratio_bound(model, packets_per_token=count) for count in (1, 2, 3, 5, 10)]
    assert bounds == sorted(bounds, reverse=True)


def test_the_matrices_are_a_chain():
    model = scenarios.load("paper-long").loss_down
    for count in (1, 3):
        render, silent = step_matrices(model, gap=0.1, packets_per_token=count)
        assert (render + silent).sum(axis=1) == pytest.approx(1.0)
        assert stationary(render + silent).sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("model", "scheme", "packets"),
    [
        (scenarios.load("paper-default").loss_down, "bound", 1),
        (scenarios.load("paper-frequent").loss_down, "bound", 1),
        (scenarios.load("paper-long").loss_down, "bound", 1),
        (scenarios.load("paper-default").loss_down, "bound-50ms", 2),
        (scenarios.load("paper-long").loss_down, "bound-25ms", 4),
        (IndependentLoss(probability=0.4), "bound", 1),
        (MarkovLoss(stay_good=0.8, stay_bad=0.7, loss_in_good=0.1, loss_in_bad=0.8, slot=0.05), "bound", 1),
    ],
)
def test_the_simulator_agrees(model: LossModel, scheme: str, packets: int):
    """The exact value lies in the interval that holds the truth all but once in a million times."""
    scenario = scenarios.Scenario(rtt=0.1, loss_down=model)
    (result,) = run([Point(scheme, scenario)], sessions=15, generated_s=constant_rate(60.0), seed=1)
    stall_s, stream_s = result.column("stall_s"), result.column("stream_s")
    exact, simulated = stall_ratio_bound(model, packets_per_token=packets), ratio(stall_s, stream_s)
    interval = share_interval(stall_s, stream_s, level=1 - 1e-6)
    assert simulated is not None
    assert interval is not None
    assert interval[0] < exact < interval[1]
    assert simulated == pytest.approx(exact, rel=0.2)


def test_a_channel_without_a_common_beat_has_none():
    with pytest.raises(ConfigurationError):
        stall_ratio_bound(scenarios.load("paper-default").loss_down, gap=0.07)
    with pytest.raises(ConfigurationError):
        stall_ratio_bound(scenarios.load("paper-default").loss_down, gap=0.05)
