import argparse
import asyncio
import os
import signal

import pytest

from eloquent.errors import ConfigurationError
from eloquent.nodes import runtime


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


def test_metadata_is_kept_without_what_grpc_adds_and_what_is_not_text():
    pairs = [
        ("user-agent", "grpc-python"),
        ("grpc-timeout", "1S"),
        (":path", "/"),
        ("x-trace-bin", b"\x00"),
        ("x-eloquent-client", "c1"),
        ("x-tag", "a"),
        ("x-tag", "b"),
    ]
    assert runtime.metadata_of(pairs) == {"x-eloquent-client": "c1", "x-tag": "a,b"}
    assert runtime.metadata_of(None) == {}


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

    assert runtime.run(node) == 0


def test_a_node_that_cannot_do_what_its_flags_ask_says_so_and_exits_with_2(capsys):
    async def node(_):
        raise ConfigurationError("the port is taken")

    assert runtime.run(node) == 2
    assert capsys.readouterr().err == "error: the port is taken\n"
