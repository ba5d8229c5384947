"""The browser as a client: what the user's own browser sends enters the lab at a client's host, and crosses its impaired link.

Rules of this file: the process runs in the client's network. Its connections and datagrams towards the server and the origin are
therefore those of that host: lost, delayed and congested as any viewer's there. Requests come over the management network, from the
board; datagrams from a UDP socket of the machine's 127.0.0.1, which is bound before the lab exists and handed in, as those of
inbound_forwards.py are.

    python -m eloquent.emulation.browser_access --requests HOST:PORT --server HOST:PORT --datagrams DESCRIPTOR --origin HOST:PORT
"""

import argparse
import asyncio
import functools
import socket
import sys

from eloquent import process
from eloquent.addresses import listen_on, parse_address
from eloquent.emulation.inbound_forwards import forward
from eloquent.emulation.udp_forward import UdpForward


async def serve(flags: argparse.Namespace, stop: asyncio.Event) -> None:
    """Forward until stopped."""
    host, port = parse_address(flags.server)
    requests = await asyncio.start_server(
        functools.partial(forward, host=host, port=port), sock=listen_on(flags.requests)
    )
    datagrams = UdpForward(socket.socket(fileno=flags.datagrams), parse_address(flags.origin))
    process.announce_ready()
    await stop.wait()
    requests.close()
    datagrams.close()


def main() -> int:
    """Run the process."""
    parser = argparse.ArgumentParser(
        prog="python -m eloquent.emulation.browser_access", description=(__doc__ or "").partition("\n")[0]
    )
    add = parser.add_argument
    add("--requests", required=True, metavar="HOST:PORT", help="connections come here")
    add("--server", required=True, metavar="HOST:PORT", help="and go there")
    add("--datagrams", required=True, type=int, metavar="DESCRIPTOR", help="bound UDP socket that datagrams come to")
    add("--origin", required=True, metavar="HOST:PORT", help="and go to")
    return process.run(functools.partial(serve, parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
