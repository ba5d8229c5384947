"""The rounds of a run: every client asks by every scheme at the same time, over links that follow their schedules.

Slot 0 of the schedules and the first round begin at one instant, the epoch. Client k of n starts k/n of a token gap later, so
that the tokens of all clients do not fall due at the same instant; that is the same in every run, and so is what each client meets.
"""

import asyncio
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from eloquent.emulation.account import MachineAccount
from eloquent.emulation.carriers.carrier import Carrier
from eloquent.emulation.deployment import PAUSE
from eloquent.emulation.ledger import Ledger
from eloquent.emulation.network import LabHost
from eloquent.emulation.options import Options
from eloquent.emulation.processes import LabProcess
from eloquent.errors import EmulationError
from eloquent.nodes.link_probe.probes import LOST_AFTER
from eloquent.records.run_directory import RunDirectory
from eloquent.report.figures import compute
from eloquent.report.summary import summarise
from eloquent.report.validity import STEAL_BOUND, STEAL_WARNING

START_MARGIN = 2.0  # seconds between the order to start and the first request
SETTLE = LOST_AFTER + 0.5  # seconds after which the probes have judged, and logged, their last
TICK = 0.5  # seconds between two signs of progress


class Rounds:
    """Runs the rounds and judges how well they were run.

    Args:
        options: What was asked for.
        carrier: Impairs the links.
        viewers: The viewers, ready, waiting for the order to start.
        offsets_s: How many seconds after the start of a round each client asks.
        ledger: Where everything is noted.
        folder: The run directory.
        hosts: The hosts of the lab.
    """

    def __init__(
        self,
        options: Options,
        carrier: Carrier,
        viewers: Sequence[LabProcess],
        ledger: Ledger,
        folder: Path,
        *,
        offsets_s: Mapping[str, float],
        hosts: Sequence[LabHost],
    ) -> None:
        self._options = options
        self._carrier = carrier
        self._viewers = viewers
        self._offsets_s = offsets_s
        self._ledger = ledger
        self._folder = folder
        self._hosts = hosts
        self._epoch = 0.0
        self._overlong = 0

    async def run(self, *, needed: Iterable[LabProcess]) -> None:
        """Run all rounds, and leave manifest and summary.

        Args:
            needed: Processes without which the rounds mean nothing.

        Raises:
            EmulationError: One of them, or a viewer, ended before the rounds did.
        """
        needed = list(needed)
        await self._start()
        account = MachineAccount(lambda: [*needed, *self._viewers], self._hosts)
        work = [asyncio.create_task(self._follow(viewer)) for viewer in self._viewers]
        guards = [asyncio.create_task(_fail_with(process)) for process in needed]
        beside = [asyncio.create_task(one) for one in (self._tick(), account.watch())]
        try:
            await _first_failure_or_all(work, guards)
        finally:
            for task in [*work, *guards, *beside]:
                task.cancel()
        account.look()
        self._ledger.entries.update(account.entries())
        await asyncio.sleep(SETTLE)
        await self._judge()

    async def _start(self) -> None:
        """Fix the epoch, last of all, and tell carrier and viewers.

        Raises:
            EmulationError: A viewer did not take its order before the epoch.
        """
        count = len(self._offsets_s) * len(self._options.schemes)
        self._ledger.note_schedule(self._carrier.links, length_s=self._options.rounds * self._round_s)
        self._epoch = time.monotonic() + START_MARGIN
        await self._carrier.follow_schedule(self._epoch)
        for viewer in self._viewers:
            await viewer.write_line(json.dumps({"start_at": self._epoch}))
        await require_taken(self._viewers, by_s=self._epoch)
        self._ledger.entries["epoch_s"] = self._epoch
        self._ledger.entries["start_offsets_s"] = dict(self._offsets_s)
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
        try:
            async with asyncio.timeout(longest):
                while (event := json.loads(await viewer.read_line(longest)))["event"] != "rounds_done":
                    self._overlong += time.monotonic() > self._epoch + event["round"] * self._round_s
                    self._ledger.tell(event)
        except TimeoutError:
            raise EmulationError(f"{viewer.name} has not ended its rounds within {longest:g} s") from None

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
        summary = compute(RunDirectory(self._folder))
        self._ledger.entries["congestion_controls"] = {
            name: one.congestion_control for name, one in summary.schemes.items() if one.congestion_control
        }
        self._ledger.entries["unmeasured"] = summary.unmeasured
        if self._overlong and self._options.rounds > 1:
            self._ledger.warn(
                f"{self._overlong} sessions were still running when the next round began, and shared its links"
            )
        stolen = self._ledger.entries["processor"]["stolen"]
        if STEAL_WARNING < stolen <= STEAL_BOUND:
            self._ledger.warn(f"the hypervisor took {stolen:.0%} of this machine's processor time during the rounds")
        self._ledger.write()
        self._ledger.entries["flaws"] = list(summarise(self._folder).flaws)
        self._ledger.write()


async def require_taken(viewers: Iterable[LabProcess], *, by_s: float) -> None:
    """Wait until each viewer has taken its order to start, and say which has not.

    Args:
        viewers: Those who were told.
        by_s: The epoch, in seconds of CLOCK_MONOTONIC.

    Raises:
        EmulationError: One has not by then, or took it too late: its sessions would not be those of the others' instants.
    """
    viewers = list(viewers)
    taken = await asyncio.gather(*(_has_taken(viewer, by_s) for viewer in viewers))
    late = [viewer.name for viewer, is_taken in zip(viewers, taken, strict=True) if not is_taken]
    if late:
        raise EmulationError(
            f"{', '.join(late)} had taken no order to start by the epoch: this machine is too busy for so many clients"
        )


async def _has_taken(viewer: LabProcess, by_s: float) -> bool:
    try:
        told = json.loads(await viewer.read_line(max(0.0, by_s - time.monotonic())))
    except EmulationError:
        if not viewer.is_running:
            raise
        return False
    return bool(told["event"] == "order_taken" and told["late_s"] == 0)


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
