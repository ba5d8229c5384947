"""The benchmark of relays, short: ways of carrying tokens bring those that are due, and say what they cost."""

import pytest
from bench.relays import WAYS, Load, measure

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("way", ["UDP echo", "aioquic datagrams", "relays, gRPC, plain", "relays, HTTP, sealed"])
def test_tokens_come_at_their_rate_and_cost_something(way: str):
    ((streams, cost),) = measure(WAYS[way], Load(rate=20), [3], 1.0)
    assert streams == 3
    assert cost.server > 0
    assert cost.client > 0
    assert 0.5 < cost.kept < 1.5  # whatever else the machine does
