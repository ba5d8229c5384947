"""Captures with damage anywhere: what is told is one sentence or figures, never another exception, and memory is bounded."""

from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eloquent.errors import ConfigurationError
from eloquent.measure import findings as found
from eloquent.measure.flows import Vantage
from eloquent.measure.losses import loss_trace

CAPTURES = [path.read_bytes() for path in sorted((Path(__file__).parent / "captures").iterdir())]
PLACES = st.integers(min_value=0, max_value=40_000)
DAMAGE = st.one_of(
    st.tuples(PLACES, st.just(1), st.binary(min_size=1, max_size=1)),
    st.tuples(PLACES, st.integers(0, 200), st.binary(max_size=8)),
    st.tuples(PLACES, st.just(4), st.sampled_from([b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"])),
    st.tuples(PLACES, st.just(1 << 20), st.just(b"")),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    raw=st.sampled_from(CAPTURES),
    damages=st.lists(DAMAGE, min_size=1, max_size=8),
    vantage=st.sampled_from([None, *Vantage]),
)
def test_damage_is_told_or_does_no_harm(tmp_path: Path, raw: bytes, damages, vantage: Vantage | None):
    for place, length, instead in damages:
        at = place % max(1, len(raw))
        raw = raw[:at] + instead + raw[at + length :]
    path = tmp_path / "damaged.pcap"
    path.write_bytes(raw)
    warnings: list[str] = []
    streams = None
    with suppress(ConfigurationError):
        streams = found.read_streams(path, vantage=vantage, warn=warnings.append)
    if streams is None:
        return
    figures = found.find("damaged", None, streams, warnings)
    assert figures.packets is not None
    assert figures.unknown is not None
    transmissions = sum(len(one.transmissions) for one in streams)
    assert figures.packets + figures.unknown == transmissions
    assert transmissions < 5_000  # of 1,000 packets at most, and what filled their holes
    if figures.packets:
        assert len(loss_trace(streams).packets) == figures.packets
