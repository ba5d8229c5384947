"""The first process of a lab's namespaces: it builds the lab, answers `make status`, and its end is the lab's end.

    unshare --net --mount --pid --fork --kill-child --mount-proc python -m eloquent.emulation.supervisor

Standard input brings one JSON object: the options, the choice of carrier and datapath, the run directory, the path of the control
socket, the descriptors of the sockets of the inbound forwards (inbound_forwards.py) and of the namespaces outside
(outbound_forwards.py). Standard output takes events, one JSON object a line, until the rounds are over; if its other end is
closed before that, the lab ends.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from eloquent.emulation.capabilities import Choice
from eloquent.emulation.events import EventWriter
from eloquent.emulation.inbound_forwards import INBOUND_FORWARDS
from eloquent.emulation.lab import Lab
from eloquent.emulation.ledger import Ledger
from eloquent.emulation.options import Options
from eloquent.emulation.outbound_forwards import Outside
from eloquent.errors import EloquentError
from eloquent.load.options import LoadOptions


@dataclass(frozen=True)
class Orders:
    """What the supervisor is to do.

    Attributes:
        options: What was asked for.
        choice: Which carrier and datapath to use.
        folder: The run directory.
        control: Path of the control socket.
        urls: Where the user reaches the services of the lab, by name.
        inbound: Descriptors of the listening sockets of the inbound forwards, by name.
        datagrams: Descriptor of the socket for datagrams of the user's browser (browser_access.py).
        outside: The namespaces that the lab is started from.
        stays: Whether the lab, once it is up, outlives the one who started it.
    """

    options: Options
    choice: Choice
    folder: Path
    control: Path
    urls: dict[str, str]
    inbound: dict[str, int]
    datagrams: int
    outside: Outside
    stays: bool

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The open files that the lab needs."""
        return (*self.inbound.values(), self.datagrams, self.outside.network, self.outside.mount)

    def to_json(self) -> str:
        """Write the orders on one line."""
        return json.dumps(
            {
                "options": self.options.model_dump(mode="json"),
                "choice": [
                    self.choice.carrier,
                    self.choice.carrier_why,
                    self.choice.datapath,
                    self.choice.datapath_why,
                ],
                "folder": str(self.folder),
                "control": str(self.control),
                "urls": self.urls,
                "inbound": self.inbound,
                "datagrams": self.datagrams,
                "outside": [self.outside.network, self.outside.mount],
                "stays": self.stays,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "Orders":
        """Read what `to_json` wrote."""
        values = json.loads(text)
        return cls(
            options=Options.model_validate(values["options"]),
            choice=Choice(*values["choice"]),
            folder=Path(values["folder"]),
            control=Path(values["control"]),
            urls=values["urls"],
            inbound=values["inbound"],
            datagrams=values["datagrams"],
            outside=Outside(*values["outside"]),
            stays=values["stays"],
        )


class Supervisor:
    """Runs one lab from its first to its last moment."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        scenario = orders.options.scenario
        ledger = Ledger(orders.folder, orders.options, scenario, orders.choice, self._tell)
        by_name = {forward.name: forward for forward in INBOUND_FORWARDS}
        self._inbound = [(by_name[name], socket.socket(fileno=number)) for name, number in orders.inbound.items()]
        self._lab = Lab(
            orders.options,
            scenario,
            ledger,
            orders.folder,
            urls=orders.urls,
            control=orders.control,
            datagrams=socket.socket(fileno=orders.datagrams),
            outside=orders.outside,
        )
        self._stop = asyncio.Event()
        self._events: EventWriter  # to the one who started the lab
        self._stage = "starting"

    def _tell(self, event: dict[str, Any]) -> None:
        """Write an event for the user; once the lab is up, nobody is to hear any more, and it goes nowhere."""
        if self._stage != "up":
            self._events.tell(event)

    def _starter_gone(self) -> None:
        """End a lab that nobody wants any more: the one who started it is gone before it was up, or it was his alone."""
        if self._stage != "up" or not self._orders.stays:
            self._stop.set()

    async def run(self) -> int:
        """Build the lab, run the rounds, and keep the lab up until told to stop; give the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        self._events = await EventWriter.on_pipe(sys.stdout, on_lost=self._starter_gone)
        control = await asyncio.start_unix_server(self._answer, path=self._orders.control)
        servers = [await forward.serve(outside) for forward, outside in self._inbound]
        work = asyncio.create_task(self._work())
        stop = asyncio.create_task(self._stop.wait())
        await asyncio.wait((work, stop), return_when=asyncio.FIRST_COMPLETED)
        status = 0
        if work.done():
            status = self._judge(work)
        else:
            work.cancel()
        control.close()
        for server in servers:
            server.close()
        await self._lab.stop()
        self._orders.control.unlink(missing_ok=True)
        await self._events.close()
        return status

    async def _work(self) -> None:
        await self._lab.start()
        self._stage = "running"
        await self._lab.run_rounds()
        self._tell({"event": "up"})
        self._stage = "up"
        await asyncio.Event().wait()

    def _judge(self, work: asyncio.Task[None]) -> int:
        """Return why the work ended before anybody asked it to."""
        error = work.exception()
        if error is not None and not isinstance(error, EloquentError):
            traceback.print_exception(error)
        text = str(error) or repr(error)
        print(text, file=sys.stderr)  # into the log, for one who does not read
        self._tell({"event": "error", "text": text})
        return 1

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request on the control socket."""
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            match json.loads(await reader.readline()):
                case {"do": "stop"}:
                    self._stop.set()
                    _say(writer, {"stopping": True})
                case {"do": "load", "options": dict(options)}:
                    await self._load(LoadOptions.model_validate(options), reader, writer)
                case {"do": "cut", "client": str(client), "seconds": float(seconds)}:
                    _say(writer, await self._cut(client, seconds))
                case _:
                    is_built = self._stage != "starting"
                    _say(writer, {"stage": self._stage, **(self._lab.describe() if is_built else {})})
            await writer.drain()

    async def _cut(self, client: str, seconds: float) -> dict[str, str]:
        """Cut a client's link for a while; give an error, or nothing."""
        if self._stage != "up":
            return {
                "error": "the testbed's rounds are still running, which an outage would spoil: try again when it is up"
            }
        try:
            await self._lab.cut(client, seconds)
        except EloquentError as error:
            return {"error": str(error)}
        return {}

    async def _load(self, options: LoadOptions, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Run a load test and tell of it; it ends when the one who asked hangs up."""
        tell = EventWriter(writer.transport).tell
        if self._stage != "up":
            tell({"event": "error", "text": "the testbed's rounds are still running: try again when it is up"})
            return
        work = asyncio.create_task(self._lab.run_load(options, tell))
        hang_up = asyncio.create_task(reader.read())
        await asyncio.wait((work, hang_up), return_when=asyncio.FIRST_COMPLETED)
        hang_up.cancel()
        if not work.done():  # done is also one that was refused, because another test runs
            self._lab.interrupt_load()
        await asyncio.wait((work,))
        if (error := work.exception()) is not None:
            if not isinstance(error, EloquentError):
                traceback.print_exception(error)
            tell({"event": "error", "text": str(error) or repr(error)})


def _say(writer: asyncio.StreamWriter, answer: dict[str, Any]) -> None:
    writer.write(json.dumps(answer).encode() + b"\n")


async def main() -> NoReturn:
    """Run the lab of the orders on standard input, and end this process, and with it the namespaces.

    Nothing is waited for then: a task that was cancelled while it started a command may never end (asyncio of Python 3.11), and a
    supervisor that waited for it would keep up a lab that nobody wants.
    """
    status = await Supervisor(Orders.from_json(sys.stdin.readline())).run()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    asyncio.run(main())
