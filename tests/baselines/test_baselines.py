"""What every baseline with endpoints of ours has to do: deliver each token once and in order, whatever the path does."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eloquent import schemes
from eloquent.protocol.contract import StreamAcknowledged, StreamFinished, TokenReceived

VARIANTS = ["tcp", "tcp-bbr", "red-1", "red-10", "fec-1-1", "fec-8-1", "fec-64-8", "ssp", "kcp"]


@pytest.mark.parametrize("name", VARIANTS)
@settings(max_examples=20)
@given(
    tokens=st.lists(st.one_of(st.binary(max_size=12), st.binary(min_size=500, max_size=2500)), max_size=60),
    gap=st.sampled_from([0.0, 0.004, 0.03, 0.1]),
    delay=st.sampled_from([0.001, 0.05, 0.2]),
    blackouts=st.lists(st.floats(0.0, 10.0).map(lambda start: (start, start + 1.0)), max_size=3),
    seed=st.integers(0, 2**16),
)
def test_bursts_blackouts_and_half_of_everything_lost(
    net: Any,
    name: str,
    tokens: list[bytes],
    gap: float,
    delay: float,
    blackouts: list[tuple[float, float]],
    seed: int,
) -> None:
    """Exactly once and in order, acknowledgements lost as well; from the 15th second on everything gets through."""
    scheme = schemes.get(name)
    path = net.Path(delay=delay, drop=0.5, duplicate=0.1, late=0.1, seed=seed, until=15.0, blackouts=blackouts)
    pair = net.EndpointPair(scheme.make_sender(), scheme.make_receiver(), path)
    sender = pair.ends["a"]
    for i, token in enumerate(tokens):
        pair.at(i * gap, lambda token=token: sender.send_token(token, now=pair.now))
    pair.at(len(tokens) * gap, lambda: sender.finish(trailer=b"bye", now=pair.now))
    pair.run()
    assert pair.events["b"] == [*(TokenReceived(i, token) for i, token in enumerate(tokens)), StreamFinished(b"bye")]
    assert pair.events["a"] == [StreamAcknowledged()]
    assert sender.account.original_bytes == sum(map(len, tokens))
    assert sender.account.wire_bytes == sum(len(data) + 28 for _, data in pair.sent["a"])
