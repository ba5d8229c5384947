"""What a lab lost and no link has: in full buffers of sockets, at devices that nobody emptied in time, in the kernel's own queues.

Rules of this file: each loss has a place, which says where to look. All counts are the kernel's, and those of a network are read by
way of any process in it, so that no node takes part. A socket that closes takes its count along: what such sockets lost is known
from the count of their whole host alone.
"""

import contextlib
import os
import re
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from eloquent.addresses import format_address
from eloquent.emulation.network import LabHost
from eloquent.emulation.processes import in_namespace, run_command
from eloquent.errors import EmulationError

LAB = "the lab"
RECEIVING, SENDING = (
    "RcvbufErrors",
    "SndbufErrors",
)  # of /proc/net/snmp; RFC 4113 has them not, Linux has (net/ipv4/proc.c)
TCP_COUNTERS = ("RcvPruned", "OfoPruned", "ListenDrops", "TCPBacklogDrop", "TCPRcvQDrop")  # of /proc/net/netstat
GENERIC_NETLINK = "16"  # by which the kernel's datapath hands the switch what it has no flow for (linux/netlink.h)
NETLINK_PROTOCOL, NETLINK_DROPS, NETLINK_INODE = 1, 8, 9  # columns of /proc/net/netlink, from 0
UDP_ADDRESS, UDP_INODE, UDP_DROPS = 1, 9, 12  # columns of /proc/net/udp, from 0
RECEIVED_DROPPED, SENT_DROPPED = 3, 11  # columns of /proc/net/dev, from 0 after the name
RUN_FOLDER = "OVS_RUNDIR"  # variable with the folder of the lab's own Open vSwitch
BACKLOG_DROPPED = 1  # column of /proc/net/softnet_stat, from 0
_LOOKUPS = re.compile(r"^ +lookups: hit:\d+ missed:\d+ lost:(\d+)")
_PACKET_SOCKET = re.compile(r"\*:(?P<device>\S+) .*\bino:(?P<inode>\d+) .*,d(?P<lost>\d+)\)")

_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True)
class PacketLosses:
    """What was lost so far.

    Attributes:
        sockets: By the name of the network, the place and the inode.
        datagrams: What UDP sockets of a network had no room for, by its name: those of `sockets`, and of sockets that have closed.
        others: By the key of the manifest, and the place.
    """

    sockets: Mapping[tuple[str, str, str], int]
    datagrams: Mapping[str, int]
    others: Mapping[tuple[str, str], int]

    @classmethod
    def of(cls, hosts: Iterable[LabHost]) -> "PacketLosses":
        """Take the present account of these hosts, and of this process's network, where links and switches are."""
        return cls.in_networks({host.name: host.pid for host in hosts} | {LAB: os.getpid()})

    @classmethod
    def in_networks(cls, networks: Mapping[str, int]) -> "PacketLosses":
        """Take the present account of some networks.

        Args:
            networks: A process in each, by the name of the network; one that is gone has lost nothing. Packet sockets are looked
                for in that of the name `LAB` alone, where the switches have theirs.
        """
        sockets, datagrams, others = dict[tuple[str, str, str], int](), dict[str, int](), dict[tuple[str, str], int]()
        for name, pid in networks.items():
            udp, tcp = _counters(pid, "snmp", "Udp:"), _counters(pid, "netstat", "TcpExt:")
            datagrams[name] = udp.get(RECEIVING, 0)
            others["socket_losses", f"sending UDP sockets of {name}"] = udp.get(SENDING, 0)
            others |= {("socket_losses", f"TCP of {name} ({it})"): tcp.get(it, 0) for it in TCP_COUNTERS}
            others |= {("device_drops", f"{device} of {name}"): lost for device, lost in _devices(pid)}
            found = [*_udp_sockets(pid), *(_switch_sockets(pid) if name == LAB else ())]
            sockets |= {(name, place, inode): lost for place, inode, lost in found}
        others |= {("queue_drops", f"of {datapath}, for packets without a flow"): lost for datapath, lost in _upcalls()}
        backlogs = enumerate(Path("/proc/net/softnet_stat").read_text(encoding="ascii").splitlines())
        others |= {
            ("queue_drops", f"of processor {number}"): int(line.split()[BACKLOG_DROPPED], 16)
            for number, line in backlogs
        }
        return cls(sockets, datagrams, others)

    def until(self, later: "PacketLosses") -> dict[str, dict[str, int]]:
        """Return what was lost between two accounts, by place, for the manifest: `socket_losses`, `device_drops`, `queue_drops`."""
        lost: dict[str, dict[str, int]] = {"socket_losses": {}, "device_drops": {}, "queue_drops": {}}
        in_sockets = lost["socket_losses"]
        named: dict[str, int] = {}
        for (network, place, _), count in _grown(self.sockets, later.sockets).items():
            where = f"{place} of {network}"
            in_sockets[where] = in_sockets.get(where, 0) + count
            named[network] = named.get(network, 0) + count
        for network, count in _grown(self.datagrams, later.datagrams).items():
            if count > named.get(network, 0):
                in_sockets[f"closed UDP sockets of {network}"] = count - named.get(network, 0)
        for (key, place), count in _grown(self.others, later.others).items():
            lost[key][place] = count
        return lost


def _grown(before: Mapping[_Key, int], after: Mapping[_Key, int]) -> dict[_Key, int]:
    grown = {key: count - before.get(key, 0) for key, count in after.items()}
    return {key: count for key, count in grown.items() if count > 0}


def _read(pid: int, name: str) -> list[str]:
    """Read a file of a process's network; nothing where it is gone."""
    try:
        return Path(f"/proc/{pid}/net/{name}").read_text(encoding="ascii").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _counters(pid: int, name: str, protocol: str) -> dict[str, int]:
    """Return the counters of a protocol: a line with their names, and one with their values."""
    lines = [line.split()[1:] for line in _read(pid, name) if line.startswith(protocol)]
    return dict(zip(lines[0], map(int, lines[1]), strict=True)) if lines else {}


def _devices(pid: int) -> Iterator[tuple[str, int]]:
    """Yield each device, and the frames that it dropped in both directions; of a TAP: that its reader was too slow for."""
    for line in _read(pid, "dev")[2:]:
        name, _, columns = line.partition(":")
        counts = columns.split()
        yield name.strip(), int(counts[RECEIVED_DROPPED]) + int(counts[SENT_DROPPED])


def _udp_sockets(pid: int) -> Iterator[tuple[str, str, int]]:
    """Yield the place and the inode of each UDP socket, and what it dropped."""
    for name in ("udp", "udp6"):
        for line in _read(pid, name)[1:]:
            columns = line.split()
            address = _address(columns[UDP_ADDRESS])
            yield f"the UDP socket {address}", columns[UDP_INODE], int(columns[UDP_DROPS])


def _address(text: str) -> str:
    """Return an address of /proc/net, words of 32 bits in the machine's order, as people write it."""
    host, port = text.split(":")
    words = (bytes.fromhex(host[start : start + 8]) for start in range(0, len(host), 8))
    packed = b"".join(word if sys.byteorder == "big" else word[::-1] for word in words)
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    return format_address((socket.inet_ntop(family, packed), int(port, 16)))


def _upcalls() -> Iterator[tuple[str, int]]:
    """Yield each datapath of the lab's Open vSwitch, and how many packets for which it had no flow it lost on their way to one."""
    for control in Path(os.environ.get(RUN_FOLDER, os.devnull)).glob("ovs-vswitchd.*.ctl"):
        datapath, said = "", ""
        with contextlib.suppress(EmulationError):  # it has ended, which others tell
            said = run_command("ovs-appctl", "-t", str(control), "dpctl/show")
        for line in said.splitlines():
            datapath = datapath if line.startswith(" ") else line.rstrip(":")
            if (found := _LOOKUPS.search(line)) is not None:
                yield datapath, int(found[1])


def _switch_sockets(pid: int) -> Iterator[tuple[str, str, int]]:
    """Yield the same of the sockets by which a switch gets frames: packet sockets of its ports, and those of generic netlink."""
    for line in run_command(
        *in_namespace(pid, "ss", *["--packet", "--numeric", "--oneline", "--extended", "--memory"])
    ).splitlines():
        if (found := _PACKET_SOCKET.search(line)) is not None:
            yield f"the packet socket at {found['device']}", found["inode"], int(found["lost"])
    for line in _read(pid, "netlink")[1:]:
        columns = line.split()
        if columns[NETLINK_PROTOCOL] == GENERIC_NETLINK:
            yield "a socket of generic netlink", columns[NETLINK_INODE], int(columns[NETLINK_DROPS])
