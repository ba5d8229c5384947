"""Load tests on a lab that is up.

A load test leaves a run directory of its own in that of the run, `load-1` and so on: the workers' logs, the probes and the senders'
accounts of its time, Locust's reports, and the summary of all of it. Whatever ends it early, what it has is kept, and is marked as
partial.
"""

import asyncio
import contextlib
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eloquent import scenarios
from eloquent.channel.loss import format_loss
from eloquent.emulation.account import MachineAccount
from eloquent.emulation.carriers.carrier import Carrier
from eloquent.emulation.deployment import Deployment
from eloquent.emulation.locusts import LAST_LOOK, LINGER, Locusts
from eloquent.emulation.monitoring import Target
from eloquent.emulation.network import LabHost
from eloquent.emulation.processes import LabProcess
from eloquent.emulation.rounds import SETTLE
from eloquent.errors import EmulationError
from eloquent.load.options import LoadOptions
from eloquent.load.ride import RIDE
from eloquent.load.slo import breaches, parse_slo
from eloquent.records.rows import LagRow, RowWriter
from eloquent.records.run_directory import RunDirectory
from eloquent.report.figures import compute
from eloquent.report.summary import write_summary
from eloquent.report.validity import STEAL_BOUND, STEAL_WARNING

OVERTIME = 60.0  # seconds beyond the duration until a load test that does not end is ended


@dataclass(frozen=True)
class Place:
    """The lab that a load test runs on.

    Attributes:
        run: The run's directory.
        clients: The client hosts.
        hosts: All hosts.
        deployment: The nodes.
        carrier: Impairs the links.
        infrastructure: All other processes.
        model: Which model is asked, of a server outside; None for the token server.
        locust_url: Where Locust's page is to be seen.
        show: Lets Prometheus scrape these pages, and no others of a load test.
    """

    run: RunDirectory
    clients: Sequence[LabHost]
    hosts: Sequence[LabHost]
    deployment: Deployment
    carrier: Carrier
    infrastructure: Sequence[LabProcess]
    model: str | None
    locust_url: str
    show: Callable[[Iterable[Target]], None]

    @property
    def processes(self) -> list[LabProcess]:
        """Every process of the lab."""
        return [*self.infrastructure, *self.deployment.nodes, *self.deployment.viewers]


def next_number(run: Path, latest: int) -> int:
    """Return the number of the next load test of a run: beyond all that are there, and those that were.

    Args:
        run: The run's directory; a user may have deleted load tests, whose streams are still in the run's logs.
        latest: Number of the latest load test of this lab; 0 for none.
    """
    there = (path.name.removeprefix("load-") for path in run.glob("load-*"))
    return 1 + max([latest, *(int(number) for number in there if number.isdecimal())])


class LoadTest:
    """One load test.

    Args:
        options: What was asked for.
        number: Its number in the run, which no other load test of this lab has had, since its sessions bear it.
        place: Where it runs.
        tell: Gets an event, a small JSON object, whenever the user should see something.

    Attributes:
        options: What was asked for.
    """

    def __init__(self, options: LoadOptions, number: int, place: Place, tell: Callable[[dict[str, Any]], None]) -> None:
        self.options = options
        self._place = place
        self._tell = tell
        self._number = number
        self._folder = place.run.path / f"load-{self._number}"
        self._warnings: list[str] = []
        self._is_partial = False
        (self._folder / "logs").mkdir(parents=True)
        self._locusts = Locusts(
            options,
            number=self._number,
            folder=self._folder,
            clients=place.clients,
            addresses=place.deployment.addresses,
            model=place.model,
        )
        self._started = 0.0  # in seconds of CLOCK_MONOTONIC
        self._all_there: float | None = None  # when the users of the shape's first step were there
        self._stopped: float | None = None  # when Locust began to stop
        self._stopping: asyncio.Task[None] | None = None  # ends the master before it would end by itself
        self._account: MachineAccount
        self._watching: asyncio.Task[None]  # of the account, while all of Locust's processes are there

    async def run(self) -> dict[str, Any]:
        """Run it, and give what came of it: the event `load_ended`.

        Raises:
            EmulationError: Locust did not start; nothing was measured.
        """
        await self._order_background(on=False)
        try:
            return await self._measure()
        finally:
            await self._order_background(on=True)

    async def _order_background(self, *, on: bool) -> None:
        """Let the viewers pause, or resume, their background load, which would take of what the machine can carry."""
        for viewer in self._place.deployment.viewers:
            with contextlib.suppress(ConnectionError):  # one that has ended has no load
                await viewer.write_line(json.dumps({"background": on}))

    async def _measure(self) -> dict[str, Any]:
        self._tell({"event": "stage", "text": f"starting {len(self._locusts.workers)} load workers"})
        await self._locusts.start()
        self._place.show(self._locusts.targets())
        self._started = time.monotonic()
        self._account = MachineAccount(
            lambda: [*self._place.processes, self._locusts.master, *self._locusts.workers], self._place.hosts
        )
        self._watching = asyncio.create_task(self._account.watch())
        try:
            if self._is_partial:  # interrupted while Locust started
                await self._locusts.stop_master()
            await self._follow()
        except BaseException as error:
            self._cut_short(f"the test was ended ({error!r})")
            raise
        finally:  # a user who interrupts the test wants its partial results all the more
            self._watching.cancel()
            ended = await self._end(self._account.entries())
        return ended

    # --- while it runs

    async def _follow(self) -> None:
        """Pass on what the master tells until it ends; drive the links of a ride."""
        options = self.options
        self._tell({"event": "load_started", "seconds": options.duration_s, "url": self._place.locust_url})
        await self._place.carrier.follow_schedule(self._started)
        beside = [asyncio.create_task(self._watch_worker(worker)) for worker in self._locusts.workers]
        beside += [asyncio.create_task(self._watch_lab(process)) for process in self._place.processes]
        if options.shape == "commuter":
            ride = asyncio.create_task(self._ride())
            ride.add_done_callback(self._judge_ride)
            beside.append(ride)
        try:
            async with asyncio.timeout(options.duration_s + OVERTIME):
                is_complete = await self._pass_on()
            if not is_complete and not self._is_partial:
                self._cut_short("Locust's master ended before the test was over")
        except TimeoutError:
            self._cut_short(f"Locust did not end within {OVERTIME:g} s after the test and was ended")
        finally:
            for task in beside:
                task.cancel()

    async def _pass_on(self) -> bool:
        """Pass on what the master tells; give, when it has ended, whether the test came to its end."""
        is_complete = False
        with contextlib.suppress(EmulationError):  # the end of its output
            while True:
                event = await self._locusts.read_event()
                match event:
                    case {"event": "all_there"}:
                        if self._all_there is None:
                            self._all_there = time.monotonic()
                            self._account.forget_threads()
                    case {"event": "test_stop", "complete": bool(is_complete)}:
                        self._stopped = time.monotonic()
                        self._watching.cancel()
                        asyncio.get_running_loop().call_later(LAST_LOOK, self._place.show, ())
                        if self._is_partial:  # Locust would wait half a minute for a worker that is dead
                            self._stopping = asyncio.create_task(self._locusts.stop_master(after_s=LINGER))
                    case {"event": "users"} if event is not None and self._stopped is None:
                        self._tell(event)
        return is_complete

    async def _watch_worker(self, worker: LabProcess) -> None:
        status = await worker.process.wait()
        await asyncio.sleep(1.0)  # the master may have told us a moment later that it stops
        if self._stopped is None and not self._is_partial:
            self._cut_short(
                f"{worker.name} ended with exit status {status} before the test was over{worker.log_tail()}"
            )

    async def _watch_lab(self, process: LabProcess) -> None:
        """Say that a process of the lab ended; what its end means for the sessions, they tell themselves."""
        status = await process.process.wait()
        self._warn(f"{process.name} ended with exit status {status} during the test")

    async def _ride(self) -> None:
        """Take the links through the stages of the ride."""
        due, losses = self._started, [format_loss(scenarios.load(stage.scenario).loss_down) for stage in RIDE]
        for stage, loss in zip(RIDE, losses, strict=True):
            await asyncio.sleep(due - time.monotonic())
            await self._place.carrier.follow_schedule(due, loss=loss)
            self._tell({"event": "ride", "stage": stage.name, "scenario": stage.scenario})
            due += stage.share * self.options.duration_s

    def _judge_ride(self, ride: asyncio.Task[None]) -> None:
        if not ride.cancelled() and (error := ride.exception()) is not None:
            self._cut_short(f"the ride stopped: {error}")

    def interrupt(self) -> None:
        """End it early; what it has so far becomes its results."""
        if not self._is_partial:
            self._cut_short("the test was interrupted")
            self._stopping = asyncio.create_task(self._locusts.stop_master())

    def _cut_short(self, text: str) -> None:
        """Note why the test is not whole."""
        self._is_partial = True
        self._warn(text)

    def _warn(self, text: str) -> None:
        self._warnings.append(text)
        self._tell({"event": "warning", "text": text})

    # --- afterwards

    async def _end(self, found: dict[str, Any]) -> dict[str, Any]:
        """End what still runs, and leave manifest and summary; give the event `load_ended`."""
        ended = self._stopped or time.monotonic()
        found["measured_s"] = self._all_there or self._started, ended
        self._place.show(())
        await self._locusts.stop()
        found["lateness"] = await self._settle_links()
        await asyncio.to_thread(self._gather, ended)
        self._write_manifest(found)
        summary = await asyncio.to_thread(compute, RunDirectory(self._folder))
        found["unmeasured"] = summary.unmeasured
        stolen = found["processor"]["stolen"]
        if STEAL_WARNING < stolen <= STEAL_BOUND:
            self._warn(f"the hypervisor took {stolen:.0%} of this machine's processor time during the test")
        self._write_manifest(found)
        summary = await asyncio.to_thread(compute, RunDirectory(self._folder))
        self._write_manifest(found | {"flaws": list(summary.flaws)})
        write_summary(self._folder, summary)
        figures = {name: asdict(one) for name, one in summary.schemes.items()}
        broken = breaches(parse_slo(self.options.slo), figures)
        return {
            "event": "load_ended",
            "folder": str(self._folder),
            "partial": self._is_partial,
            "flaws": list(summary.flaws),
            "breaches": [str(breach) for breach in broken],
        }

    async def _settle_links(self) -> dict[str, Any] | None:
        """Let what is under way arrive, and the links go back to the scenario; give how late their changes were.

        None where the carrier does not answer any more.
        """
        carrier = self._place.carrier
        try:
            lateness = await carrier.measure_lateness()
            await carrier.force(worst=False)
            await asyncio.sleep(SETTLE)
            await carrier.follow_schedule(time.monotonic())
        except (EmulationError, OSError) as error:
            self._cut_short(f"the links do not answer: {error}")
            return None
        return lateness

    def _gather(self, ended: float) -> None:
        """Take from the run's logs what belongs to this test."""
        mine = RunDirectory(self._folder)
        infix = f".l{self._number}u"
        lags: dict[tuple[str, str], list[LagRow]] = defaultdict(list)
        with mine.stream_writer("senders") as streams:
            for stream in self._place.run.streams():
                if infix in stream.session:
                    streams.write(stream)
        for node, host, sample in self._place.run.node_lags():
            if self._started <= sample.at_s <= ended:
                lags[node, host].append(sample)
        for place, samples in lags.items():
            with RowWriter(mine.node_lag_path(*place), LagRow) as log:
                for sample in samples:
                    log.write(sample)
        for client in self._place.clients:
            with mine.probe_writer(client.name) as probes:
                for probe in self._place.run.probes_of(client.name):
                    if self._started <= probe.sent_s <= ended:
                        probes.write(probe)

    def _write_manifest(self, found: dict[str, Any]) -> None:
        parent = json.loads((self._place.run.path / "manifest.json").read_bytes())
        inherited = ("scenario", "seed", "carrier", "datapath", "kernel", "congestion_control", "versions")
        on_a_ride = self.options.shape == "commuter"
        RunDirectory(self._folder).write_manifest(
            {
                "run": f"{self._place.run.path.name}/{self._folder.name}",
                **{key: parent[key] for key in inherited if key in parent},
                "schemes": list(self.options.schemes),
                "epoch_s": None if on_a_ride else self._started,  # the scenario says nothing about a ride's losses
                "load": self.options.model_dump(mode="json"),
                "partial": self._is_partial,
                "warnings": self._warnings,
                **found,
            }
        )
