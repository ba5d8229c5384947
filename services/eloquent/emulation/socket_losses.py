"""Datagrams that hosts of the lab lost in full socket buffers: losses that no link has made, and no scheme."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from eloquent.emulation.network import LabHost

COUNTERS = ("RcvbufErrors", "SndbufErrors")  # RFC 4113 has them not; Linux, net/ipv4/proc.c


@dataclass(frozen=True, slots=True)
class SocketLosses:
    """What was lost so far.

    Attributes:
        lost: Datagrams, by host.
    """

    lost: Mapping[str, int]

    @classmethod
    def of(cls, hosts: Iterable[LabHost]) -> "SocketLosses":
        """Take the present account of these hosts."""
        return cls({host.name: count_losses(host.pid) for host in hosts})

    def until(self, later: "SocketLosses") -> dict[str, int]:
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
