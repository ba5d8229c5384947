"""What every serving process does alike: logging, `ready` on standard output, SIGTERM, one sentence for what is not possible."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable, Coroutine

import uvloop

from eloquent.errors import EloquentError


def new_loop() -> asyncio.AbstractEventLoop:
    """Make an event loop of the kind that all processes run on."""
    return uvloop.new_event_loop()


def announce_ready() -> None:
    """Say on standard output that the process accepts work."""
    gc.collect()
    gc.freeze()  # what is there now stays: looking through it again and again would make streams late
    print("ready", flush=True)  # a node's standard output is its interface to whoever started it


def run(main: Callable[[asyncio.Event], Coroutine[None, None, None]]) -> int:
    """Run a process until its main coroutine returns; return its exit status.

    Args:
        main: Given an event that SIGTERM or SIGINT sets. It drains and returns then.

    Returns:
        0, or 2 after one sentence on standard error when it cannot do what its flags ask for.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s", stream=sys.stderr)

    async def until_stopped() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await main(stop)

    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(until_stopped())
    except EloquentError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
