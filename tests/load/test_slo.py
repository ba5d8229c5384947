"""Objectives: what can be bounded, and what breaks a bound."""

import pytest

from eloquent.errors import ConfigurationError
from eloquent.load.slo import Breach, breaches, parse_slo


def test_bounds_are_read():
    assert parse_slo("stall_ratio=0.2,ttft_p95=2.0") == {"stall_ratio": 0.2, "ttft_p95": 2.0}
    assert parse_slo("") == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("speed=1", "'speed' is not measured"),
        ("stall_ratio", "write stall_ratio=NUMBER"),
        ("stall_ratio=low", "write stall_ratio=NUMBER"),
        ("stall_ratio=-1", "cannot be met"),
        ("stall_ratio=nan", "cannot be met"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_sentence(text, problem):
    with pytest.raises(ConfigurationError, match=problem):
        parse_slo(text)


def test_a_breach_names_scheme_figure_bound_and_value():
    summary = {"grpc": {"stall_ratio": 0.5, "ttft_p95_s": 1.0}, "eloquent": {"stall_ratio": 0.2, "ttft_p95_s": None}}
    found = breaches({"stall_ratio": 0.2, "ttft_p95": 2.0}, summary)
    assert found == [Breach("grpc", "stall_ratio", 0.2, 0.5), Breach("eloquent", "ttft_p95", 2.0, None)]
    assert str(found[0]) == "stall_ratio of grpc is 0.5, and should be at most 0.2"
    assert str(found[1]) == "ttft_p95 of eloquent was not measured, and should be at most 2"
