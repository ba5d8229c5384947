"""Watch access links with a trickle of probes: `send` runs beyond the links, `reflect` in each client host."""

import argparse
import signal
import socket
import sys
import time
from collections.abc import Sequence

from eloquent.addresses import listen_on
from eloquent.errors import ConfigurationError
from eloquent.nodes.link_probe.probes import MAX_DATAGRAM, Reflector


def reflect(bind: str) -> None:
    """Echo probes, for ever.

    Raises:
        ConfigurationError: The address is malformed or cannot be bound.
    """
    reflector = Reflector()
    with listen_on(bind, socket.SOCK_DGRAM) as server:
        print("ready", flush=True)
        while True:
            data, sender = server.recvfrom(MAX_DATAGRAM)
            echo = reflector.echo(data, now_ns=time.monotonic_ns())
            if echo is not None:
                server.sendto(echo, sender)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node."""
    parser = argparse.ArgumentParser(
        prog="python -m eloquent.nodes.link_probe", description=__doc__, allow_abbrev=False
    )
    roles = parser.add_subparsers(dest="role", required=True)
    add = roles.add_parser("reflect", help="echo probes").add_argument
    add("--bind", required=True, metavar="HOST:PORT", help="UDP address to listen on")
    add = roles.add_parser("send", help="send probes, count and log what becomes of them").add_argument
    add("--to", nargs="+", required=True, metavar="CLIENT=HOST:PORT", help="reflectors")
    add("--interval", type=float, default=0.05, help="seconds between two probes of a link (%(default)s)")
    add("--metrics", metavar="HOST:PORT", help="serve Prometheus metrics here; port 0 takes a free one")
    add("--run-dir", metavar="DIR", help="write probes/CLIENT.csv of this run")
    flags = parser.parse_args(arguments)
    try:
        if flags.role == "send":
            # Only here: a reflector needs the standard library alone, and there is one in each client host.
            from eloquent.nodes.link_probe import sender

            sender.send(flags.to, interval=flags.interval, metrics=flags.metrics, run_dir=flags.run_dir)
        else:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            reflect(flags.bind)
    except ConfigurationError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
