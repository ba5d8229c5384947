import argparse
import asyncio
import os
import signal
import socket
import urllib.request

import pytest

from eloquent import process
from eloquent.addresses import listen_on
from eloquent.errors import ConfigurationError
from eloquent.nodes.common import runtime


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "x", ""])
def test_a_time_is_a_number_that_is_not_negative(text):
    with pytest.raises((argparse.ArgumentTypeError, ValueError)):
        runtime.seconds(text)


def test_a_time_may_be_0_unless_it_must_not():
    assert runtime.seconds("0") == 0
    assert runtime.positive_seconds("0.5") == 0.5
    with pytest.raises(argparse.ArgumentTypeError):
        runtime.positive_seconds("0")


def test_lists_of_names_may_have_blanks():
    assert runtime.comma_separated(" a, b,,c ") == ("a", "b", "c")
    assert runtime.comma_separated("") == ()


@pytest.mark.parametrize(
    ("session", "logged"), [("c1.grpc.r1", True), ("c1.grpc.r10", True), ("c1.grpc.r0", False), ("", False)]
)
def test_background_load_and_strangers_are_not_logged(session, logged):
    assert runtime.is_logged(session) is logged


def test_the_parser_knows_the_shared_flags():
    flags = runtime.parser("x", "Do something.\n\nMore.").parse_args(["--metrics", "h:1", "--grace", "2"])
    assert (flags.metrics, flags.grace) == ("h:1", 2.0)
    assert not hasattr(runtime.parser("x", None, drains=False).parse_args([]), "grace")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_the_node_to_stop(number):
    async def node(stop):
        os.kill(os.getpid(), number)
        await asyncio.wait_for(stop.wait(), 5)

    assert process.run(node) == 0


def test_a_node_that_cannot_do_what_its_flags_ask_says_so_and_exits_with_2(capsys):
    async def node(_):
        raise ConfigurationError("the port is taken")

    assert process.run(node) == 2
    assert capsys.readouterr().err == "error: the port is taken\n"


FREE = "127.0.0.1:0"
NOBODY = "127.0.0.1:9"
WHERE_NODES_LISTEN = [
    (socket.SOCK_STREAM, "token_server", "--listen"),
    (socket.SOCK_STREAM, "token_server", "--listen", FREE, "--http"),
    (socket.SOCK_STREAM, "token_server", "--listen", FREE, "--metrics"),
    (socket.SOCK_STREAM, "edge_relay", "--origin", NOBODY, "--listen"),
    (socket.SOCK_STREAM, "edge_relay", "--origin", NOBODY, "--listen", FREE, "--metrics"),
    (socket.SOCK_DGRAM, "origin_relay", "--upstream", NOBODY, "--listen"),
    (socket.SOCK_STREAM, "origin_relay", "--upstream", NOBODY, "--listen", FREE, "--metrics"),
    (socket.SOCK_STREAM, "viewer", "--client", "c1", "--schemes", "grpc", "--server", NOBODY, "--metrics"),
    (socket.SOCK_DGRAM, "link_probe", "reflect", "--bind"),
    (socket.SOCK_STREAM, "link_probe", "send", "--to", f"c1={NOBODY}", "--metrics"),
]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
@pytest.mark.parametrize(("kind", "node", "flags"), [(kind, node, flags) for kind, node, *flags in WHERE_NODES_LISTEN])
def test_a_port_in_use_is_one_sentence_and_exit_status_2(start_node, kind, node, flags, host):
    with listen_on(f"{host}:0", kind) as taken:
        address = f"{host}:{taken.getsockname()[1]}"
        status, error = start_node(node, *flags, address, ready=False).wait()
    assert status == 2
    assert [line for line in error.splitlines() if line.startswith("error: ")] == [error.splitlines()[-1]]
    assert f"cannot listen on {address}: " in error
    assert "None" not in error
    assert "Traceback" not in error


@pytest.mark.parametrize(("kind", "node", "flags"), [(kind, node, flags) for kind, node, *flags in WHERE_NODES_LISTEN])
def test_a_malformed_address_is_one_sentence_and_exit_status_2(start_node, kind, node, flags):
    status, error = start_node(node, *flags, "::1:9", ready=False).wait()
    assert status == 2
    assert error.splitlines()[-1].startswith("error: '::1:9' is not an address: write HOST:PORT")
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("node", "flags"),
    [
        ("edge_relay", ("--listen", FREE, "--origin")),
        ("origin_relay", ("--listen", FREE, "--upstream")),
        ("viewer", ("--client", "c1", "--schemes", "grpc", "--server")),
        ("viewer", ("--client", "c1", "--schemes", "sse", "--http")),
        ("asker", ("--client", "c1", "--schemes", "eloquent", "--edge")),
    ],
)
def test_nobody_can_be_asked_at_port_0(start_node, node, flags):
    status, error = start_node(node, *flags, FREE, ready=False).wait()
    assert status == 2
    assert error == f"error: '{FREE}' is not an address: its port is not from 1 to 65535\n"


@pytest.mark.parametrize("node", [words for _, *words in WHERE_NODES_LISTEN if words[-1] == "--metrics"], ids=" ".join)
def test_metrics_are_served_over_ipv6_as_over_ipv4(start_node, free_port, node):
    port = free_port()
    if node[0] == "viewer":  # it ends when nobody answers
        server = f"127.0.0.1:{free_port()}"
        start_node("token_server", "--listen", server)
        node = [server if word == NOBODY else word for word in node]
    start_node(*node, f"[::1]:{port}")
    with urllib.request.urlopen(f"http://[::1]:{port}/metrics", timeout=20) as page:
        assert b"eloquent_" in page.read()
