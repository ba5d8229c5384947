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
