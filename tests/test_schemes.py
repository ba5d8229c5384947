from dataclasses import replace

import pytest

from eloquent import schemes
from eloquent.errors import ConfigurationError
from eloquent.protocol.receiver import Receiver


def test_the_registry_has_tcp_and_the_papers_families_first() -> None:
    names = [scheme.name for scheme in schemes.defaults()]
    assert names[:5] == ["grpc", "sse", "retransmit", "duplicate-2", "eloquent"]


def test_a_scheme_may_bring_its_own_receiver() -> None:
    class Special(Receiver):
        pass

    assert type(schemes.get("eloquent").make_receiver()) is Receiver
    assert type(replace(schemes.get("eloquent"), receiver=Special).make_receiver()) is Special


def test_an_unknown_name_is_told_what_there_is() -> None:
    with pytest.raises(
        ConfigurationError, match=r"'udp' is not a scheme: choose from grpc.*, sse.*duplicate-K.*eloquent"
    ):
        schemes.get("udp")


@pytest.mark.parametrize(
    ("name", "transport", "control"),
    [("grpc", "grpc", ""), ("sse", "sse", ""), ("grpc-cubic", "grpc", "cubic"), ("sse-bbr", "sse", "bbr")],
)
def test_a_scheme_of_the_kernel_names_what_it_carries_and_its_congestion_control(name, transport, control) -> None:
    scheme = schemes.get(name)
    assert (scheme.transport, scheme.congestion_control) == (transport, control)


@pytest.mark.parametrize("name", ["grpc-vegas", "sse-", "grpc-cubic-bbr"])
def test_a_congestion_control_without_a_model_is_no_scheme(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"choose from grpc\[-cubic\|-bbr\], sse\["):
        schemes.get(name)


@pytest.mark.parametrize("name", ["grpc", "sse", "grpc-cubic", "sse-bbr"])
def test_the_kernels_schemes_have_no_endpoints(name: str) -> None:
    scheme = schemes.get(name)
    assert scheme.kind == "kernel"
    for make in (scheme.make_sender, scheme.make_receiver):
        with pytest.raises(ConfigurationError, match="no endpoints"):
            make()


def test_the_relay_pair_is_a_scheme_with_one_of_datagrams_between() -> None:
    assert [schemes.get(name).between for name in ("openai", "openai-duplicate-2")] == [
        "eloquent-packed",
        "duplicate-2",
    ]
    assert schemes.get("openai").kind == "pair"
    with pytest.raises(ConfigurationError, match="no endpoints"):
        schemes.get("openai").make_sender()


@pytest.mark.parametrize("name", ["openai-grpc", "openai-bound", "openai-openai"])
def test_relays_carry_nothing_but_datagrams(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{name}' is not a scheme: datagrams do not carry '{name[7:]}'"):
        schemes.get(name)
    with pytest.raises(ConfigurationError, match="not carried by datagrams"):
        schemes.only(["openai"])
