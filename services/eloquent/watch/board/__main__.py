"""Serve the board: started by the lab, in its own namespace; a port of the machine's 127.0.0.1 is forwarded here."""

import argparse
import asyncio
import socket
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import uvicorn

from eloquent import process, telemetry
from eloquent.addresses import listen_on
from eloquent.watch.board.app import make_app
from eloquent.watch.facts import RunFacts
from eloquent.watch.prometheus import Prometheus


class _Server(uvicorn.Server):
    """Says when it is ready, as every process of the lab does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        process.announce_ready()


async def serve(flags: argparse.Namespace, _stop: asyncio.Event) -> None:
    """Serve until a signal, which uvicorn heeds by itself."""
    listener = listen_on(flags.listen)
    if flags.metrics:
        telemetry.serve(flags.metrics)
    app = make_app(RunFacts.read(flags.facts), Prometheus(flags.prometheus), telemetry.ViewerMetrics())
    # A chat is a stream that ends only with its answer: at the end of the lab nobody waits for it.
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    await _Server(config).serve(sockets=[listener])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the board."""
    parser = argparse.ArgumentParser(
        prog="python -m eloquent.watch.board", description=(__doc__ or "").partition("\n")[0]
    )
    add = parser.add_argument
    add("--listen", required=True, metavar="HOST:PORT", help="serve the page here")
    add("--prometheus", required=True, metavar="URL", help="where values come from")
    add("--facts", required=True, type=Path, metavar="FILE", help="what runs, as the lab wrote it")
    add("--metrics", metavar="HOST:PORT", help="serve the metrics of the chats here")
    return process.run(partial(serve, parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
