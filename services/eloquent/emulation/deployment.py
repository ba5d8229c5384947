"""Which node runs where, with which flags: the token server, the relays, the probes and the viewers of a lab."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from eloquent import congestion
from eloquent.addresses import format_address, parse_address
from eloquent.asking import Addresses
from eloquent.emulation.monitoring import Target
from eloquent.emulation.network import LAB_ADDRESS, LabHost, Network
from eloquent.emulation.nursery import NodeProcess, Nursery
from eloquent.emulation.options import REPOSITORY, Options
from eloquent.emulation.outbound_forwards import OutboundForward
from eloquent.emulation.processes import LabProcess
from eloquent.nodes.viewer.seats import Seat
from eloquent.records.run_directory import RunDirectory
from eloquent.relay.sealed.key import make_key
from eloquent.watch.facts import BrowserAccess

TOKEN_SERVER_PORT = 50051
CHAT_PORT = 8000  # of the token server, for HTTP
QUIC_PORT = 8443  # of the token server, for HTTP/3
EDGE_RELAY = "127.0.0.1:50051"
EDGE_HTTP = "127.0.0.1:8000"  # of the edge relay, for what the token server speaks over HTTP
EDGE_QUIC = "127.0.0.1:8001"  # of the edge relay, the same over QUIC
ORIGIN_RELAY_PORT = 7000
REQUESTS_PORT = 8000  # of the browser's access, on the management network
SEALED_PORT = 4433  # of the origin relay, for those who have the run's key
RELAY_QUIC_PORT = 4434  # of the origin relay, for the same over QUIC, and for pages over WebTransport
CLIENT_MODULE = REPOSITORY / "clients" / "js" / "eloquent.js"  # by which pages ask over WebTransport
PROBE_PORT = 7001
PROBE_INTERVAL = 0.1  # seconds at least between two probes of a link
PROBES = 400  # a second at most, on all links together, or they would cost what they are to watch
METRICS_PORT = 9100  # of the first process of a host; a second one has the next
LOAD_METRICS_PORT = 9510  # of the first load worker; each further one has the next
LOAD_MASTER_METRICS = f"{LAB_ADDRESS}:{METRICS_PORT + 3}"
CONTROLLER_PORT = 9105
BOARD_METRICS_PORT = 9106
VIEWER_METRICS_PORT = (
    9110  # of the first of the viewers that run in the lab's own network; each further one has the next
)
EDGE_METRICS_PORT = 9310  # of the first process of edge relays, likewise
PAUSE = 5.0  # seconds between the length of a session and the start of the next round
GRACE = 3.0  # seconds that a node's open streams get when the testbed goes down


class Deployment:
    """The nodes of a lab.

    Args:
        network: Where they run.
        options: What was asked for.
        folder: The run directory.
        nursery: Forks them.
        board_port: Of the board outside, whose pages may ask.

    Attributes:
        nodes: Everything but the viewers.
        viewers: The viewers.
        offsets_s: How many seconds after the start of a round each client asks.
    """

    def __init__(self, network: Network, options: Options, folder: Path, nursery: Nursery, *, board_port: int) -> None:
        self._network = network
        self._nursery = nursery
        self._options = options
        self._folder = folder
        self._board_port = board_port
        self._certificate_hash = folder / "logs" / "certificate-hash"
        self._server, self._origin = network.hosts["server"], network.hosts["origin"]
        self._server_address = f"{self._server.address}:{TOKEN_SERVER_PORT}"
        self._chat_address = f"{self._server.address}:{CHAT_PORT}"
        self._quic_address = f"{self._server.address}:{QUIC_PORT}"
        self._origin_address = f"{self._origin.address}:{ORIGIN_RELAY_PORT}"
        self._sealed_address = f"{self._origin.address}:{SEALED_PORT}"
        self._relay_quic_address = f"{self._origin.address}:{RELAY_QUIC_PORT}"
        self.nodes: list[LabProcess] = []
        self.viewers: list[LabProcess] = []
        self._viewer_pages: dict[str, str] = {}
        self._edge_pages: dict[str, str] = {}
        step = options.token_gap_s / len(network.clients)
        self.offsets_s = {client.name: number * step for number, client in enumerate(network.clients)}

    @property
    def upstream_forwards(self) -> list[OutboundForward]:
        """How those who ask by HTTP reach a model server outside: at the ports where the token server else listens."""
        if (address := self._options.upstream_address) is None:
            return []
        return [
            OutboundForward(
                parse_address(congestion.address_of(self._chat_address, control)),
                address,
                namespace=network_of(self._server),
                congestion_control=control,
            )
            for control in ("", *congestion.offered())
        ]

    @property
    def addresses(self) -> Addresses:
        """Where the nodes are asked."""
        return Addresses(
            token_server=self._server_address,
            http_server=self._chat_address,
            quic_server=self._quic_address,
            edge_relay=EDGE_RELAY,
            edge_http=EDGE_HTTP,
            edge_quic=EDGE_QUIC,
            origin_relay=self._origin_address,
        )

    def make_browser_access(self, datagrams: socket.socket) -> tuple[LabProcess, BrowserAccess]:
        """Return the process by which the user's browser is the first client, not yet started, and what the board is told of it.

        Args:
            datagrams: What the browser's datagrams come to.
        """
        client = self._network.clients[0]
        control = next(iter(congestion.offered()), "")
        requests = format_address((client.management, REQUESTS_PORT))
        words = client.command(
            *(sys.executable, "-m", "eloquent.emulation.browser_access"),
            *("--requests", requests, "--server", congestion.address_of(self._chat_address, control)),
            *("--datagrams", str(datagrams.fileno()), "--origin", self._relay_quic_address),
        )
        log = self._folder / "logs" / "browser-access.log"
        process = LabProcess("the browser's access", words, log=log, descriptors=(datagrams.fileno(),))
        return process, BrowserAccess(
            client=client.name,
            requests=requests,
            scheme="-".join(("sse", *filter(None, (control,)))),
            port=self._board_port,
            certificate_hash=self._certificate_hash,
            module=CLIENT_MODULE,
        )

    async def start(self) -> None:
        """Start all nodes and wait until each is ready.

        Raises:
            EmulationError: One ended, or was not ready in time.
        """
        clients = self._network.clients
        names = ",".join(client.name for client in clients)
        labels = ("--known-clients", names, "--known-schemes", ",".join(self._options.schemes))
        logs, grace = ("--run-dir", str(self._folder)), ("--grace", str(GRACE))
        offered = ",".join(congestion.offered())  # all of them: a load test may ask for others than the run
        listeners: tuple[str, ...] = ("--listen", self._server_address, "--congestion-controls", offered)
        if self._options.upstream is None:  # else whoever asks by HTTP reaches that (`upstream_listeners`)
            listeners += ("--http", self._chat_address, "--quic", self._quic_address)
        self._plan(self._server, "token_server", *listeners, *labels, *logs, *grace)
        await self._start_planned()
        upstream = ("--upstream", self._server_address)
        listen = ("--listen", self._origin_address, "--schemes", "any")  # a load test may ask for others than the run
        key_file = self._folder / "relays.key"
        make_key(key_file)
        key = ("--key-file", str(key_file))
        pair = ("--http-upstream", f"http://{self._chat_address}", "--sealed", self._sealed_address, *key)
        pair_quic = ("--quic", self._relay_quic_address)
        origins = ",".join(f"http://{host}:{self._board_port}" for host in ("127.0.0.1", "localhost"))
        pages = ("--webtransport", self._relay_quic_address, "--page-origins", origins)
        shown = ("--certificate-hash", str(self._certificate_hash))
        flags = (*listen, *upstream, *pair, *pair_quic, *pages, *shown)
        self._plan(self._origin, "origin_relay", *flags, *labels, *logs, *grace)
        places = (f"{network_of(client)}@{client.address}:{PROBE_PORT}" for client in clients)
        reflect = ("reflect", "--bind", *places)
        self.nodes.append(
            NodeProcess(
                "the reflector of the link probes",
                "link_probe",
                reflect,
                nursery=self._nursery,
                host="lab",
                pid=os.getpid(),
                serves=len(clients),
                log=self._folder / "logs" / "link_probe-reflect.log",
            )
        )
        self.nodes += self._make_edges(*key, *grace)
        await self._start_planned()
        key_file.unlink()  # all have read it
        reflectors = [f"{client.name}={client.address}:{PROBE_PORT}" for client in clients]
        probing = ("--to", *reflectors, "--interval", str(max(PROBE_INTERVAL, len(clients) / PROBES)), *logs)
        self._plan(self._origin, "link_probe", "send", *probing, metrics=METRICS_PORT + 1)
        self.viewers = self._make_viewers()
        await asyncio.gather(self._start_planned(), *(start_ready(viewer) for viewer in self.viewers))

    def _plan(self, host: LabHost, node: str, *flags: str, metrics: int = METRICS_PORT) -> None:
        self.nodes.append(self._make(host, node, metrics, *flags, log=f"{host.name}-{node}-{flags[0].strip('-')}"))

    def _make_edges(self, *flags: str) -> Iterator[NodeProcess]:
        """Make as many processes of edge relays as there are processors, each with those of its share of the clients."""
        for number, clients in enumerate(shares(self._network.clients), 1):
            name = f"lab-{number}"
            page = self._edge_pages[name] = f"{LAB_ADDRESS}:{EDGE_METRICS_PORT + number - 1}"
            lag_log = RunDirectory(self._folder).node_lag_path("edge_relay", name)
            yield NodeProcess(
                f"the edge relays of {names_of(clients)}",
                "edge_relay",
                [
                    *("--hosts", *(f"{client.name}={network_of(client)}" for client in clients), "--metrics", page),
                    *("--listen", EDGE_RELAY, "--origin", self._origin_address),
                    *("--http", EDGE_HTTP, "--sealed-origin", self._sealed_address),
                    *("--quic-http", EDGE_QUIC, "--quic-origin", self._relay_quic_address, *flags),
                    *("--lag-log", str(lag_log)),
                ],
                nursery=self._nursery,
                host=name,
                pid=os.getpid(),
                serves=len(clients),
                log=self._folder / "logs" / f"{name}-edge_relay.log",
            )

    def _make_viewers(self) -> list[LabProcess]:
        """Make as many viewers as there are processors, each with its share of the clients."""
        clients = self._network.clients
        return [
            self._make_viewer(share, f"lab-{number + 1}", f"{LAB_ADDRESS}:{VIEWER_METRICS_PORT + number}")
            for number, share in enumerate(shares(clients))
        ]

    def _make_viewer(self, clients: Sequence[LabHost], name: str, metrics: str) -> NodeProcess:
        """Make a viewer in the lab's own network.

        Args:
            clients: Who sits at it.
            name: What distinguishes it from other viewers.
            metrics: HOST:PORT of its metrics.
        """
        self._viewer_pages[name] = metrics
        seats = self._folder / "logs" / f"{name}-seats.json"
        taken = (Seat(client.name, network_of(client), self.offsets_s[client.name]) for client in clients)
        seats.write_text(json.dumps([seat.to_json() for seat in taken], indent=1), encoding="utf-8")
        options = self._options
        flags = (
            *("--seats", str(seats), "--metrics", metrics, "--schemes", ",".join(options.schemes)),
            *("--server", self._server_address, "--http", self._chat_address, "--quic", self._quic_address),
            *("--edge", EDGE_RELAY, "--edge-http", EDGE_HTTP, "--edge-quic", EDGE_QUIC),
            *("--run-dir", str(self._folder)),
            *("--rounds", str(options.rounds), "--session-seconds", str(options.session_s)),
            *("--round-seconds", str(options.session_s + PAUSE), "--start-on-order"),
            *("--token-gap", str(options.token_gap_s)),
            *(("--model", options.model, "--words", options.prompt) if options.model else ()),
            "--background" if options.background and not options.model else "--stay",
        )
        log = self._folder / "logs" / f"{name}-viewer.log"
        return NodeProcess(
            f"the viewer of {names_of(clients)}",
            "viewer",
            flags,
            nursery=self._nursery,
            host=name,
            pid=os.getpid(),
            serves=len(clients),
            log=log,
            talks=True,
        )

    def _make(self, host: LabHost, node: str, metrics: int, *flags: str, log: str) -> NodeProcess:
        lag_log = RunDirectory(self._folder).node_lag_path(node, host.name)
        return NodeProcess(
            f"the {node.replace('_', ' ')} of {host.name}",
            node,
            [*flags, "--metrics", f"{host.management}:{metrics}", "--lag-log", str(lag_log)],
            nursery=self._nursery,
            host=host.name,
            pid=host.pid,
            serves=len(self._network.clients) if host in {self._server, self._origin} else 1,
            log=self._folder / "logs" / f"{log}.log",
        )

    async def _start_planned(self) -> None:
        await asyncio.gather(*(start_ready(node) for node in self.nodes if not node.was_started))

    def targets(self) -> Iterator[Target]:
        """Yield every page of metrics of the lab."""
        yield Target("carrier", "lab", f"{LAB_ADDRESS}:{METRICS_PORT}")
        elsewhere = self._options.controller
        controller = LAB_ADDRESS if elsewhere is None else parse_address(elsewhere)[0]
        yield Target("controller", "lab", format_address((controller, CONTROLLER_PORT)))
        yield Target("board", "lab", f"{LAB_ADDRESS}:{BOARD_METRICS_PORT}")
        yield Target("token_server", "server", f"{self._server.management}:{METRICS_PORT}")
        yield Target("origin_relay", "origin", f"{self._origin.management}:{METRICS_PORT}")
        yield Target("link_probe", "origin", f"{self._origin.management}:{METRICS_PORT + 1}")
        for name, page in self._viewer_pages.items():
            yield Target("viewer", name, page)
        for name, page in self._edge_pages.items():
            yield Target("edge_relay", name, page)

    async def stop(self) -> None:
        """End the viewers, whose cancellations still reach the servers, and then the nodes."""
        await asyncio.gather(*(viewer.stop() for viewer in self.viewers))
        await asyncio.gather(*(node.stop() for node in self.nodes))


def shares(clients: Sequence[LabHost]) -> list[Sequence[LabHost]]:
    """Return the clients of each process, where as many as there are processors serve all of them."""
    count = min(len(clients), os.cpu_count() or 1)
    return [clients[number::count] for number in range(count)]


def network_of(host: LabHost) -> Path:
    """Return the file of the network of a host."""
    return Path(f"/proc/{host.pid}/ns/net")


def names_of(clients: Sequence[LabHost]) -> str:
    """Return what messages call these clients."""
    return ", ".join(client.name for client in clients[:3]) + (", …" if len(clients) > 3 else "")


async def start_ready(process: LabProcess) -> None:
    """Start a process and wait until it is ready."""
    await process.start()
    await process.wait_ready()
