"""The impaired access link between a client and its switch, and the two carriers that make it: netem and wire.

A carrier is chosen once a run. It says by `probe()` why this machine cannot have it, owns the process that impairs the links, and
gives Mininet the class of link to build. Whatever the carrier, the client's end is an interface in the client's namespace and the
switch's end an ordinary port.
"""

import asyncio
import json
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from mininet.link import Link, OVSLink
from mininet.node import Host

from eloquent.emulation.carriers.impairment import ImpairedLink
from eloquent.emulation.hosts import Port
from eloquent.emulation.processes import LabProcess
from eloquent.errors import EmulationError

CONTROL_TIMEOUT = 20.0  # seconds a carrier may take to obey


def clean_link(node1: Any, node2: Any, **params: Any) -> Link:
    """Make an un-impaired link: a veth pair, or between two switches a patch, which costs no copy of each packet.

    Where its first end is a host, that one is set up later.
    """
    return OVSLink(node1, node2, **params, **({"cls1": Port} if isinstance(node1, Host) else {}))


class _AccessLink(Link):  # type: ignore[misc]  # Mininet has no annotations
    """A link whose devices are made later, all at once."""

    def makeIntfPair(self, *_names: str, **_params: Any) -> None:  # noqa: N802  # Mininet's name
        """Make nothing yet."""


class Carrier(ABC):
    """What impairs the access links of a lab.

    Args:
        links: The access links, one a client.
        logs: Folder of the log files.

    Attributes:
        links: The same links.
        devices: The `ip` commands that make the devices of the links that Mininet has made so far.
        process: The process that impairs them; with it end the devices that it made.
        schedule: File that says which schedule the links follow now; there is none before they follow one.
    """

    name: ClassVar[str]
    module: ClassVar[str]
    devices_first: ClassVar[bool]
    """Whether the carrier makes the devices, so that it has to start before Mininet links them."""

    def __init__(self, links: Sequence[ImpairedLink], *, logs: Path) -> None:
        self.links = list(links)
        self.devices: list[str] = []
        self.schedule = logs / "schedule.json"
        self._conversation = asyncio.Lock()  # one question at a time
        self._asked = 0
        self.process = LabProcess(
            f"the {self.name} carrier", [sys.executable, "-m", self.module], log=logs / f"{self.name}.log", talks=True
        )

    @staticmethod
    @abstractmethod
    def probe() -> str | None:
        """Return why this machine cannot have the carrier, or None where it can. Tried, never guessed from a version."""

    def make_link(self, node1: Any, node2: Any, **params: Any) -> Link:
        """Make the access link between a client (`node1`) and its switch; called by Mininet. Its devices follow (`devices`)."""
        link = next(link for link in self.links if link.name == node1.name)
        made = _AccessLink(node1, node2, cls1=Port, cls2=Port, **params)
        self.devices += self._commands(link, made.intf1.name, made.intf2.name, node1.pid)
        return made

    @abstractmethod
    def _commands(self, link: ImpairedLink, client_name: str, switch_name: str, pid: int) -> list[str]:
        """Return the `ip` commands that make a link's devices: one in the network of a process, and one here."""

    async def start(self) -> None:
        """Start the process that impairs the links, at their best state."""
        await self.process.start()
        await self._ask({"links": [link.to_json() for link in self.links]})

    async def force(self, *, worst: bool) -> None:
        """Hold every link in its worst or best state, until told otherwise."""
        await self._ask({"force": "worst" if worst else "best"})

    async def follow_schedule(self, epoch: float, *, loss: str | None = None) -> None:
        """Follow the schedules from now on.

        Args:
            epoch: When slot 0 begins, in seconds of CLOCK_MONOTONIC.
            loss: Another loss model towards the clients than the scenario's.
        """
        await self._ask({"schedule": epoch, "loss": loss})
        unfinished = self.schedule.with_suffix(".new")
        unfinished.write_text(json.dumps({"epoch_s": epoch, "loss": loss}), encoding="utf-8")
        unfinished.replace(self.schedule)  # at once: nobody reads half a file

    async def cut(self, link: str, *, until: float) -> None:
        """Lose everything on a link, whatever the schedules say.

        Args:
            link: Its client.
            until: End of the outage, in seconds of CLOCK_MONOTONIC; that of an earlier one is forgotten.
        """
        await self._ask({"outage": link, "until": until})

    async def count(self) -> list[dict[str, Any]]:
        """Return the loss in force and the counters of each direction."""
        directions: list[dict[str, Any]] = (await self._ask({"count": True}))["directions"]
        return directions

    async def measure_lateness(self) -> dict[str, Any]:
        """Return how late the state changes were applied since the schedule began."""
        return await self._ask({"lateness": True})

    async def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """Ask the process something; answers to questions whose askers gave up are dropped."""
        async with self._conversation:
            self._asked += 1
            number = self._asked
            try:
                async with asyncio.timeout(CONTROL_TIMEOUT):
                    await self.process.write_line(json.dumps({"id": number, **command}))
                    return await self._answer_to(number)
            except TimeoutError:
                raise EmulationError(
                    f"{self.process.name} did not answer within {CONTROL_TIMEOUT:g} s{self.process.log_tail()}"
                ) from None

    async def _answer_to(self, number: int) -> dict[str, Any]:
        while True:
            answer: dict[str, Any] = json.loads(await self.process.read_line(2 * CONTROL_TIMEOUT))
            if answer.pop("id") == number:
                return answer


class WireCarrier(Carrier):
    """A user-space forwarder between two TAP devices a link."""

    name = "wire"
    module = "eloquent.emulation.carriers.wire"
    devices_first = True

    @staticmethod
    def probe() -> str | None:
        """Make a TAP device in a network namespace of its own, which takes it away again."""
        return _try_in_new_namespace("no TAP devices", "ip", "tuntap", "add", "dev", "probe", "mode", "tap")

    def _commands(self, link: ImpairedLink, client_name: str, switch_name: str, pid: int) -> list[str]:
        """Give the carrier's two devices to the client and to the switch."""
        return [
            f"link set dev {link.client_device} netns {pid} name {client_name}",
            f"link set dev {link.network_device} name {switch_name} up",
        ]


class NetemCarrier(Carrier):
    """The kernel's netem, on both ports of a bridge that each access link crosses."""

    name = "netem"
    module = "eloquent.emulation.carriers.netem"
    devices_first = False

    @staticmethod
    def probe() -> str | None:
        """Add a netem qdisc in a network namespace of its own."""
        return _try_in_new_namespace(
            "no sch_netem", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms", "loss", "1%"
        )

    def _commands(self, link: ImpairedLink, client_name: str, switch_name: str, pid: int) -> list[str]:
        """Make client - veth - bridge - veth - switch; netem will sit on the bridge's two ports."""
        bridge = f"br-{link.name}"
        return [
            f"link add {link.client_device} type veth peer name {client_name} netns {pid}",
            f"link add {link.network_device} type veth peer name {switch_name}",
            # A bridge of two ports needs no learning or spanning tree: whatever comes in goes out at the other.
            f"link add {bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            f"link set {link.client_device} master {bridge} up",
            f"link set {link.network_device} master {bridge} up",
            f"link set {bridge} up",
            f"link set {switch_name} up",
        ]


CARRIERS: dict[str, type[Carrier]] = {carrier.name: carrier for carrier in (NetemCarrier, WireCarrier)}
"""The carriers in the order of preference."""


def _try_in_new_namespace(lack: str, *words: str) -> str | None:
    tried = subprocess.run(["unshare", "--net", *words], capture_output=True, text=True, check=False)
    if tried.returncode == 0:
        return None
    said = " ".join(tried.stderr.split()) or f"exit status {tried.returncode}"
    return f"{lack} in this kernel ({said})"
