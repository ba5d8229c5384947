"""What every node does alike: its flags, and which sessions its logs hold."""

import argparse
import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

from eloquent import process
from eloquent.errors import ConfigurationError
from eloquent.nodes.common.lag import LagLog, sample_lag

GRACE = 10.0  # seconds that open streams get to end after SIGTERM


def parser(
    module: str, description: str | None, *, drains: bool = True, metered: bool = True
) -> argparse.ArgumentParser:
    """Return a parser with the flags that the nodes share.

    Args:
        module: Name under `eloquent.nodes`.
        description: The module's docstring; its first line is shown.
        drains: Whether the node serves others, who get time to end their streams.
        metered: Whether the node has metrics to show.
    """
    flags = argparse.ArgumentParser(
        prog=f"python -m eloquent.nodes.{module}",
        description=(description or "").partition("\n")[0],
        allow_abbrev=False,
    )
    if metered:
        text = "serve Prometheus metrics here; port 0 takes a free one"
        flags.add_argument("--metrics", metavar="HOST:PORT", help=text)
    flags.add_argument("--lag-log", type=Path, metavar="FILE", help="log how late the event loop wakes")
    if drains:
        text = "seconds for open streams after SIGTERM (%(default)s)"
        flags.add_argument("--grace", type=seconds, default=GRACE, help=text)
    return flags


def run(
    serve: Callable[[argparse.Namespace, asyncio.Event], Coroutine[None, None, None]], flags: argparse.Namespace
) -> int:
    """Run a node as `process.run` does, and log its lag if that is wanted; return its exit status.

    Args:
        serve: Given its flags and an event that SIGTERM or SIGINT sets.
        flags: What was parsed.
    """

    async def serve_and_log(stop: asyncio.Event) -> None:
        if flags.lag_log is None:
            return await serve(flags, stop)
        log = LagLog(flags.lag_log)
        sampling = asyncio.create_task(sample_lag(log.note))
        try:
            await serve(flags, stop)
        finally:
            sampling.cancel()
            log.close()

    return process.run(serve_and_log)


def seconds(text: str) -> float:
    """Read a flag that is a time in seconds, not negative and finite."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a time in seconds")
    return value


def positive_seconds(text: str) -> float:
    """Read a flag that is a time in seconds, more than none."""
    if (value := seconds(text)) == 0:
        raise argparse.ArgumentTypeError(f"{text} is not a time above 0")
    return value


def comma_separated(text: str) -> tuple[str, ...]:
    """Read a flag that is a list of names; blanks and empty names are left out."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


def all_or_none(flags: argparse.Namespace, *names: str) -> bool:
    """Return whether flags that go together are given.

    Args:
        flags: What was parsed.
        names: Of the flags, as attributes.

    Raises:
        ConfigurationError: Some are, and some are not.
    """
    given = [getattr(flags, name) is not None for name in names]
    if any(given) and not all(given):
        raise ConfigurationError(f"{', '.join('--' + name.replace('_', '-') for name in names)} go together")
    return all(given)


def is_logged(session: str) -> bool:
    """Return whether a session belongs into the run's logs: it has a name, and is not background load (round 0)."""
    return bool(session) and not session.endswith(".r0")
