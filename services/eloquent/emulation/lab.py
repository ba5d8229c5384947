"""One lab: switches, links, controller, nodes, inside the namespaces that the supervisor was started in.

The order of building is the order of trust: switches, links, the test of each link, then the nodes, and the load (rounds.py) only
when all of it stands. Nothing here cleans up: when the lab's first process ends, the kernel takes every process, namespace and
interface of it.
"""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from eloquent import telemetry
from eloquent.channel.scenario import Scenario
from eloquent.emulation.carriers.carrier import CARRIERS, Carrier
from eloquent.emulation.carriers.impairment import ImpairedLink
from eloquent.emulation.deployment import BOARD_METRICS_PORT, CONTROLLER_PORT, METRICS_PORT, Deployment, start_ready
from eloquent.emulation.inbound_forwards import BOARD, LOCUST, PROMETHEUS
from eloquent.emulation.ledger import Ledger
from eloquent.emulation.loads import LoadTest, Place, next_number
from eloquent.emulation.monitoring import Targets, make_board, make_metrics_gate, make_prometheus
from eloquent.emulation.network import LAB_ADDRESS, OPENFLOW_PORT, Network
from eloquent.emulation.nursery import Nursery
from eloquent.emulation.options import REPOSITORY, Options, require_askable
from eloquent.emulation.outbound_forwards import OutboundForward, Outside, start_outbound_forwards
from eloquent.emulation.processes import LabProcess, run_command
from eloquent.emulation.rounds import Rounds
from eloquent.emulation.selftest import check_links
from eloquent.emulation.switches import start_open_vswitch
from eloquent.errors import ConfigurationError, EmulationError
from eloquent.load.options import LoadOptions
from eloquent.records.run_directory import RunDirectory
from eloquent.watch.facts import RunFacts

FIRST_RESTART = 1.0  # seconds until the first restart; doubled for each one after
LONGEST_RESTART = 60.0  # seconds
LONGEST_OUTAGE = 30.0  # seconds
EXPORT_INTERVAL = 1.0  # seconds between two looks at the carrier's counters


class Lab:
    """The lab of one run.

    Args:
        options: What was asked for.
        scenario: The scenario of the links.
        ledger: Where everything is noted.
        folder: The run directory, which exists.
        urls: Where the services of the lab are reached, by name.
        control: Path of the control socket.
        datagrams: Where datagrams of the user's browser come in.
        outside: The namespaces that the lab was started from.

    Attributes:
        targets: What Prometheus scrapes.
    """

    def __init__(
        self,
        options: Options,
        scenario: Scenario,
        ledger: Ledger,
        folder: Path,
        *,
        urls: dict[str, str],
        control: Path,
        datagrams: socket.socket,
        outside: Outside,
    ) -> None:
        self._options = options
        self._scenario = scenario
        self._ledger = ledger
        self._folder = folder
        self._logs = folder / "logs"
        self._urls = urls
        self._control = control
        self._datagrams = datagrams
        self._outside = outside
        self.targets = Targets(folder / "prometheus", scenario.name)
        self._tasks: list[asyncio.Task[None]] = []
        self._infrastructure: list[LabProcess] = []  # without which the rounds mean nothing
        self._kept: list[LabProcess] = []  # restarted when they end
        self._carrier: Carrier
        self._load: LoadTest | None = None
        self._load_number = 0  # of the latest
        self._board: LabProcess  # nothing that is measured needs it, and its end ends nothing
        self._network: Network
        self._deployment: Deployment

    async def start(self) -> None:
        """Build the lab up to the point where every link was tested and every node is ready.

        Raises:
            EmulationError: Something did not come up, or a link is not what the scenario says.
        """
        self._ledger.note_machine()
        run_command("ip", "link", "set", "lo", "up")
        nursery = Nursery(self._logs)
        await nursery.start()  # it has imported the nodes by the time they are wanted
        self._infrastructure.append(nursery.process)
        await self._start_outbound_forwards()
        self._ledger.stage("building the network")
        await self._build_network()
        self._ledger.stage("testing each link")
        tests = await check_links(
            self._carrier,
            self._scenario,
            prober=self._network.hosts["origin"],
            clients=self._network.clients,
            rtt_tolerance=self._options.rtt_tolerance_s,
        )
        self._ledger.note_links(tests)
        self._ledger.stage("starting token server, relays and viewers")
        board_port = urlsplit(self._urls[BOARD.name]).port
        assert board_port is not None, "it has one"
        self._deployment = Deployment(self._network, self._options, self._folder, nursery, board_port=board_port)
        await self._forward("the way to the model server", self._deployment.upstream_forwards)
        await self._deployment.start()
        await self._start_prometheus()
        await self._start_board()
        self._ledger.write()

    async def _start_outbound_forwards(self) -> None:
        """Let the lab reach what it was told to find outside."""
        wanted = {OPENFLOW_PORT: self._options.controller, PROMETHEUS.inner_port: self._options.prometheus}
        await self._forward(
            "the outbound forwards",
            [OutboundForward(("127.0.0.1", port), address) for port, address in wanted.items() if address is not None],
        )

    async def _forward(self, name: str, forwards: Sequence[OutboundForward]) -> None:
        if forwards:
            log = self._logs / f"{name.removeprefix('the ').replace(' ', '-')}.log"
            self._infrastructure.append(await start_outbound_forwards(forwards, self._outside, name=name, log=log))

    async def _build_network(self) -> None:
        database = self._folder / "openvswitch"
        database.mkdir()
        self._infrastructure += await start_open_vswitch(database, logs=self._logs)
        carrier_class = CARRIERS[self._ledger.choice.carrier]
        line, seed = self._scenario.to_line(), self._options.seed
        links = [
            ImpairedLink(f"c{number}", f"lk-c{number}", f"lk-s{number}", line, seed)
            for number in range(self._options.first_client, self._options.first_client + self._options.clients)
        ]
        self._carrier = carrier_class(links, logs=self._logs)
        self._infrastructure.append(self._carrier.process)
        if carrier_class.devices_first:
            await self._carrier.start()
        self._network = Network(
            self._options.topology,
            clients=self._options.clients,
            first_client=self._options.first_client,
            carrier=self._carrier,
            datapath=self._ledger.choice.datapath,
        )
        self._name_hosts()
        if self._options.controller is None:
            await self._start_controller()
        self._network.start()
        if not carrier_class.devices_first:
            await self._carrier.start()

    def _name_hosts(self) -> None:
        """Let every address have a name, and no question go to the machine's name server, which is out of reach in here.

        Python's HTTP server asks for the name of its own address; without an answer each page of metrics would wait 5 s.
        """
        lines = ["127.0.0.1 localhost", f"{LAB_ADDRESS} lab"]
        for host in self._network.hosts.values():
            lines += [f"{host.address} {host.name}", f"{host.management} {host.name}-mgmt"]
        hosts, resolver = self._logs / "hosts", self._logs / "resolv.conf"
        hosts.write_text("\n".join(lines) + "\n", encoding="ascii")
        resolver.write_text("# nobody to ask\n", encoding="ascii")
        for ours, theirs in ((hosts, Path("/etc/hosts")), (resolver, Path("/etc/resolv.conf").resolve())):
            if theirs.exists():
                run_command("mount", "--bind", str(ours), str(theirs))

    async def _start_controller(self) -> None:
        controller = LabProcess(
            "the controller",
            [
                str(REPOSITORY / ".venv-controller" / "bin" / "python"),
                str(REPOSITORY / "topologies" / "controller.py"),
                *("--listen", f"127.0.0.1:{OPENFLOW_PORT}", "--metrics", f"{LAB_ADDRESS}:{CONTROLLER_PORT}"),
            ],
            log=self._logs / "controller.log",
        )
        await start_ready(controller)
        self._keep(controller, start_ready)  # meanwhile the switches go on with the flows they have

    def _keep(self, process: LabProcess, start: Callable[[LabProcess], Awaitable[None]]) -> None:
        """Restart a process whenever it ends: the rounds can do without it for a while."""

        async def restart() -> None:
            delay = FIRST_RESTART
            while True:
                status = await process.process.wait()
                await asyncio.sleep(delay)
                delay = min(2 * delay, LONGEST_RESTART)
                await start(process)
                self._ledger.warn(f"{process.name} ended with exit status {status} and was restarted")

        self._kept.append(process)
        self._watch(f"the restart of {process.name}", restart())

    async def _start_prometheus(self) -> None:
        self.targets.write("lab", self._deployment.targets())
        make = make_prometheus if self._options.prometheus is None else make_metrics_gate
        prometheus = make(self._folder / "prometheus", logs=self._logs)
        await prometheus.start()
        self._keep(prometheus, LabProcess.start)
        telemetry.serve(f"{LAB_ADDRESS}:{METRICS_PORT}")
        self._watch("the export of the carrier's counters", self._export_carrier())

    async def _start_board(self) -> None:
        access, browser = self._deployment.make_browser_access(self._datagrams)
        await start_ready(access)
        self._keep(access, start_ready)
        addresses = self._deployment.addresses
        facts = RunFacts(
            folder=self._folder,
            scenario=self._scenario.name,
            link=self._scenario.to_line(),
            seed=self._options.seed,
            carrier=self._ledger.choice.carrier,
            datapath=self._ledger.choice.datapath,
            schemes=self._options.schemes,
            token_gap_s=self._options.token_gap_s,
            clients={client.name: tuple(client.command()) for client in self._network.clients},
            server=addresses.token_server,
            http=addresses.http_server,
            quic=addresses.quic_server,
            edge=addresses.edge_relay,
            edge_http=addresses.edge_http,
            edge_quic=addresses.edge_quic,
            model=self._options.model,
            browser=browser,
            control=self._control,
            schedule=self._carrier.schedule,
            urls=self._urls,
        )
        self._board = make_board(facts, metrics=f"{LAB_ADDRESS}:{BOARD_METRICS_PORT}", logs=self._logs)
        await start_ready(self._board)

    async def _export_carrier(self) -> None:
        """Show Prometheus what the carrier does to the links."""
        metrics = telemetry.CarrierMetrics()
        metrics.run_info.labels(self._ledger.choice.carrier, self._ledger.choice.datapath).set(1)
        seen: dict[tuple[str, str, str], int] = {}
        while True:
            for direction in await self._carrier.count():
                labels = (direction["link"], direction["direction"])
                metrics.loss_probability.labels(*labels).set(direction["loss"])
                for outcome in ("carried", "lost", "overflowed"):
                    key = (*labels, outcome)
                    metrics.packets.labels(*key).inc(direction[outcome] - seen.get(key, 0))
                    seen[key] = direction[outcome]
            await asyncio.sleep(EXPORT_INTERVAL)

    def _watch(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        """Let something run beside the rounds; if it fails, say so, since nobody waits for it."""

        def judge(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                self._ledger.warn(f"{what} failed: {error!r}")

        task = asyncio.create_task(work)
        task.add_done_callback(judge)
        self._tasks.append(task)

    async def run_rounds(self) -> None:
        """Run the rounds, and leave their manifest and summary.

        Raises:
            EmulationError: A process ended without which the rounds mean nothing.
        """
        hosts = list(self._network.hosts.values())
        deployment = self._deployment
        rounds = Rounds(
            self._options,
            self._carrier,
            deployment.viewers,
            self._ledger,
            self._folder,
            offsets_s=deployment.offsets_s,
            hosts=hosts,
        )
        await rounds.run(needed=[*self._infrastructure, *deployment.nodes])

    async def run_load(self, options: LoadOptions, tell: Callable[[dict[str, Any]], None]) -> None:
        """Run a load test on the lab, which is up.

        Args:
            options: What was asked for.
            tell: Gets what happens, and at the end what came of it.

        Raises:
            EmulationError: Another load test runs, or this one did not start.
            ConfigurationError: A model server outside cannot be asked by these schemes.
        """
        require_askable(options.schemes, upstream=self._options.upstream)
        if self._load is not None:
            raise EmulationError("a load test is running already: wait for it, or interrupt it")
        place = Place(
            run=RunDirectory(self._folder),
            clients=self._network.clients,
            hosts=list(self._network.hosts.values()),
            deployment=self._deployment,
            carrier=self._carrier,
            infrastructure=[*self._infrastructure, *self._kept, self._board],
            show=lambda targets: self.targets.write("load", targets),
            locust_url=self._urls[LOCUST.name],
            model=self._options.model,
        )
        self._load_number = next_number(self._folder, self._load_number)
        self._load = LoadTest(options, self._load_number, place, tell)
        try:
            tell(await self._load.run())
        finally:
            self._load = None

    def interrupt_load(self) -> None:
        """End the load test that runs, if one does; what it has so far becomes its results."""
        if self._load is not None:
            self._load.interrupt()

    async def cut(self, client: str, seconds: float) -> None:
        """Lose everything on the link of a client, whatever the schedules say.

        Args:
            client: Its name.
            seconds: For how long, `LONGEST_OUTAGE` at most.

        Raises:
            ConfigurationError: There is no such client, or the outage is too long.
            EmulationError: A load test runs, whose results it would spoil.
        """
        if client not in (link.name for link in self._carrier.links):
            raise ConfigurationError(f"there is no client '{client}'")
        if not 0 < seconds <= LONGEST_OUTAGE:
            raise ConfigurationError(f"an outage lasts up to {LONGEST_OUTAGE:g} s, not {seconds:g} s")
        if self._load is not None:
            raise EmulationError("a load test is running, which an outage would spoil: wait for it, or interrupt it")
        await self._carrier.cut(client, until=time.monotonic() + seconds)

    def describe(self) -> dict[str, Any]:
        """Return what runs, for `make status`."""
        nodes, viewers = self._deployment.nodes, self._deployment.viewers
        processes = [*self._infrastructure, *self._kept, *nodes, *viewers, self._board]
        return {
            "run": str(self._folder),
            "urls": self._urls,
            "clients": [client.name for client in self._network.clients],
            "hosts": {host.name: host.pid for host in self._network.hosts.values()},
            "schemes": list(self._options.schemes),
            "scenario": self._scenario.to_line(),
            "carrier": self._ledger.choice.carrier,
            "datapath": self._ledger.choice.datapath,
            "processes": {process.name: process.is_running for process in processes},
            "load": None if self._load is None else self._load.options.model_dump(mode="json"),
            "warnings": self._ledger.warnings,
        }

    async def stop(self) -> None:
        """Let viewers and nodes finish their logs, in this order; the namespaces take the rest."""
        for task in self._tasks:
            task.cancel()
        if hasattr(self, "_deployment"):
            await self._deployment.stop()
