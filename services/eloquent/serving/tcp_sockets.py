"""The TCP sockets of this process that a library opened and does not show.

Rules of this file: they are found among the process's own descriptors and handed out as duplicates, so that nothing is taken from
the library, and what is read stays readable when it has closed its own.
"""

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path


def own_tcp_sockets() -> Iterator[socket.socket]:
    """Yield a duplicate of each TCP socket of this process, to be closed by the caller."""
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if not stat.S_ISSOCK(entry.stat().st_mode):
                continue
            # Not socket.dup(), which would make the connection a blocking one, for its owner too.
            found = socket.socket(fileno=os.dup(int(entry.name)))
        except OSError:
            continue  # closed while we looked
        if found.family in {socket.AF_INET, socket.AF_INET6} and found.type == socket.SOCK_STREAM:
            yield found
        else:
            found.close()
