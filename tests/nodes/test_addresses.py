import pytest

from eloquent.errors import ConfigurationError
from eloquent.nodes.addresses import parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), ("host:0", ("host", 0)), ("[::1]:65535", ("::1", 65535))],
)
def test_an_address_is_a_host_and_a_port(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "host", "host:", ":80", "host:65536", "host:-1", "host:8o", "host:²"])
def test_anything_else_is_refused(text):
    with pytest.raises(ConfigurationError, match="HOST:PORT"):
        parse_address(text)
