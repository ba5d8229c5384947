"""Outbound forwards: ports in the lab that lead to services outside, the opposite of inbound_forwards.py.

In the lab a socket is opened on its own loopback and handed out, to a process that forwards: a child of the lab, which ends
with it, but in the network of those who started the lab, where it looks up names and connects. In containers the switches reach
the controller so, and the board Prometheus.

    nsenter --net=... --mount=... -- python -m eloquent.emulation.outbound_forwards DESCRIPTOR=HOST:PORT ...
"""

import asyncio
import contextlib
import functools
import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from eloquent.addresses import parse_address
from eloquent.emulation.inbound_forwards import forward
from eloquent.emulation.processes import READY_LINE, LabProcess


@dataclass(frozen=True, slots=True)
class OutboundForward:
    """One service outside that processes of the lab reach.

    Attributes:
        inner_port: Where they find it, on the lab's own loopback.
        address: HOST:PORT outside.
    """

    inner_port: int
    address: str


@dataclass(frozen=True, slots=True)
class Outside:
    """The namespaces of those who started the lab, as descriptors that processes inherit.

    Attributes:
        network: The network.
        mount: The files, and with them /etc/resolv.conf.
    """

    network: int
    mount: int


async def start_outbound_forwards(forwards: Iterable[OutboundForward], outside: Outside, *, logs: Path) -> LabProcess:
    """Open the forwards' sockets in the lab and start the process that forwards, which alone keeps them.

    Args:
        forwards: Which services.
        outside: Where they are.
        logs: Folder of the log files.

    Raises:
        EmulationError: It did not get ready.
    """
    with contextlib.ExitStack() as handed_out:
        openings = [(handed_out.enter_context(_listen(forward.inner_port)), forward.address) for forward in forwards]
        words = [
            *("nsenter", f"--net=/proc/self/fd/{outside.network}", f"--mount=/proc/self/fd/{outside.mount}", "--"),
            *(sys.executable, "-m", "eloquent.emulation.outbound_forwards"),
            *(f"{inner.fileno()}={address}" for inner, address in openings),
        ]
        descriptors = (outside.network, outside.mount, *(inner.fileno() for inner, _ in openings))
        process = LabProcess(
            "the outbound forwards", words, log=logs / "outbound-forwards.log", descriptors=descriptors
        )
        await process.start()
    await process.wait_ready()
    return process


def _listen(port: int) -> socket.socket:
    inner = socket.socket()
    inner.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    inner.bind(("127.0.0.1", port))
    inner.listen()
    return inner


async def forward_outwards(inner: socket.socket, address: str) -> asyncio.Server:
    """Forward each connection from inside to the service outside.

    Args:
        inner: A listening socket of the lab's network.
        address: HOST:PORT of the service.
    """
    host, port = parse_address(address)
    return await asyncio.start_server(functools.partial(forward, host=host, port=port), sock=inner)


async def _main() -> None:
    for word in sys.argv[1:]:
        number, _, address = word.partition("=")
        await forward_outwards(socket.socket(fileno=int(number)), address)
    print(READY_LINE, flush=True)  # what the lab waits for
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
