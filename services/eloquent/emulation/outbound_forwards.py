"""Outbound forwards: ports in the lab that lead to services outside, the opposite of inbound_forwards.py.

In the lab a socket is opened and handed out, to a process that forwards: a child of the lab, which ends with it, but in the network
of those who started the lab, where it looks up names and connects. In containers the switches reach the controller so, and the
board Prometheus, on the lab's own loopback. A model server outside is reached at the host `server`, over the impaired links.

    nsenter --net=... --mount=... -- python -m eloquent.emulation.outbound_forwards DESCRIPTOR=HOST:PORT ...
"""

import asyncio
import contextlib
import functools
import socket
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pyroute2.netns import setns

from eloquent import congestion
from eloquent.addresses import Address, format_address, listen_on, parse_address
from eloquent.emulation.inbound_forwards import forward
from eloquent.emulation.processes import READY_LINE, LabProcess


@dataclass(frozen=True, slots=True)
class OutboundForward:
    """One service outside that processes of the lab reach.

    Attributes:
        inner: Where they find it.
        address: HOST:PORT outside.
        namespace: The network that `inner` is of; None for the lab's own.
        congestion_control: Of the connections inside; empty for the machine's own.
    """

    inner: Address
    address: str
    namespace: Path | None = None
    congestion_control: str = ""

    def listen(self) -> socket.socket:
        """Listen inside.

        Raises:
            ConfigurationError: The address is in use, or the kernel lacks the congestion control.
        """
        if self.namespace is None:
            return self._listen()
        with ThreadPoolExecutor(1, initializer=_enter, initargs=(self.namespace,)) as inside:
            return inside.submit(self._listen).result()

    def _listen(self) -> socket.socket:
        listener = listen_on(format_address(self.inner))
        if self.congestion_control:
            congestion.set_control(listener, self.congestion_control)
        return listener


def _enter(namespace: Path) -> None:
    """Let this thread, and it alone, be in another network; what it opens stays there."""
    with namespace.open("rb") as opened:
        setns(opened.fileno())


@dataclass(frozen=True, slots=True)
class Outside:
    """The namespaces of those who started the lab, as descriptors that processes inherit.

    Attributes:
        network: The network.
        mount: The files, and with them /etc/resolv.conf.
    """

    network: int
    mount: int


async def start_outbound_forwards(
    forwards: Iterable[OutboundForward], outside: Outside, *, name: str, log: Path
) -> LabProcess:
    """Open the forwards' sockets in the lab and start the process that forwards, which alone keeps them.

    Args:
        forwards: Which services.
        outside: Where they are.
        name: What messages call the process.
        log: Its log file.

    Raises:
        EmulationError: It did not get ready.
    """
    with contextlib.ExitStack() as handed_out:
        openings = [(handed_out.enter_context(forward.listen()), forward.address) for forward in forwards]
        words = [
            *("nsenter", f"--net=/proc/self/fd/{outside.network}", f"--mount=/proc/self/fd/{outside.mount}", "--"),
            *(sys.executable, "-m", "eloquent.emulation.outbound_forwards"),
            *(f"{inner.fileno()}={address}" for inner, address in openings),
        ]
        descriptors = (outside.network, outside.mount, *(inner.fileno() for inner, _ in openings))
        process = LabProcess(name, words, log=log, descriptors=descriptors)
        await process.start()
    await process.wait_ready()
    return process


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
