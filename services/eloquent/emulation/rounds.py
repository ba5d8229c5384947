"""The rounds of a run: every client asks by every scheme at the same time, over links that follow their schedules.

Slot 0 of the schedules and the first round begin at one instant, the epoch. Client k of n starts k/n of a token gap later, so
that the tokens of all clients do not fall due at the same instant; that is the same in every run, and so is what each client meets.
"""

import asyncio
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from eloquent.emulation.carriers.carrier import Carrier
from eloquent.emulation.deployment import PAUSE
from eloquent.emulation.ledger import Ledger, ProcessorTime
from eloquent.emulation.options import Options
from eloquent.emulation.processes import LabProcess
from eloquent.errors import EmulationError
from eloquent.nodes.link_probe.probes import LOST_AFTER
from eloquent.report.summary import summarise

START_MARGIN = 2.0  # seconds between the order to start and the first request
SETTLE = LOST_AFTER + 0.5  # seconds after which the probes have judged, and logged, their last
LATENESS_BOUND = 0.005  # seconds, p99 of the state changes
LAG_BOUND = 0.020  # seconds, p99 of the viewers' event loops: a starved viewer invents stalls
STEAL_BOUND = 0.05  # share of processor time
BUSY_BOUND = 0.85  # share of the processors that the lab keeps busy; beyond, what arrives waits for relays and switches
TICK = 0.5  # seconds between two signs of progress


class Rounds:
    """Runs the rounds and judges how well they were run.

    Args:
        options: What was asked for.
        carrier: Impairs the links.
        viewers: The viewers by client, ready, waiting for the order to start.
        ledger: Where everything is noted.
        folder: The run directory.
    """

    def __init__(
        self,
        options: Options,
        carrier: Carrier,
        viewers: Mapping[str, LabProcess],
        ledger: Ledger,
        folder: Path,
    ) -> None:
        self._options = options
        self._carrier = carrier
        self._viewers = viewers
        self._ledger = ledger
        self._folder = folder
        self._epoch = 0.0
        self._overlong = 0

    async def run(self, *, needed: Iterable[LabProcess]) -> None:
        """Run all rounds, and leave manifest and summary.

        Args:
            needed: Processes without which the rounds mean nothing.

        Raises:
            EmulationError: One of them, or a viewer, ended before the rounds did.
        """
        await self._start()
        before = ProcessorTime.now()
        work = [asyncio.create_task(self._follow(viewer)) for viewer in self._viewers.values()]
        guards = [asyncio.create_task(_fail_with(process)) for process in needed]
        ticking = asyncio.create_task(self._tick())
        try:
            await _first_failure_or_all(work, guards)
        finally:
            for task in [*work, *guards, ticking]:
                task.cancel()
        self._ledger.entries["processor"] = before.until(ProcessorTime.now())
        await asyncio.sleep(SETTLE)
        await self._judge()

    async def _start(self) -> None:
        """Fix the epoch, last of all, and tell carrier and viewers."""
        count = len(self._viewers) * len(self._options.schemes)
        self._ledger.note_schedule(self._carrier.links, length_s=self._options.rounds * self._round_s)
        self._epoch = time.monotonic() + START_MARGIN
        step = self._options.token_gap_s / len(self._viewers)
        starts = {client: self._epoch + number * step for number, client in enumerate(self._viewers)}
        await self._carrier.follow_schedule(self._epoch)
        for client, viewer in self._viewers.items():
            await viewer.write_line(json.dumps({"start_at": starts[client]}))
        self._ledger.entries["epoch_s"] = self._epoch
        self._ledger.entries["start_offsets_s"] = {client: start - self._epoch for client, start in starts.items()}
        self._ledger.write()
        seconds = self._options.rounds * self._round_s - PAUSE
        self._ledger.tell({"event": "streaming", "seconds": seconds, "sessions": count * self._options.rounds})

    @property
    def _round_s(self) -> float:
        return self._options.session_s + PAUSE

    async def _follow(self, viewer: LabProcess) -> None:
        """Pass on what a viewer tells, until its rounds are done."""
        longest = (
            self._options.rounds * self._round_s + 2 * self._options.session_s + 60
        )  # beyond the sessions' deadline
        async with asyncio.timeout(longest):
            while (event := json.loads(await viewer.read_line(longest)))["event"] != "rounds_done":
                self._overlong += time.monotonic() > self._epoch + event["round"] * self._round_s
                self._ledger.tell(event)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self._ledger.tell({"event": "tick", "elapsed": max(0.0, time.monotonic() - self._epoch)})

    async def _judge(self) -> None:
        """Note how well the run was run, and compute what came of it."""
        lateness = await self._carrier.measure_lateness()
        self._ledger.entries["lateness"] = lateness
        self._ledger.entries["directions"] = await self._carrier.count()
        self._ledger.write()
        summary = summarise(self._folder)
        late, lag = lateness["p99_s"], summary.load_lag_p99_s
        stolen = self._ledger.entries["processor"]["stolen"]
        if self._overlong and self._options.rounds > 1:
            self._ledger.warn(
                f"{self._overlong} sessions were still running when the next round began, and shared its links"
            )
        if late is not None and late > LATENESS_BOUND:
            self._ledger.warn(
                f"state changes were late by {late * 1e3:.1f} ms at p99, more than {LATENESS_BOUND * 1e3:g} ms"
            )
        if lag is not None and lag > LAG_BOUND:
            self._ledger.warn(
                f"the viewers' event loops lagged by {lag * 1e3:.0f} ms at p99, more than {LAG_BOUND * 1e3:g} ms:"
                " this machine is too busy for so many clients, and the stalls are partly its own"
            )
        if stolen > STEAL_BOUND:
            self._ledger.warn(
                f"the hypervisor took {stolen:.0%} of this machine's processor time during the rounds:"
                " expect late changes of state, and stalls that no link made"
            )
        self._ledger.write()


async def _fail_with(process: LabProcess) -> None:
    """Wait for a process to end, and call it a failure."""
    status = await process.process.wait()
    raise EmulationError(f"{process.name} ended with exit status {status} during the rounds{process.log_tail()}")


async def _first_failure_or_all(work: list[asyncio.Task[None]], guards: list[asyncio.Task[None]]) -> None:
    """Wait until all work is done, or anything fails."""
    pending = set(work)
    while pending:
        done, _ = await asyncio.wait([*pending, *guards], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        pending -= done
