"""TCP's congestion control: handed on by a socket that listens, and refused in one sentence where the kernel lacks it."""

import socket

import pytest

from eloquent import congestion
from eloquent.errors import ConfigurationError


@pytest.mark.parametrize("control", ["reno", *congestion.offered()])
def test_what_a_socket_accepts_inherits_its_congestion_control(control):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        congestion.set_control(listener, control)
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as server:
            assert congestion.read_control(server) == control


def test_one_that_the_kernel_lacks_is_refused_in_one_sentence():
    with (
        socket.socket() as tried,
        pytest.raises(ConfigurationError, match=r"^this kernel's TCP has no .*'nosuch' for us: it has .*reno[^\n]*$"),
    ):
        congestion.set_control(tried, "nosuch")
    assert "'nosuch'" in (congestion.probe("nosuch") or "")


def test_a_scheme_whose_congestion_control_the_kernel_lacks_is_refused(monkeypatch):
    congestion.require(("grpc", "eloquent"))
    monkeypatch.setattr(congestion, "probe", lambda control: f"no {control}")
    with pytest.raises(ConfigurationError, match="'sse-cubic' cannot run here: no cubic"):
        congestion.require(("grpc", "sse-cubic"))


@pytest.mark.parametrize(("control", "address"), [("", "[::1]:8000"), ("cubic", "[::1]:8001"), ("bbr", "[::1]:8002")])
def test_each_has_a_port_of_its_own(control, address):
    assert congestion.address_of("[::1]:8000", control) == address


@pytest.mark.parametrize(
    ("address", "control"), [("127.0.0.1:65535", "cubic"), ("127.0.0.1:8000", "vegas"), ("x", "bbr")]
)
def test_what_has_no_such_port_is_refused(address, control):
    with pytest.raises(ConfigurationError):
        congestion.address_of(address, control)
