"""Ask one question by several schemes at the same instant, and tell what comes: one side of a chat that somebody watches.

Rules of this file: one question and the process ends. Connections are open before the question is asked, so that no scheme
starts behind another. What comes is JSON Lines on standard output, its instants in seconds of CLOCK_MONOTONIC:

    {"event": "asked", "at_s": T}
    {"event": "token", "scheme": NAME, "text": TEXT, "generated_s": T, "rendered_s": T}
    {"event": "ended", "scheme": NAME, "outcome": "ok", "message": "", "at_s": T}

Nobody logs these sessions: they end in `.r0`, as those of the background load do.
"""

import argparse
import asyncio
import json
import logging
import time
from collections.abc import Sequence
from contextlib import aclosing
from functools import partial

from eloquent import process
from eloquent.asking import AsyncClient
from eloquent.calls import names
from eloquent.calls.answer import AnswerFailed
from eloquent.nodes.common import runtime
from eloquent.nodes.common.clients import Ask, add_flags, make_clients

_logger = logging.getLogger(__name__)


async def ask_all(clients: dict[str, AsyncClient], ask: Ask, *, client: str) -> None:
    """Ask by each scheme at once, until every answer has ended.

    Args:
        clients: Where to ask, by scheme; connected.
        ask: What to ask for.
        client: Name of the client.
    """
    _tell(event="asked", at_s=time.monotonic())
    async with asyncio.TaskGroup() as answers:
        for scheme, by in clients.items():
            answers.create_task(_follow(scheme, by, ask, client))


async def _follow(scheme: str, by: AsyncClient, ask: Ask, client: str) -> None:
    metadata = names.owner_metadata(client=client, scheme=scheme, session=f"{client}.{scheme}.chat.r0")
    outcome, message = "ok", ""
    try:
        async with aclosing(by.answer(ask, metadata)) as answer:
            async for token in answer:
                _tell(
                    event="token",
                    scheme=scheme,
                    text=token.text,
                    generated_s=token.generated_s,
                    rendered_s=time.monotonic(),
                )
    except AnswerFailed as error:
        outcome, message = error.outcome, str(error)
    except Exception as error:  # the other scheme goes on, and the reader is told; its traceback is logged
        outcome, message = "internal", repr(error)
        _logger.exception("asking by %s failed", scheme)
    _tell(event="ended", scheme=scheme, outcome=outcome, message=message, at_s=time.monotonic())


def _tell(**event: object) -> None:
    print(json.dumps(event), flush=True)


async def run(flags: argparse.Namespace, stop: asyncio.Event) -> None:
    """Connect, ask, and tell; leave the answers when told to stop."""
    clients = make_clients(flags)
    await asyncio.gather(*(by.connect() for by in clients.values()))
    asking = asyncio.create_task(
        ask_all(clients, Ask(flags.seconds, flags.token_gap, flags.words), client=flags.client)
    )
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait((asking, stopped), return_when=asyncio.FIRST_COMPLETED)
    asking.cancel()
    stopped.cancel()
    await asyncio.wait((asking,))
    for by in clients.values():
        await by.close()
    if not asking.cancelled():
        asking.result()  # raises what went wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node."""
    parser = runtime.parser("asker", __doc__, drains=False, metered=False)
    parser.add_argument("--client", required=True, help="name of this client")
    add_flags(parser)
    add = parser.add_argument
    add("--words", default="", help="what to ask (the paper's prompt)")
    add("--seconds", type=runtime.positive_seconds, default=20.0, help="length of the answer (%(default)s)")
    add("--token-gap", type=runtime.positive_seconds, default=0.1, help="seconds between two tokens (%(default)s)")
    return process.run(partial(run, parser.parse_args(arguments)))
