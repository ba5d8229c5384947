"""Hosts of the emulated network: Mininet's, but set up by one batch of commands each.

Mininet types a dozen into a shell of the host and waits for each; with 200 hosts that is a minute.
"""

import array
import contextlib
import fcntl
import socket
import struct
from pathlib import Path
from typing import Any

from mininet.link import Intf
from mininet.node import Host

SIOCETHTOOL = 0x8946  # linux/sockios.h
OFFLOADS = {"tx checksum": 0x17, "tso": 0x1F, "gso": 0x24, "gro": 0x2C}  # linux/ethtool.h, the commands that set them


class Port(Intf):  # type: ignore[misc]  # Mininet has no annotations
    """An interface that notes its addresses, and is set up later."""

    def config(self, **_params: Any) -> dict[str, Any]:
        """Do nothing yet."""
        return {}

    def setMAC(self, address: str) -> None:  # noqa: N802  # Mininet's name
        """Note the MAC address."""
        self.mac = address

    def setIP(self, address: str, prefix_length: int = 8) -> None:  # noqa: N802  # Mininet's name
        """Note the address, with or without its prefix's length."""
        self.ip, _, given = address.partition("/")
        self.prefixLen = given or str(prefix_length)


class BareHost(Host):  # type: ignore[misc]  # Mininet has no annotations
    """A host that notes its addresses, and is set up later."""

    def config(self, *, mac: str, ip: str, **_params: Any) -> dict[str, Any]:
        """Note the addresses."""
        self.setMAC(mac)
        self.setIP(ip)
        return {}


def silence_ipv6() -> None:
    """Turn IPv6 off in the present network: router solicitations and their like would be lost and counted.

    Where that is refused they are merely noise.
    """
    with contextlib.suppress(OSError):
        Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1", encoding="ascii")


def turn_offloads_off(interface: str) -> None:
    """Let one packet be one packet, and have its checksum: Open vSwitch in user space does not fill it in (mininet issue 653).

    Args:
        interface: Its name, in the present network; what it cannot do anyway it may refuse.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for command in OFFLOADS.values():
            value = array.array("I", [command, 0])  # struct ethtool_value
            request = struct.pack("16sP", interface.encode(), value.buffer_info()[0])  # struct ifreq
            with contextlib.suppress(OSError):
                fcntl.ioctl(any_socket, SIOCETHTOOL, request.ljust(40, b"\0"))
