"""What may be asked of a load test."""

import pytest

from eloquent import scenarios
from eloquent.errors import ConfigurationError
from eloquent.load.options import parse_load_options
from eloquent.load.ride import RIDE


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"users": 0}, "USERS=0 is not possible"),
        ({"duration_s": 1}, "DURATION=1 is not possible"),
        ({"shape": "wave"}, "SHAPE=wave is not possible: .*'steady', 'ramp', 'spike' or 'commuter'"),
        ({"schemes": ()}, "SCHEMES is empty"),
        ({"schemes": ("pigeon",)}, "'pigeon' is not a scheme"),
        ({"schemes": ("bound",)}, "for the simulator"),
        ({"via": "air"}, "VIA=air"),
        ({"token_rate": 0}, "TOKEN_RATE=0 is not possible"),
        ({"slo": "speed=1"}, "SLO: 'speed' is not measured"),
    ],
)
def test_nonsense_is_refused_with_a_sentence(values, problem):
    with pytest.raises(ConfigurationError, match=problem):
        parse_load_options(**values)


def test_a_ride_takes_the_whole_test_and_ends_well():
    assert sum(stage.share for stage in RIDE) == pytest.approx(1.0)
    losses = [scenarios.load(stage.scenario).loss_down.worst_loss for stage in RIDE]
    assert losses[0] == losses[-1] == 0
    assert max(losses) > 0.8
