"""One lab: the network, the processes on it, and a run over them, inside the namespaces that the supervisor was started in.

The order of building is the order of trust: switches, links, the test of each link, then the nodes, and the load only when
all of it stands. Nothing here cleans up: when the lab's first process ends, the kernel takes every process, namespace and
interface of it.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

from eloquent import telemetry
from eloquent.emulation.capabilities import Choice
from eloquent.emulation.impairment import ImpairedLink
from eloquent.emulation.ledger import Ledger, ProcessorTime
from eloquent.emulation.links import CARRIERS, Carrier
from eloquent.emulation.monitoring import Target, make_prometheus
from eloquent.emulation.network import LAB_ADDRESS, LabHost, Network
from eloquent.emulation.options import REPOSITORY, Options
from eloquent.emulation.processes import LabProcess, run_command
from eloquent.emulation.selftest import check_links
from eloquent.emulation.switches import mount_private_folders, start_open_vswitch
from eloquent.nodes.probes import LOST_AFTER
from eloquent.report.run_directory import RunDirectory
from eloquent.report.summary import summarise

TOKEN_SERVER_PORT = 50051
EDGE_RELAY = "127.0.0.1:50051"
ORIGIN_RELAY_PORT = 7000
PROBE_PORT = 7001
PROBE_INTERVAL = 0.1  # seconds
METRICS_PORT = 9100  # of the first process of a host; a second one has the next
CONTROLLER_PORT = 9105
PAUSE = 5.0  # seconds between the length of a session and the start of the next round
START_MARGIN = 2.0  # seconds between the order to start and the first request
LATENESS_BOUND = 0.005  # seconds, p99 of the state changes
LAG_BOUND = 0.020  # seconds, p99 of the viewers' event loops: a starved viewer invents stalls
STEAL_BOUND = 0.05  # share of processor time
CONTROLLER_RESTART = 1.0  # seconds

Tell = Callable[[dict[str, Any]], None]


class Lab:
    """The lab of one run.

    Args:
        options: What was asked for.
        choice: Which carrier and datapath to use.
        folder: The run directory, which exists.
        tell: Gets an event, a small JSON object, whenever the user should see something.
    """

    def __init__(self, options: Options, choice: Choice, folder: Path, tell: Tell) -> None:
        self.options = options
        self._choice = choice
        self.folder = folder
        self._tell = tell
        self._scenario = options.load_scenario()
        self._ledger = Ledger(folder.name, options, choice)
        self._processes: list[LabProcess] = []
        self._viewers: dict[str, LabProcess] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._carrier: Carrier
        self._network: Network

    @property
    def _logs(self) -> Path:
        return self.folder / "logs"

    async def start(self) -> None:
        """Build the lab up to the point where every link was tested and every node is ready.

        Raises:
            EmulationError: Something did not come up, or a link is not what the scenario says.
        """
        self._ledger.note_machine()
        run_command("ip", "link", "set", "lo", "up")
        await self._build_network()
        self._stage("testing each link")
        tests = await check_links(
            self._carrier,
            self._scenario,
            prober=self._network.hosts["origin"],
            clients=self._network.clients,
            rtt_tolerance=self.options.rtt_tolerance_s,
        )
        self._ledger.note_links(self._carrier.links, tests)
        self._stage("starting token server, relays and viewers")
        await self._start_nodes()
        self._write_manifest()

    async def _build_network(self) -> None:
        self._stage("building the network")
        carrier_class = CARRIERS[self._choice.carrier]
        mount_private_folders()
        self._processes += await start_open_vswitch(self._logs)
        self._carrier = carrier_class(
            [
                ImpairedLink(
                    f"c{number}", f"lk-c{number}", f"lk-s{number}", self._scenario.to_line(), self.options.seed
                )
                for number in range(1, self.options.clients + 1)
            ],
            logs=self._logs,
        )
        if carrier_class.devices_first:
            await self._carrier.start()
        self._network = Network(
            self.options.topology, clients=self.options.clients, carrier=self._carrier, datapath=self._choice.datapath
        )
        self._name_hosts()
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
        hosts, resolver = self.folder / "logs" / "hosts", self.folder / "logs" / "resolv.conf"
        hosts.write_text("\n".join(lines) + "\n", encoding="ascii")
        resolver.write_text("# nobody to ask\n", encoding="ascii")
        run_command("mount", "--bind", str(hosts), "/etc/hosts")
        run_command("mount", "--bind", str(resolver), str(Path("/etc/resolv.conf").resolve()))

    async def _start_controller(self) -> None:
        controller = LabProcess(
            "controller",
            [
                str(REPOSITORY / ".venv-controller" / "bin" / "python"),
                str(REPOSITORY / "topologies" / "controller.py"),
                *("--listen", "127.0.0.1:6653", "--metrics", f"{LAB_ADDRESS}:{CONTROLLER_PORT}"),
            ],
            log=self._logs / "controller.log",
        )
        await controller.start()
        await controller.wait_ready()
        self._watch("the restart of the controller", self._keep_controller(controller))

    def _watch(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        """Let something run beside the rounds; if it fails, say so, since nobody waits for it."""

        def judge(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                self._warn(f"{what} failed: {error!r}")

        task = asyncio.create_task(work)
        task.add_done_callback(judge)
        self._tasks.append(task)

    async def _keep_controller(self, controller: LabProcess) -> None:
        """Restart the controller whenever it ends; meanwhile the switches go on with the flows they have."""
        while True:
            status = await controller.process.wait()
            self._warn(f"the controller ended with exit status {status} and was restarted")
            await asyncio.sleep(CONTROLLER_RESTART)
            await controller.start()

    async def _start_nodes(self) -> None:
        hosts, clients = self._network.hosts, self._network.clients
        server, origin = hosts["server"], hosts["origin"]
        server_address = f"{server.address}:{TOKEN_SERVER_PORT}"
        names = ("--known-clients", ",".join(client.name for client in clients))
        logs = ("--run-dir", str(self.folder))
        await self._start_node(server, "token_server", "--listen", server_address, *names, *logs)
        await self._start_node(
            origin,
            "origin_relay",
            *("--listen", f"{origin.address}:{ORIGIN_RELAY_PORT}"),
            *("--upstream", server_address, *names, *logs),
        )
        edges = []
        for client in clients:
            edges.append(
                self._start_node(
                    client,
                    "edge_relay",
                    *("--listen", EDGE_RELAY, "--origin", f"{origin.address}:{ORIGIN_RELAY_PORT}"),
                    metrics=METRICS_PORT + 1,
                )
            )
            edges.append(
                self._start_node(
                    client, "link_probe", "reflect", "--bind", f"{client.address}:{PROBE_PORT}", metrics=None
                )
            )
        await asyncio.gather(*edges)
        await asyncio.gather(*(self._start_viewer(client, server_address) for client in clients))
        await self._start_node(
            origin,
            "link_probe",
            "send",
            *("--to", *(f"{client.name}={client.address}:{PROBE_PORT}" for client in clients)),
            *("--interval", str(PROBE_INTERVAL), *logs),
            metrics=METRICS_PORT + 1,
        )

    async def _start_viewer(self, client: LabHost, server_address: str) -> None:
        options = self.options
        viewer = LabProcess(
            f"the viewer of {client.name}",
            self._node_words(
                client,
                "viewer",
                METRICS_PORT,
                *("--client", client.name, "--schemes", ",".join(options.schemes)),
                *("--server", server_address, "--edge", EDGE_RELAY),
                *("--rounds", str(options.rounds), "--session-seconds", str(options.session_s)),
                *("--round-seconds", str(options.session_s + PAUSE), "--start-on-order"),
                *("--run-dir", str(self.folder)),
                *("--token-gap", str(options.token_gap_s)),
                "--background" if options.background else "--stay",
            ),
            log=self._logs / f"{client.name}-viewer.log",
            talks=True,
        )
        await viewer.start()
        await viewer.wait_ready()
        self._viewers[client.name] = viewer

    async def _start_node(self, host: LabHost, node: str, *flags: str, metrics: int | None = METRICS_PORT) -> None:
        process = LabProcess(
            f"the {node.replace('_', ' ')} of {host.name}",
            self._node_words(host, node, metrics, *flags),
            log=self._logs / f"{host.name}-{node}-{flags[0].strip('-')}.log",
        )
        await process.start()
        await process.wait_ready()
        self._processes.append(process)

    def _node_words(self, host: LabHost, node: str, metrics: int | None, *flags: str) -> list[str]:
        page = ["--metrics", f"{host.management}:{metrics}"] if metrics is not None else []
        return host.command(sys.executable, "-m", f"eloquent.nodes.{node}", *flags, *page)

    async def start_prometheus(self) -> None:
        """Start Prometheus on every page of metrics there is."""
        prometheus = make_prometheus(self.folder / "prometheus", list(self._targets()), logs=self._logs)
        await prometheus.start()
        self._processes.append(prometheus)
        telemetry.serve(f"{LAB_ADDRESS}:{METRICS_PORT}")
        self._watch("the export of the carrier's counters", self._export_carrier())

    def _targets(self) -> Iterator[Target]:
        hosts = self._network.hosts
        yield Target("carrier", "lab", f"{LAB_ADDRESS}:{METRICS_PORT}")
        yield Target("controller", "lab", f"{LAB_ADDRESS}:{CONTROLLER_PORT}")
        yield Target("token_server", "server", f"{hosts['server'].management}:{METRICS_PORT}")
        yield Target("origin_relay", "origin", f"{hosts['origin'].management}:{METRICS_PORT}")
        yield Target("link_probe", "origin", f"{hosts['origin'].management}:{METRICS_PORT + 1}")
        for client in self._network.clients:
            yield Target("viewer", client.name, f"{client.management}:{METRICS_PORT}")
            yield Target("edge_relay", client.name, f"{client.management}:{METRICS_PORT + 1}")

    async def _export_carrier(self) -> None:
        """Show Prometheus what the carrier does to the links, once a second."""
        metrics = telemetry.CarrierMetrics()
        seen: dict[tuple[str, str, str], int] = {}
        while True:
            for direction in (await self._carrier.report())["directions"]:
                labels = (direction["link"], direction["direction"])
                metrics.loss_probability.labels(*labels).set(direction["loss"])
                for outcome in ("carried", "lost", "overflowed"):
                    key = (*labels, outcome)
                    metrics.packets.labels(*key).inc(direction[outcome] - seen.get(key, 0))
                    seen[key] = direction[outcome]
            await asyncio.sleep(1.0)

    async def run_rounds(self) -> None:
        """Run the rounds, and write manifest and summary.

        Raises:
            EmulationError: A viewer ended before its time.
        """
        epoch = time.monotonic() + START_MARGIN
        await self._carrier.follow_schedule(epoch)
        length = self.options.rounds * (self.options.session_s + PAUSE)
        self._ledger.note_schedule(self._carrier.links, epoch=epoch, length_s=length)
        self._write_manifest()
        # Spread over one token gap, so that the tokens of all clients do not fall due at the same instant.
        step = self.options.token_gap_s / len(self._viewers)
        for number, viewer in enumerate(self._viewers.values()):
            await viewer.write_line(json.dumps({"start_at": epoch + number * step}))
        self._tell(
            {
                "event": "streaming",
                "seconds": self.options.rounds * self.options.session_s,
                "sessions": self.options.rounds * len(self.options.schemes) * len(self._viewers),
            }
        )
        before = ProcessorTime.now()
        await asyncio.gather(*(self._follow_viewer(viewer) for viewer in self._viewers.values()))
        self._note_processor(before.until(ProcessorTime.now()))
        await asyncio.sleep(LOST_AFTER)  # until then the probe does not call its last probes lost
        await self._note_carrier()
        self._write_manifest()
        self._summarise()

    async def _follow_viewer(self, viewer: LabProcess) -> None:
        while True:
            event = json.loads(await viewer.read_line(timeout_s=self.options.session_s + 120))
            if event["event"] == "rounds_done":
                return
            self._tell(event)

    def _note_processor(self, shares: dict[str, float]) -> None:
        self._ledger.entries["processor"] = shares
        if shares["stolen"] > STEAL_BOUND:
            self._warn(
                f"the hypervisor took {shares['stolen']:.0%} of this machine's processor time during the rounds: expect late"
                " changes of state and stalls that no link made"
            )

    async def _note_carrier(self) -> None:
        account = await self._carrier.report()
        self._ledger.entries["lateness"] = account["lateness"]
        self._ledger.entries["directions"] = account["directions"]
        late = account["lateness"]["p99_s"]
        if late is not None and late > LATENESS_BOUND:
            self._warn(f"state changes were late by {late * 1e3:.1f} ms at p99, more than {LATENESS_BOUND * 1e3:g} ms")

    def _summarise(self) -> None:
        summary = summarise(self.folder)
        if summary.load_lag_p99_s is not None and summary.load_lag_p99_s > LAG_BOUND:
            self._warn(
                f"the viewers' event loops lagged by {summary.load_lag_p99_s * 1e3:.0f} ms at p99, more than"
                f" {LAG_BOUND * 1e3:g} ms: this machine is too busy for so many clients, and the stalls are partly its own"
            )
            self._write_manifest()
        self._tell({"event": "summary", "warnings": self._ledger.warnings})

    def _stage(self, text: str) -> None:
        self._tell({"event": "stage", "text": text})

    def _warn(self, text: str) -> None:
        self._ledger.warnings.append(text)
        self._tell({"event": "warning", "text": text})

    def _write_manifest(self) -> None:
        RunDirectory(self.folder).write_manifest(self._ledger.to_json())

    def describe(self) -> dict[str, Any]:
        """Tell what runs, for `make status`."""
        processes = [*self._processes, *self._viewers.values()]
        return {
            "run": str(self.folder),
            "clients": [client.name for client in self._network.clients],
            "schemes": list(self.options.schemes),
            "scenario": self._scenario.to_line(),
            "carrier": self._choice.carrier,
            "datapath": self._choice.datapath,
            "processes": {process.name: process.is_running for process in processes},
            "warnings": self._ledger.warnings,
        }

    async def stop(self) -> None:
        """Let the viewers and nodes finish their logs; the namespaces take the rest."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(process.stop() for process in [*self._viewers.values(), *self._processes]))
