"""This process's own connections: so that of a capture of everybody's packets, a study reads its own."""

import os
import socket
import stat
from pathlib import Path

from eloquent.addresses import Address

_DESCRIPTORS = Path("/proc/self/fd")


def own_sockets(port: int) -> set[Address]:
    """Return this end of each TCP connection that this process has to a port, in well below a millisecond.

    Args:
        port: Of the other end.
    """
    found: set[Address] = set()
    for descriptor in _DESCRIPTORS.iterdir() if _DESCRIPTORS.is_dir() else ():
        try:
            if not stat.S_ISSOCK(os.fstat(int(descriptor.name)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(descriptor.name))) as copy:
                if copy.type == socket.SOCK_STREAM and copy.family in {socket.AF_INET, socket.AF_INET6}:
                    peer, mine = copy.getpeername(), copy.getsockname()
                    if peer[1] == port:
                        found.add((mine[0].partition("%")[0].removeprefix("::ffff:"), mine[1]))
        except OSError:  # not connected, or closed meanwhile
            continue
    return found
