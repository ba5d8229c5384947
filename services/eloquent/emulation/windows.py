"""Windows: ports in the lab that lead to services outside; the opposite of doors (doors.py).

In the lab a socket is opened on its own loopback and handed out, to a process that looks out: a child of the lab, which ends
with it, but in the network of those who started the lab, where it looks up names and connects. In containers the switches reach
the controller so, and the board Prometheus.

    nsenter --net=... --mount=... -- python -m eloquent.emulation.windows DESCRIPTOR=HOST:PORT ...
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
from eloquent.emulation.doors import carry_across
from eloquent.emulation.processes import READY_LINE, LabProcess


@dataclass(frozen=True, slots=True)
class Window:
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


async def open_windows(windows: Iterable[Window], outside: Outside, *, logs: Path) -> LabProcess:
    """Open the windows' sockets and start the process that looks out, which alone keeps them.

    Args:
        windows: What there is to be seen.
        outside: Where it is.
        logs: Folder of the log files.

    Raises:
        EmulationError: It did not get ready.
    """
    with contextlib.ExitStack() as handed_out:
        openings = [(handed_out.enter_context(_listen(window.inner_port)), window.address) for window in windows]
        words = [
            *("nsenter", f"--net=/proc/self/fd/{outside.network}", f"--mount=/proc/self/fd/{outside.mount}", "--"),
            *(sys.executable, "-m", "eloquent.emulation.windows"),
            *(f"{inner.fileno()}={address}" for inner, address in openings),
        ]
        descriptors = (outside.network, outside.mount, *(inner.fileno() for inner, _ in openings))
        process = LabProcess("the windows", words, log=logs / "windows.log", descriptors=descriptors)
        await process.start()
    await process.wait_ready()
    return process


def _listen(port: int) -> socket.socket:
    inner = socket.socket()
    inner.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    inner.bind(("127.0.0.1", port))
    inner.listen()
    return inner


async def look_out(inner: socket.socket, address: str) -> asyncio.Server:
    """Carry each connection that comes from inside to the service outside.

    Args:
        inner: A listening socket of the lab's network.
        address: HOST:PORT of the service.
    """
    host, port = parse_address(address)
    return await asyncio.start_server(functools.partial(carry_across, host=host, port=port), sock=inner)


async def _main() -> None:
    for word in sys.argv[1:]:
        number, _, address = word.partition("=")
        await look_out(socket.socket(fileno=int(number)), address)
    print(READY_LINE, flush=True)  # what the lab waits for
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
