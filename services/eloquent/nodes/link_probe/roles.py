"""Watch access links with a trickle of probes: `send` runs beyond the links, `reflect` in the networks of the client hosts."""

import argparse
import contextlib
import selectors
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eloquent import networks
from eloquent.addresses import listen_on
from eloquent.errors import ConfigurationError
from eloquent.nodes.link_probe import sender
from eloquent.nodes.link_probe.probes import MAX_DATAGRAM, Reflector


def reflect(binds: Sequence[str]) -> None:
    """Echo probes, for ever.

    Args:
        binds: Where, each HOST:PORT, or FILE@HOST:PORT in the network that the file names.

    Raises:
        ConfigurationError: An address is malformed or cannot be bound.
    """
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for bind in binds:
            network, _, address = bind.rpartition("@")
            with networks.inside(Path(network) if network else None):
                server = stack.enter_context(listen_on(address, socket.SOCK_DGRAM))
            server.settimeout(0)
            selector.register(server, selectors.EVENT_READ, Reflector())
        print("ready", flush=True)
        while True:
            for key, _ in selector.select():
                _echo(key.fileobj, key.data)


def _echo(server: Any, reflector: Reflector) -> None:
    """Echo the probe that waits."""
    try:
        data, sender = server.recvfrom(MAX_DATAGRAM)
    except OSError:
        return  # nothing there after all, or what ICMP said of an earlier echo
    echo = reflector.echo(data, now_ns=time.monotonic_ns())
    if echo is not None:
        with contextlib.suppress(OSError):  # a full device loses it, as a link would
            server.sendto(echo, sender)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node."""
    parser = argparse.ArgumentParser(
        prog="python -m eloquent.nodes.link_probe", description=__doc__, allow_abbrev=False
    )
    roles = parser.add_subparsers(dest="role", required=True)
    add = roles.add_parser("reflect", help="echo probes").add_argument
    text = "UDP addresses to listen on, each in the present network or in that which a file names"
    add("--bind", nargs="+", required=True, metavar="[FILE@]HOST:PORT", help=text)
    add = roles.add_parser("send", help="send probes, count and log what becomes of them").add_argument
    add("--to", nargs="+", required=True, metavar="CLIENT=HOST:PORT", help="reflectors")
    add("--interval", type=float, default=0.05, help="seconds between two probes of a link (%(default)s)")
    add("--metrics", metavar="HOST:PORT", help="serve Prometheus metrics here; port 0 takes a free one")
    add("--run-dir", metavar="DIR", help="write probes/CLIENT.csv of this run")
    add("--lag-log", type=Path, metavar="FILE", help="log how late probes leave")
    flags = parser.parse_args(arguments)
    try:
        if flags.role == "send":
            sender.send(
                flags.to, interval=flags.interval, metrics=flags.metrics, run_dir=flags.run_dir, lag_log=flags.lag_log
            )
        else:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            reflect(flags.bind)
    except ConfigurationError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
