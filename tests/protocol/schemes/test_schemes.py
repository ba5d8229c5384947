import re

import pytest

from eloquent.errors import ConfigurationError
from eloquent.protocol import schemes


def test_the_registry_has_the_four_families() -> None:
    assert [scheme.name for scheme in schemes.defaults()] == ["grpc", "retransmit", "duplicate-2", "eloquent"]


def test_every_scheme_can_be_drawn_apart() -> None:
    drawn = [*schemes.defaults(), *(schemes.get(f"duplicate-{k}") for k in (3, 4, 5))]
    assert all(re.fullmatch("#[0-9a-f]{6}", scheme.colour) for scheme in drawn)
    assert len({scheme.colour for scheme in drawn}) == len({scheme.label for scheme in drawn}) == len(drawn)


def test_an_unknown_name_is_told_what_there_is() -> None:
    with pytest.raises(ConfigurationError, match=r"'udp' is not a scheme: choose from grpc, .*duplicate-K.*eloquent"):
        schemes.get("udp")


def test_the_kernel_scheme_has_no_endpoints() -> None:
    scheme = schemes.get("grpc")
    assert (scheme.kind, scheme.label) == ("kernel", "TCP (gRPC)")
    for make in (scheme.make_sender, scheme.make_receiver):
        with pytest.raises(ConfigurationError, match="kernel"):
            make()
