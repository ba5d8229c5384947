"""The emulated network: Mininet's hosts and switches, the impaired links, and the management network beside them.

Every host has two interfaces: its data interface, which Mininet makes, and `mgmt0` on a plain bridge of the lab's own namespace.
Metrics and control cross the second, so that a bad link never hides what it does.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.node import RemoteController

from eloquent.emulation.carriers.carrier import Carrier, clean_link
from eloquent.emulation.hosts import BareHost, silence_ipv6, turn_offloads_off
from eloquent.emulation.processes import in_namespace, run_command
from eloquent.emulation.switches import LabSwitch
from eloquent.errors import ConfigurationError, EmulationError
from eloquent.networks import inside

OPENFLOW_PORT = 6653
MANAGEMENT_BRIDGE = "mgmt"
LAB_ADDRESS = "10.255.0.1"
MANAGEMENT_MASK = 16
MANAGEMENT_INTERFACE = "mgmt0"
CONNECT_TIMEOUT = 30.0  # seconds for the switches to reach the controller


@dataclass(frozen=True, slots=True)
class LabHost:
    """One emulated host.

    Attributes:
        name: Its name in the topology.
        pid: A process in its network namespace.
        address: Its address on the data network.
        prefix_length: Bits of that network's prefix.
        mac: The MAC address of that interface.
        interface: The name of that interface.
        management: Its address on the management network.
    """

    name: str
    pid: int
    address: str
    prefix_length: int
    mac: str
    interface: str
    management: str

    def command(self, *words: str) -> list[str]:
        """Return the command that runs `words` in this host."""
        return in_namespace(self.pid, *words)


class _Controller(RemoteController):  # type: ignore[misc]  # Mininet has no annotations
    """A controller that the lab runs itself; Mininet need not look for it."""

    def checkListening(self) -> None:  # noqa: N802  # Mininet's name
        """Trust the lab, which waits for its controller."""


class Network:
    """The emulated network of one lab.

    Args:
        topology: Path of the topology file.
        clients: Number of client hosts.
        first_client: Number of the first of them.
        carrier: Makes the impaired links.
        datapath: `kernel` or `user`.
    """

    def __init__(self, topology: Path, *, clients: int, first_client: int, carrier: Carrier, datapath: str) -> None:
        silence_ipv6()  # of the switches' ports, too
        setLogLevel("error")
        Mininet.inited = True  # its start-up would raise limits of the whole machine (sysctl fs.*, net.core.*)
        self._carrier = carrier
        self._datapath = datapath
        self._access: dict[LabSwitch, list[Any]] = {}  # the impaired links of each switch
        self._mininet = Mininet(
            topo=load_topology(topology)(clients, first_client),
            switch=lambda name, **options: LabSwitch(name, datapath=datapath, protocols="OpenFlow13", **options),
            controller=None,
            host=BareHost,
            link=self._make_link,
        )
        self._mininet.addController("controller", controller=_Controller, ip="127.0.0.1", port=OPENFLOW_PORT)
        self.hosts = {node.name: _describe(node, number) for number, node in enumerate(self._mininet.hosts, start=2)}
        self._set_up_hosts()

    def _make_link(self, node1: Any, node2: Any, *, impaired: bool = False, **params: Any) -> Any:
        if not impaired:
            return clean_link(node1, node2, **params)
        link = self._carrier.make_link(node1, node2, **params)
        self._access.setdefault(node2, []).append(link)
        return link

    @property
    def clients(self) -> list[LabHost]:
        """The client hosts, in order."""
        return [self.hosts[link.name] for link in self._carrier.links]

    def start(self) -> None:
        """Start the switches; the controller has to listen by then.

        Raises:
            EmulationError: The switches and the controller do not come together.
        """
        if self._datapath == "user":
            for switch, links in self._access.items():
                switch.gather(links)
        self._mininet.start()
        if not self._mininet.waitConnected(timeout=CONNECT_TIMEOUT, delay=0.05):
            raise EmulationError(f"the switches did not reach the controller within {CONNECT_TIMEOUT:g} s")

    def _set_up_hosts(self) -> None:
        """Give the hosts their interfaces, their addresses and their neighbours."""
        run_command("ip", "-batch", "-", given="\n".join(self._carrier.devices))
        _make_management_network(self.hosts.values())
        for host in self.hosts.values():
            run_command(*host.command("ip", "-batch", "-"), given="\n".join(self._host_setup(host)))
            with inside(Path(f"/proc/{host.pid}/ns/net")):
                silence_ipv6()
                turn_offloads_off(host.interface)

    def _host_setup(self, host: LabHost) -> list[str]:
        """Return the `ip` commands of one host: its management address, and its neighbours, so that no ARP is ever lost."""
        client_names = {client.name for client in self.clients}
        neighbours = (
            other
            for other in self.hosts.values()
            if other is not host and not (host.name in client_names and other.name in client_names)
        )
        return [
            "link set lo up",
            f"link set {host.interface} address {host.mac} up",
            f"addr add {host.address}/{host.prefix_length} broadcast + dev {host.interface}",
            f"addr add {host.management}/{MANAGEMENT_MASK} dev {MANAGEMENT_INTERFACE}",
            f"link set {MANAGEMENT_INTERFACE} up",
            *(
                f"neigh replace {other.address} lladdr {other.mac} dev {host.interface} nud permanent"
                for other in neighbours
            ),
        ]


def _describe(node: Any, number: int) -> LabHost:
    return LabHost(
        name=node.name,
        pid=node.pid,
        address=node.IP(),
        prefix_length=int(node.defaultIntf().prefixLen),
        mac=node.MAC(),
        interface=node.defaultIntf().name,
        management=f"10.255.{number // 256}.{number % 256}",
    )


def _make_management_network(hosts: Any) -> None:
    commands = [
        f"link add {MANAGEMENT_BRIDGE} type bridge stp_state 0 forward_delay 0",
        f"addr add {LAB_ADDRESS}/{MANAGEMENT_MASK} dev {MANAGEMENT_BRIDGE}",
        f"link set {MANAGEMENT_BRIDGE} up",
    ]
    for host in hosts:
        commands += [
            f"link add mg-{host.name} type veth peer name {MANAGEMENT_INTERFACE} netns {host.pid}",
            f"link set mg-{host.name} master {MANAGEMENT_BRIDGE} up",
        ]
    run_command("ip", "-batch", "-", given="\n".join(commands))


def load_topology(path: Path) -> Callable[[int, int], Any]:
    """Load a topology file and give its `build` function.

    Args:
        path: A Python file with `build(clients, first)` that returns a Mininet `Topo`.

    Raises:
        ConfigurationError: There is no such file, or it has no `build`.
    """
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigurationError(f"there is no topology file {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "build"):
        raise ConfigurationError(f"the topology {path} has no function build(clients, first)")
    build: Callable[[int, int], Any] = module.build
    return build
