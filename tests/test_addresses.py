import errno
import os
import socket

import pytest

from eloquent.addresses import family_of, format_address, listen_on, parse_address, reason_of
from eloquent.errors import ConfigurationError

ADDRESSES = [
    ("127.0.0.1:80", ("127.0.0.1", 80)),
    ("host:1", ("host", 1)),
    ("a_b-c.example:443", ("a_b-c.example", 443)),
    ("[::1]:65535", ("::1", 65535)),
    ("[fe80::1%eth0]:9", ("fe80::1%eth0", 9)),
]


@pytest.mark.parametrize(("text", "address"), ADDRESSES)
def test_an_address_is_a_host_and_a_port_and_is_written_as_it_is_read(text, address):
    assert parse_address(text) == address
    assert format_address(address) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "host", "host:", ":80", ":", "80", "host:-1", "host:8o", "host:²", "host:٣", "host: 80", "host:123456"),
        *("::1:80", "[::1]", "[::1]:", "::1]:80", "[::1:80", "[[::1]]:80", "[127.0.0.1]:80", "[host]:80", "[]:80"),
        *("http://host:80", "host/:80", "ho st:80", " host:80", "host:80\n", "hö.de:80", "-a:80", "a-:80", "a..b:80"),
        *("256.0.0.1:80", "1.2.3:80", "1.2.3.4.5:80", "7:80", f"{'a' * 64}:80", f"{'a.' * 127}b:80"),
    ],
)
def test_anything_else_is_refused_in_one_sentence(text):
    with pytest.raises(ConfigurationError, match=r"is not an address: write HOST:PORT, such as 127\.0\.0\.1:9100"):
        parse_address(text)


@pytest.mark.parametrize(("text", "least"), [("host:65536", 1), ("host:99999", 1), ("[::1]:0", 1)])
def test_a_port_is_in_its_range(text, least):
    with pytest.raises(ConfigurationError, match=f"'.*' is not an address: its port is not from {least} to 65535"):
        parse_address(text)


def test_where_one_listens_port_0_takes_a_free_one():
    assert parse_address("host:0", listen=True) == ("host", 0)
    with pytest.raises(ConfigurationError, match="not from 0 to 65535"):
        parse_address("host:65536", listen=True)


def test_a_family_follows_from_the_host():
    assert family_of("::1") is socket.AF_INET6
    assert family_of("127.0.0.1") is family_of("localhost") is socket.AF_INET


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.EADDRINUSE, None), os.strerror(errno.EADDRINUSE)),
        (OSError(errno.EADDRINUSE, "error while attempting to bind on address ('::1', 1)"), "Address already in use"),
        (OSError("told in words"), "told in words"),
        (OSError(), "OSError"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
    ],
)
def test_a_reason_is_the_system_s_and_never_none(error, reason):
    assert reason_of(error) == reason


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_a_port_in_use_is_one_sentence(host, kind):
    with listen_on(f"{host}:0", kind) as taken:
        address = f"{host}:{taken.getsockname()[1]}"
        with pytest.raises(ConfigurationError) as caught:
            listen_on(address, kind)
    assert str(caught.value) == f"cannot listen on {address}: Address already in use"


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_an_address_of_somebody_else_is_one_sentence(kind):
    with pytest.raises(ConfigurationError, match=r"cannot listen on 192\.0\.2\.1:9: Cannot assign requested address"):
        listen_on("192.0.2.1:9", kind)
