"""The lab's own Open vSwitch: a private instance with its own database, and the ladder of its datapaths.

Kernel datapath where the kernel has one, else OVS's user-space datapath. The instance keeps its sockets and its database in the
run directory instead of the machine's folders, so the machine's own instance neither sees nor is seen.

The user-space datapath asks each of its ports for frames in turn, so that a frame costs more the more ports there are. There access
links meet on a bridge of the kernel before the switch, which then has one port for all of them.
"""

import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mininet.link import Intf, Link
from mininet.node import OVSSwitch
from pyroute2 import GenericNetlinkSocket
from pyroute2.netlink import genlmsg
from pyroute2.netlink.exceptions import NetlinkError

from eloquent.emulation.processes import LabProcess, run_command

FOLDER_VARIABLES = ("OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR")  # ovs-vswitchd(8), "Files"
# Links must not wait for the load. With real-time priority the switch would run at once for each single packet, in the middle of
# whoever sends several, and take twice the processor time for them.
PREFERRED = ("nice", "--adjustment=-20")
DATABASE_TIMEOUT = 30  # seconds until the database answers
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


async def start_open_vswitch(folder: Path, *, logs: Path) -> list[LabProcess]:
    """Start the private database and switch daemon; they are children of ours and end with us.

    Args:
        folder: Folder of the database and the sockets; from now on every Open vSwitch command of this process uses it.
        logs: Folder of the log files.
    """
    os.environ.update(dict.fromkeys(FOLDER_VARIABLES, str(folder)))
    database_file, socket = folder / "conf.db", folder / "db.sock"
    run_command("ovsdb-tool", "create", str(database_file), SCHEMA)
    database = LabProcess(
        "ovsdb-server",
        ["ovsdb-server", str(database_file), f"--remote=punix:{socket}", "--verbose=console:warn", "--no-chdir"],
        log=logs / "ovsdb-server.log",
    )
    await database.start()
    await database.wait_for_file(socket)
    run_command(
        "ovs-vsctl", "--retry", f"--timeout={DATABASE_TIMEOUT}", "--no-wait", "init"
    )  # a socket is there before it listens
    switch = LabProcess(
        "ovs-vswitchd",
        [*PREFERRED, "ovs-vswitchd", f"unix:{socket}", "--verbose=console:warn", "--no-chdir", "--mlockall"],
        log=logs / "ovs-vswitchd.log",
    )
    await switch.start()
    return [database, switch]


class LabSwitch(OVSSwitch):  # type: ignore[misc]  # Mininet has no annotations
    """Mininet's Open vSwitch switch, its commands run without a terminal.

    Mininet types them into a shell, whose line holds 4096 characters: beyond some 58 ports it is cut.
    """

    def vsctl(self, *args: Any, **_kwargs: Any) -> str:
        """Run ovs-vsctl with Mininet's words.

        Raises:
            EmulationError: Open vSwitch refused.
        """
        return run_command("ovs-vsctl", "--timeout=10", *shlex.split(" ".join(str(arg) for arg in args)))

    def gather(self, links: Iterable[Link]) -> None:
        """Let links meet on a bridge of the kernel with one uplink to this switch, instead of at a port each; before the start.

        The bridge learns nothing: it is told who is behind each link, and lets no frame for others cross it.

        Args:
            links: Links of this switch, each with its host first.
        """
        bridge, uplink, downlink = (f"{self.name}-{end}" for end in ("access", "uplink", "downlink"))
        devices = [
            f"link add {bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            f"link add {uplink} type veth peer name {downlink}",
            f"link set {downlink} master {bridge} up",
        ]
        places = []
        for link in links:
            port = link.intf2.name
            self.delIntf(link.intf2)
            devices.append(f"link set {port} master {bridge} up")
            places += [
                f"link set dev {port} learning off flood off",
                f"fdb replace {link.intf1.MAC()} dev {port} master static",
            ]
        run_command("ip", "-batch", "-", given="\n".join([*devices, f"link set {bridge} up"]))
        run_command("bridge", "-batch", "-", given="\n".join(places))
        Intf(uplink, node=self)


def probe_kernel_datapath() -> str | None:
    """Return why the kernel has no Open vSwitch datapath, or None where it has; asking loads the module where there is one."""
    with GenericNetlinkSocket() as netlink:
        try:
            netlink.bind("ovs_datapath", genlmsg)
        except NetlinkError:
            return "no openvswitch module in this kernel"
    return None
