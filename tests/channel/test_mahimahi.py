import pytest

from eloquent.channel.mahimahi import Outage, parse_mahimahi
from eloquent.errors import ConfigurationError


def test_mahimahi_gives_rates_and_outages():
    trace = parse_mahimahi(["0", "100", "100", "900", "1000", "2000"])
    assert trace.length_s == 2.0
    assert trace.mean_rate == 6 * 1500 / 2
    assert trace.rates(1.0) == [4 * 1500.0, 1 * 1500.0]
    assert trace.outages() == [Outage(0.1, 0.9), Outage(1.0, 2.0)]
    assert [outage.length_s for outage in trace.outages(0.9)] == [1.0]
    model = trace.to_model(threshold=0.9)
    assert model.shares == (0.0,) * 10 + (1.0,) * 10
    assert trace.to_model(threshold=0.5, slot=0.4).shares == (0.75, 1.0, 0.75, 1.0, 1.0)


@pytest.mark.parametrize("lines", [[], ["x"], ["5", "4"], ["0"], ["-1"]])
def test_a_bad_mahimahi_trace_is_refused(lines: list[str]):
    with pytest.raises(ConfigurationError):
        parse_mahimahi(lines)


def test_times_since_1970_count_from_the_first_line():
    trace = parse_mahimahi(["1700000000000", "1700000000100", "1700000002000"])
    assert trace.at_ms == (0, 100, 2000)
    assert len(trace.rates(1.0)) == 2
    assert len(trace.to_model(slot=0.1).shares) == 20


@pytest.mark.parametrize("line", ["x", "4", "1700000000000", "9" * 5000, "-6", "6.5", "٦"])
def test_a_bad_line_is_named(line: str):
    with pytest.raises(ConfigurationError, match=r"^line 3: "):
        parse_mahimahi(["5", "", line, "9"])


def test_a_slot_is_one_and_a_trace_has_so_many():
    for slot in (0.0, 1e-6):
        with pytest.raises(ConfigurationError, match="whole number of milliseconds"):
            parse_mahimahi(["5"]).to_model(slot=slot)
    with pytest.raises(ConfigurationError, match="slots at most"):
        parse_mahimahi(["86400000"]).to_model(slot=0.001)
