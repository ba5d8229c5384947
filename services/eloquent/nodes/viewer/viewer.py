"""Ask, render, measure: a process for one client host or several, each of which asks by every scheme at the same instant.

Rules of this file: rounds start at absolute instants of CLOCK_MONOTONIC, whatever became of the round before. A session
that fails is an outcome, and stops no other. The answer to the paper's counting prompt is known, so every token is
checked: an answer that differs, or ends early, is `data_loss`. Other words may have any
answer. Progress is JSON Lines on standard output.
"""

import argparse
import asyncio
import json
import logging
import sys
import time
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path

from eloquent import process, telemetry
from eloquent.asking import AsyncClient
from eloquent.calls import names
from eloquent.calls.answer import AnswerFailed
from eloquent.errors import ConfigurationError
from eloquent.nodes.common import runtime
from eloquent.nodes.common.clients import Ask, add_flags, make_clients
from eloquent.nodes.common.lag import sample_lag
from eloquent.nodes.sources.counting import CountingSource
from eloquent.nodes.viewer.seats import Seat, read_seats
from eloquent.records.rows import LagRow
from eloquent.screen import SchemeMetrics, Screen, ViewerLog

GIL_INTERVAL = (
    0.0005  # seconds that the thread of the metrics' page, which takes tens of milliseconds, may hold the loop up
)
_BREAK = 10.0  # seconds between the length of a session and the start of the next round

_logger = logging.getLogger(__name__)


class Viewer:
    """One client.

    Args:
        client: Its name.
        clients: Where to ask, by scheme.
        metrics: Where it is counted.
        log: Where it is logged; `None` logs nothing.
    """

    def __init__(
        self, client: str, clients: dict[str, AsyncClient], metrics: telemetry.ViewerMetrics, log: ViewerLog | None
    ) -> None:
        self._client = client
        self._clients = clients
        self._log = log
        self._metrics = {scheme: SchemeMetrics(metrics, client, scheme) for scheme in clients}
        self._lag = metrics.loop_lag.labels(client)

    async def rounds(self, ask: Ask, *, rounds: int, start_at: float, round_length: float) -> None:
        """Run all rounds, each scheme once in each.

        Args:
            ask: What to ask for.
            rounds: How many.
            start_at: When the first starts, in seconds of CLOCK_MONOTONIC.
            round_length: Seconds from the start of one to the start of the next.
        """
        async with asyncio.TaskGroup() as sessions:
            for number in range(1, rounds + 1):
                for scheme in self._clients:
                    start = start_at + (number - 1) * round_length
                    sessions.create_task(self._round(scheme, number, start, ask))

    async def background(self, ask: Ask, *, pause: float) -> None:
        """Keep asking by each scheme, with a pause of so many seconds before each session, for ever."""
        async with asyncio.TaskGroup() as streams:
            for scheme in self._clients:
                streams.create_task(self._repeat(scheme, ask, pause))

    def note_lag(self, due: float, lag: float, *, logged: bool) -> None:
        """Note how late the event loop woke.

        Args:
            due: When it was to wake, in seconds of CLOCK_MONOTONIC.
            lag: How much later it did, in seconds.
            logged: Whether the lag belongs into the run's logs.
        """
        self._lag.observe(lag)
        if logged and self._log is not None:
            self._log.lag.write(LagRow(due, lag))

    async def connect(self) -> None:
        """Connect ahead of the first session."""
        await asyncio.gather(*(client.connect() for client in self._clients.values()))

    async def close(self) -> None:
        """Close the connections and the logs."""
        for client in self._clients.values():
            await client.close()
        if self._log is not None:
            self._log.close()

    async def view(self, scheme: str, number: int, ask: Ask) -> str:
        """Run one session; return its outcome: `ok` or a gRPC status in lower case."""
        session = f"{self._client}.{scheme}.r{number}"
        screen = Screen(
            session,
            client=self._client,
            scheme=scheme,
            round_number=number,
            requested_s=time.monotonic(),
            metrics=self._metrics[scheme],
            log=self._log,
        )
        outcome = "cancelled"
        try:
            outcome = await self._render(screen, scheme, session, ask)
        except Exception:  # a failed session is an outcome and stops no other; its traceback is logged
            outcome = "internal"
            _logger.exception("%s failed", session)
        finally:
            screen.end(outcome, ended_s=time.monotonic())
            if number > 0:
                _print_event(
                    event="session_ended",
                    client=self._client,
                    scheme=scheme,
                    round=number,
                    tokens=screen.tokens,
                    outcome=outcome,
                )
        return outcome

    async def _round(self, scheme: str, number: int, start: float, ask: Ask) -> None:
        await asyncio.sleep(start - time.monotonic())
        await self.view(scheme, number, ask)

    async def _repeat(self, scheme: str, ask: Ask, pause: float) -> None:
        while True:
            await asyncio.sleep(pause)  # first of all, so that the last round's costs can be recorded
            await self.view(scheme, 0, ask)

    async def _render(self, screen: Screen, scheme: str, session: str, ask: Ask) -> str:
        metadata = names.owner_metadata(client=self._client, scheme=scheme, session=session)
        expected = None if ask.words else CountingSource().tokens(ask.prompt)
        try:
            async with aclosing(self._clients[scheme].answer(ask, metadata)) as answer:
                async for token in answer:
                    rendered_s = time.monotonic()
                    if expected is not None:
                        right = next(expected, None)
                        if right is None or (token.index, token.text) != (screen.tokens, right.text):
                            return "data_loss"
                    screen.render(generated_s=token.generated_s, rendered_s=rendered_s)
        except AnswerFailed as error:
            _logger.warning("%s: %s: %s", session, error.outcome, error)
            return error.outcome
        return "ok" if expected is None or next(expected, None) is None else "data_loss"


def _print_event(**event: object) -> None:
    print(json.dumps(event), flush=True)


async def share_lag(viewers: Sequence[Viewer], *, logged: bool) -> None:
    """Measure how late the event loop wakes, for ever.

    Args:
        viewers: Those who share the loop: it is the lag of each.
        logged: Whether it belongs into the run's logs.
    """

    def note(due: float, lag: float) -> None:
        for viewer in viewers:
            viewer.note_lag(due, lag, logged=logged)

    await sample_lag(note)


async def run(flags: argparse.Namespace, stop: asyncio.Event) -> None:
    """Run the rounds, then the background load if that is wanted; stop at once when told to."""
    sys.setswitchinterval(GIL_INTERVAL)
    metrics = telemetry.ViewerMetrics()
    viewers = {
        Viewer(
            seat.client,
            make_clients(flags, seat.network),
            metrics,
            ViewerLog(flags.run_dir, seat.client) if flags.run_dir else None,
        ): seat
        for seat in read_seats(flags)
    }
    if flags.metrics:
        telemetry.serve(flags.metrics)
    await asyncio.gather(*(viewer.connect() for viewer in viewers))
    process.announce_ready()
    work = asyncio.create_task(_work(viewers, flags))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait((work, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not work.done():
        work.cancel()
    await asyncio.wait((work,))
    for viewer in viewers:
        await viewer.close()
    if not work.cancelled():
        work.result()  # raises what went wrong


async def _work(viewers: Mapping[Viewer, Seat], flags: argparse.Namespace) -> None:
    ask = Ask(flags.session_seconds, flags.token_gap, flags.words)
    orders = await _open_orders() if flags.start_on_order else None
    if orders is not None:
        start_at = await _start_order(orders)
        late_s = max(0.0, time.monotonic() - start_at)
        if late_s:
            _logger.warning("the order to start came %.3f s after the start", late_s)
        _print_event(event="order_taken", late_s=late_s)
    else:
        start_at = time.monotonic() if flags.start_at is None else flags.start_at
    round_length = flags.round_seconds or flags.session_seconds + _BREAK
    sampling = asyncio.create_task(share_lag(list(viewers), logged=True))
    async with asyncio.TaskGroup() as rounds:
        for viewer, seat in viewers.items():
            own = viewer.rounds(ask, rounds=flags.rounds, start_at=start_at + seat.offset_s, round_length=round_length)
            rounds.create_task(own)
    sampling.cancel()
    _print_event(event="rounds_done")
    if flags.background:
        light = Ask(flags.background_seconds, flags.token_gap, flags.words)
        await keep_background(list(viewers), light, pause=flags.background_pause, orders=orders)
    elif flags.stay:
        await asyncio.Event().wait()


async def keep_background(
    viewers: Sequence[Viewer], ask: Ask, *, pause: float, orders: asyncio.StreamReader | None
) -> None:
    """Keep the background load on, for ever, but where `{"background": false}` is ordered; `true` resumes it.

    Args:
        viewers: Who asks.
        ask: What to ask for.
        pause: Seconds before each session.
        orders: Where orders come from, one a line.
    """
    wanted = True
    while True:
        work: list[Coroutine[None, None, None]] = []
        if wanted:
            work = [share_lag(viewers, logged=False), *(viewer.background(ask, pause=pause) for viewer in viewers)]
        tasks = [asyncio.create_task(one) for one in work]
        try:
            wanted = await _background_order(orders)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _background_order(orders: asyncio.StreamReader | None) -> bool:
    """Wait for the next order on the background load; after the last one, for ever."""
    while orders is not None and (line := await orders.readline()):
        match json.loads(line):
            case {"background": bool(wanted)}:
                return wanted
    await asyncio.Event().wait()
    raise AssertionError("nothing sets that event")


async def _open_orders() -> asyncio.StreamReader:
    """Open standard input for orders, one JSON object a line."""
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    return orders


async def _start_order(orders: asyncio.StreamReader) -> float:
    """Wait for the order `{"start_at": SECONDS}`.

    Raises:
        ConfigurationError: The line is something else, or standard input ended before it.
    """
    line = await orders.readline()
    try:
        return float(json.loads(line)["start_at"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f'expected {{"start_at": SECONDS}} on standard input, not {line!r}') from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node."""
    parser = runtime.parser("viewer", __doc__, drains=False)
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--client", help="name of the client, the label of its metrics and logs")
    who.add_argument(
        "--seats", type=Path, metavar="FILE", help="clients in the networks of their hosts: a list of seats"
    )
    add_flags(parser)
    add = parser.add_argument
    add("--rounds", type=int, default=1, help="rounds (%(default)s)")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--start-at", type=float, metavar="SECONDS", help="instant of CLOCK_MONOTONIC of round 1 (now)")
    start.add_argument(
        "--start-on-order",
        action="store_true",
        help='read it as {"start_at": SECONDS} on standard input; {"background": false} pauses the light load',
    )
    add("--session-seconds", type=runtime.positive_seconds, default=30.0, help="length of a session (%(default)s)")
    add("--round-seconds", type=runtime.positive_seconds, help=f"from round to round (a session and {_BREAK:g} s)")
    add("--token-gap", type=runtime.positive_seconds, default=0.1, help="seconds between two tokens (%(default)s)")
    add("--words", default="", help="what to ask (the paper's prompt)")
    add("--stay", action="store_true", help="after the rounds go on serving metrics until SIGTERM")
    add("--background", action="store_true", help="after the rounds keep a light load until SIGTERM")
    add(
        "--background-seconds", type=runtime.positive_seconds, default=10.0, help="length of its sessions (%(default)s)"
    )
    add("--background-pause", type=runtime.seconds, default=20.0, help="seconds before each (%(default)s)")
    add("--run-dir", type=Path, metavar="DIR", help="write this run's logs")
    return process.run(partial(run, parser.parse_args(arguments)))
