"""Ports for servers that tests start, at addresses that are known before.

Nothing holds a port until its server is there. So each process of tests has a block of ports to itself, below those that the kernel
gives to whoever connects (`ip_local_port_range`), and goes round in it.
"""

import atexit
import os
import socket
from contextlib import ExitStack
from functools import cache

from eloquent.schemes import CONGESTION_CONTROLS

# A server that offers other congestion controls listens for them at the ports after its own.
ROW = 1 + len(CONGESTION_CONTROLS)
_BLOCK = 256
_FIRST, _END = 20_000, 32_768


def find_port(row: int = ROW) -> int:
    """Return a port of 127.0.0.1 that nobody has, neither for TCP nor for UDP; the first of so many in a row."""
    block = _claim_block(os.getpid())
    for _ in range(_BLOCK):
        port = block.next(row)
        with ExitStack() as taken:
            try:
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    for each in range(port, port + row):
                        taken.enter_context(socket.socket(type=kind)).bind(("127.0.0.1", each))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


def find_address() -> str:
    """Return 127.0.0.1 and such a port, as command lines have it."""
    return f"127.0.0.1:{find_port()}"


class _Block:
    """A block of ports, which is taken as long as its first is bound."""

    def __init__(self, first: int) -> None:
        self._sign = socket.socket()
        self._first, self._given = first, 0
        try:
            self._sign.bind(("127.0.0.1", first))
        except OSError:
            self.leave()
            raise

    def leave(self) -> None:
        self._sign.close()

    def next(self, row: int) -> int:
        """Return the first of the next ports; what stays too short at the end is left out."""
        if self._given + row >= _BLOCK:
            self._given = 0
        self._given += row
        return self._first + self._given - row + 1


@cache
def _claim_block(process: int) -> _Block:
    """Return the block of a process."""
    blocks = range(_FIRST, _END - _BLOCK, _BLOCK)
    for number in range(len(blocks)):
        try:
            block = _Block(blocks[(process + number) % len(blocks)])
        except OSError:
            continue
        atexit.register(block.leave)
        return block
    raise AssertionError("all blocks of ports are taken")
