import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.errors import ConfigurationError
from eloquent.units import (
    format_duration,
    format_percent,
    format_rate,
    parse_duration,
    parse_probability,
    parse_rate,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("400ms", 0.4),
        ("1.5s", 1.5),
        ("2min", 120.0),
        ("1h", 3600.0),
        ("250us", 0.00025),
        ("0", 0.0),
        ("0ms", 0.0),
        (" 5ms ", 0.005),
    ],
)
def test_a_duration_is_read_in_seconds(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "400", "ms", "-1ms", "1 s", "1e3ms", "1.s", "1d", "nan", "1ms 2ms"])
def test_what_is_no_duration_is_named(text):
    with pytest.raises(
        ConfigurationError, match=rf"^'{text}' is not a duration: write a number and a unit, such as 400ms or 1.5s$"
    ):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "rate"), [("10mbit", 1.25e6), ("512kbit", 64e3), ("8bit", 1.0), ("1gbit", 125e6), ("2.5mbit", 312500.0)]
)
def test_a_rate_is_read_in_bytes_per_second(text, rate):
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "10", "10mbps", "-1mbit", "10 mbit", "1e3bit"])
def test_what_is_no_rate_is_named(text):
    with pytest.raises(
        ConfigurationError, match=rf"^'{text}' is not a rate: write a number and a unit, such as 10mbit or 512kbit$"
    ):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "value"), [("0.15", 0.15), ("15%", 0.15), ("0", 0.0), ("1", 1.0), ("100%", 1.0), ("1e-3", 0.001)]
)
def test_a_probability_is_read_as_a_number_from_0_to_1(text, value):
    assert parse_probability(text) == value


@pytest.mark.parametrize("text", ["", "1.1", "101%", "-0.1", "-1%", "nan", "inf", "often"])
def test_what_is_no_probability_is_named(text):
    with pytest.raises(ConfigurationError, match=rf"^'{text}' is not a probability: write a number from 0 to 1"):
        parse_probability(text)


@given(st.integers(min_value=0, max_value=999_999))
def test_whole_milliseconds_survive_writing_and_reading(milliseconds):
    assert parse_duration(format_duration(milliseconds / 1e3)) == milliseconds / 1e3


@given(st.integers(min_value=1, max_value=999_999), st.sampled_from(["bit", "kbit", "mbit"]))
def test_a_rate_survives_writing_and_reading(number, unit):
    rate = parse_rate(f"{number}{unit}")
    assert parse_rate(format_rate(rate)) == pytest.approx(rate, rel=1e-12)


def test_formats_choose_the_unit_that_reads_best():
    assert [format_duration(0.4), format_duration(1.5), format_duration(0.0)] == ["400ms", "1.5s", "0ms"]
    assert [format_rate(1.25e6), format_rate(64e3), format_rate(125e6), format_rate(1.0)] == [
        "10mbit",
        "512kbit",
        "1gbit",
        "8bit",
    ]
    assert [format_percent(0.15), format_percent(0.0004), format_percent(1.5)] == ["15.0%", "0.0%", "150.0%"]
