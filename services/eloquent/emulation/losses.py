"""What a lab lost and no link has: datagrams in full socket buffers, frames at devices that nobody emptied in time."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from eloquent.emulation.network import LabHost

COUNTERS = ("RcvbufErrors", "SndbufErrors")  # RFC 4113 has them not; Linux, net/ipv4/proc.c
LAB = "lab"
TX_DROPPED = 11  # column of /proc/net/dev, from 0 after the name; of a TAP: its reader, the wire, was too slow (drivers/net/tun.c)
LINK_ENDS = "lk-"  # how the links' devices begin in the lab's own namespace


@dataclass(frozen=True, slots=True)
class PacketLosses:
    """What was lost so far.

    Attributes:
        lost: Datagrams or frames, by host.
    """

    lost: Mapping[str, int]

    @classmethod
    def in_sockets(cls, hosts: Iterable[LabHost]) -> "PacketLosses":
        """Take the present account of these hosts' socket buffers."""
        return cls({host.name: count_losses(host.pid) for host in hosts})

    @classmethod
    def at_devices(cls, hosts: Iterable[LabHost]) -> "PacketLosses":
        """Take the present account of the devices of these hosts, and of the links' other ends in this process's namespace."""
        return cls(
            {host.name: count_drops(host.pid, host.interface) for host in hosts}
            | {LAB: count_drops(os.getpid(), LINK_ENDS)}
        )

    def until(self, later: "PacketLosses") -> dict[str, int]:
        """Return what each host lost between two accounts; hosts that lost nothing are left out."""
        lost = {host: count - self.lost.get(host, 0) for host, count in later.lost.items()}
        return {host: count for host, count in lost.items() if count > 0}


def count_losses(pid: int) -> int:
    """Count the datagrams lost in socket buffers of a process's network; 0 where it is gone.

    Args:
        pid: A process in the network.
    """
    try:
        lines = Path(f"/proc/{pid}/net/snmp").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return 0
    names, values = (line.split()[1:] for line in lines if line.startswith("Udp:"))
    return sum(int(value) for name, value in zip(names, values, strict=True) if name in COUNTERS)


def count_drops(pid: int, device: str) -> int:
    """Count the frames that left by devices of a process's network and that nobody fetched in time; 0 where it is gone.

    Args:
        pid: A process in the network.
        device: How the names of the devices begin.
    """
    try:
        lines = Path(f"/proc/{pid}/net/dev").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return 0
    named = (line.strip().partition(":") for line in lines[2:])
    return sum(int(counters.split()[TX_DROPPED]) for name, _, counters in named if name.startswith(device))
