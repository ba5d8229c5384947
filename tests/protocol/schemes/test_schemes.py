import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eloquent.errors import ConfigurationError
from eloquent.protocol import schemes
from eloquent.protocol.contract import StreamDelivered, StreamFinished, TokenReceived
from eloquent.protocol.receiver import Receiver


def test_the_registry_has_tcp_and_the_papers_families_first() -> None:
    names = [scheme.name for scheme in schemes.defaults()]
    assert names[:5] == ["grpc", "sse", "retransmit", "duplicate-2", "eloquent"]


def test_a_scheme_may_bring_its_own_receiver() -> None:
    class Special(Receiver):
        pass

    assert type(schemes.get("eloquent").make_receiver()) is Receiver
    assert type(replace(schemes.get("eloquent"), receiver=Special).make_receiver()) is Special


def test_every_scheme_can_be_drawn_apart() -> None:
    drawn = [*schemes.defaults(), *(schemes.get(f"duplicate-{k}") for k in (3, 4, 5))]
    assert all(re.fullmatch("#[0-9a-f]{6}", scheme.colour) for scheme in drawn)
    assert len({scheme.colour for scheme in drawn}) == len({scheme.label for scheme in drawn}) == len(drawn)


def test_an_unknown_name_is_told_what_there_is() -> None:
    with pytest.raises(ConfigurationError, match=r"'udp' is not a scheme: choose from grpc, .*duplicate-K.*eloquent"):
        schemes.get("udp")


@pytest.mark.parametrize(("name", "label"), [("grpc", "TCP (gRPC)"), ("sse", "TCP (HTTP SSE)")])
def test_the_kernels_schemes_have_no_endpoints(name: str, label: str) -> None:
    scheme = schemes.get(name)
    assert (scheme.kind, scheme.label) == ("kernel", label)
    for make in (scheme.make_sender, scheme.make_receiver):
        with pytest.raises(ConfigurationError, match="kernel"):
            make()


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
    assert pair.events["a"] == [StreamDelivered()]
    assert sender.account.original_bytes == sum(map(len, tokens))
    assert sender.account.wire_bytes == sum(len(data) + 28 for _, data in pair.sent["a"])
