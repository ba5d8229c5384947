"""What the kernel's Multipath TCP (RFC 8684) makes of two access links, beside TCP on each of them: `bench/mptcp.py --help`.

Each client is a network namespace with two links to a server's, which the testbed's own wire impairs: the first as `paper-default`,
the second as asked. Three streams of tokens run over them at the same time: TCP over the first link, TCP over the second, and MPTCP
over both, all with CUBIC and without Nagle's delay. The kernel's own path manager makes the second subflow (the server announces
its second address), and its scheduler decides which segment goes where. A connection that fell back to TCP, or whose
second subflow carried nothing, ends the benchmark with exit status 1: it would be no MPTCP.

It needs root. The machine should have nothing else to do, or be told to wait: `chrt --rr 1 .venv/bin/python bench/mptcp.py`.
"""

import argparse
import asyncio
import ctypes
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from eloquent import scenarios
from eloquent.emulation.carriers.impairment import ImpairedLink
from eloquent.qoe.session import measure

FIRST = "paper-default"
EVENT = 250  # bytes of a token, about what an event of chat completions has
CLONE_NEWNET = 0x40000000  # linux/sched.h
SOL_MPTCP, MPTCP_INFO, FLAG_FALLBACK = 284, 1, 1  # linux/mptcp.h
INFO_FLAGS = slice(8, 12)  # of struct mptcp_info: mptcpi_flags
SETTLE = 3.0  # seconds in the best state for handshakes, and for the second subflow
BOUND = 120.0  # seconds beyond the length of a stream until it is given up


@dataclass
class Stream:
    """One stream of tokens.

    Attributes:
        name: What carries it.
        listener: Where it was accepted.
        server: The sending end.
        client: The other.
        rendered: When each token came.
    """

    name: str
    listener: socket.socket
    server: socket.socket
    client: socket.socket
    rendered: list[float]

    async def send(self, start: float, tokens: int, gap: float) -> None:
        """Send the tokens, each when it is due."""
        loop = asyncio.get_running_loop()
        for number in range(tokens):
            await asyncio.sleep(start + number * gap - time.monotonic())
            await loop.sock_sendall(self.server, bytes(EVENT))

    async def read(self, tokens: int) -> None:
        """Read them all."""
        loop, came = asyncio.get_running_loop(), 0
        while len(self.rendered) < tokens:
            data = await loop.sock_recv(self.client, 65536)
            if not data:
                raise SystemExit(f"{self.name} ended in the middle")
            came += len(data)
            self.rendered += [time.monotonic()] * (came // EVENT - len(self.rendered))

    @property
    def stall_ratio(self) -> float:
        """The share of the time that was spent in stalls (docs/measures.md)."""
        found = measure(self.rendered, [None] * len(self.rendered))
        return found.stall_s / found.stream_s


@contextmanager
def namespace() -> Iterator[int]:
    """Make a network namespace, and give the process that holds it."""
    words = ("unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity")
    with subprocess.Popen(words, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        try:
            assert holder.stdout.readline() == b"up\n"
            yield holder.pid
        finally:
            holder.kill()


@contextmanager
def inside(pid: int) -> Iterator[None]:
    """Be in the network namespace of a process; sockets that are made there stay there."""
    libc = ctypes.CDLL(None, use_errno=True)
    own, theirs = Path("/proc/thread-self/ns/net"), Path(f"/proc/{pid}/ns/net")
    with own.open("rb") as here, theirs.open("rb") as there:
        if libc.setns(there.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        try:
            yield
        finally:
            libc.setns(here.fileno(), CLONE_NEWNET)


def run_in(pid: int, *words: str) -> str:
    """Run a command in the network namespace of a process."""
    words = ("nsenter", f"--net=/proc/{pid}/ns/net", "--", *words)
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


class Wire:
    """The testbed's wire in a namespace of its own.

    Args:
        pid: A process of that namespace.
        links: What it carries.
    """

    def __init__(self, pid: int, links: list[ImpairedLink]) -> None:
        words = ("nsenter", f"--net=/proc/{pid}/ns/net", "--", sys.executable, "-m", "eloquent.emulation.carriers.wire")
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._asked = 0
        self.ask({"links": [link.to_json() for link in links]})

    def ask(self, command: dict[str, object]) -> dict[str, object]:
        """Have it do something."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._asked += 1
        self.process.stdin.write(json.dumps({"id": self._asked, **command}) + "\n")
        self.process.stdin.flush()
        answer: dict[str, object] = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def join(wire: int, links: list[ImpairedLink], client: int, server: int) -> None:
    """Put the ends of two links into a client's and a server's namespace, and let the kernel's path manager use both."""
    for number, link in enumerate(links, start=1):
        for pid, device, host in ((client, link.client_device, 1), (server, link.network_device, 2)):
            run_in(wire, "ip", "link", "set", device, "netns", str(pid))
            run_in(pid, "ip", "addr", "add", f"10.{number}.0.{host}/24", "dev", device)
            run_in(pid, "ip", "link", "set", device, "up")
    for pid in (client, server):
        run_in(pid, "ip", "mptcp", "limits", "set", "subflow", "1", "add_addr_accepted", "1")
    run_in(server, "ip", "mptcp", "endpoint", "add", "10.2.0.2", "signal")


def connect(name: str, client: int, server: int, *, host: str, protocol: int) -> Stream:
    """Open a connection between two namespaces."""

    def make() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
        return made

    with inside(server):
        listener = make()
        listener.bind(("0.0.0.0", 0))  # of all addresses, and open for good: a second subflow is a SYN to it, too
        listener.listen()
    with inside(client):
        near = make()
    near.connect((host, listener.getsockname()[1]))
    far, _ = listener.accept()
    near.sendall(b"?")  # as whoever asks; before the client has said something, no side opens a second subflow
    far.recv(1)
    for end in (near, far):
        end.settimeout(0)
    return Stream(name, listener, far, near, [])


def bytes_of_subflows(client: int, stream: Stream) -> list[int]:
    """Return what came by each subflow of an MPTCP connection, the first link's first.

    Raises:
        SystemExit: It fell back to TCP.
    """
    info = stream.client.getsockopt(SOL_MPTCP, MPTCP_INFO, 128)
    if int.from_bytes(info[INFO_FLAGS], sys.byteorder) & FLAG_FALLBACK:
        raise SystemExit("the connection fell back to TCP: this is no MPTCP")
    told = run_in(client, "ss", "--tcp", "--info", "--numeric", "--no-header", "state", "established")
    found: dict[str, int] = {}
    for address, said in re.findall(r"^\S+\s+\S+\s+10\.(\d)\.\S+.*\n\s+(.*tcp-ulp-mptcp.*)$", told, re.MULTILINE):
        came = re.search(r"bytes_received:(\d+)", said)
        found[address] = int(came[1]) if came else 0
    return [found.get("1", 0), found.get("2", 0)]


async def stream_all(streams: list[Stream], start: float, *, tokens: int, gap: float) -> None:
    """Let all streams run at the same time."""
    async with asyncio.timeout(start - time.monotonic() + tokens * gap + BOUND), asyncio.TaskGroup() as group:
        for stream in streams:
            group.create_task(stream.send(start, tokens, gap))
            group.create_task(stream.read(tokens))


def run(flags: argparse.Namespace) -> dict[str, object]:
    """Run the benchmark, and return what came of it."""
    second = scenarios.load(flags.second).to_line()
    first = scenarios.load(FIRST).to_line()
    with ExitStack() as opened:
        lab = opened.enter_context(namespace())
        hosts = [(opened.enter_context(namespace()), opened.enter_context(namespace())) for _ in range(flags.clients)]
        links = [
            [
                ImpairedLink(f"c{number}", f"a{number}c", f"a{number}n", first, flags.seed),
                ImpairedLink(f"d{number}", f"b{number}c", f"b{number}n", second, flags.seed),
            ]
            for number in range(flags.clients)
        ]
        wire = Wire(lab, [link for both in links for link in both])
        opened.callback(wire.close)
        for (client, server), both in zip(hosts, links, strict=True):
            join(lab, both, client, server)
        wire.ask({"force": "best"})
        ways = (
            ("TCP, first link", "10.1.0.2", socket.IPPROTO_TCP),
            ("TCP, second link", "10.2.0.2", socket.IPPROTO_TCP),
            ("MPTCP", "10.1.0.2", socket.IPPROTO_MPTCP),
        )
        streams = [
            connect(name, *pair, host=host, protocol=protocol) for name, host, protocol in ways for pair in hosts
        ]
        start = time.monotonic() + SETTLE
        time.sleep(SETTLE / 2)
        wire.ask({"schedule": start, "loss": None})
        tokens = round(flags.seconds * flags.rate)
        asyncio.run(stream_all(streams, start, tokens=tokens, gap=1 / flags.rate))
        both_ways = [one for one in streams if one.name == "MPTCP"]
        carried = [bytes_of_subflows(client, one) for (client, _), one in zip(hosts, both_ways, strict=True)]
        lateness = wire.ask({"lateness": True})
        for one in streams:
            for end in (one.client, one.server, one.listener):
                end.close()
    if any(not min(shares) for shares in carried):
        raise SystemExit(f"a subflow carried nothing: bytes by link {carried}")
    ratios = {name: [one.stall_ratio for one in streams if one.name == name] for name, *_ in ways}
    return {"stall_ratios": ratios, "bytes_by_link": carried, "lateness_p99_s": lateness["p99_s"]}


def main() -> None:
    """Run the benchmark, and print what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--second", default=FIRST, help="scenario of the second link (%(default)s)")
    parser.add_argument("--clients", type=int, default=4, help="clients, each with links of its own (%(default)s)")
    parser.add_argument("--rate", type=float, default=10.0, help="tokens a second (%(default)g)")
    parser.add_argument("--seconds", type=float, default=120.0, help="length of the streams (%(default)g)")
    parser.add_argument("--seed", type=int, default=1, help="of the links' schedules (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print an object")
    flags = parser.parse_args()
    found = run(flags)
    if flags.json:
        print(json.dumps(found))
        return
    ratios = found["stall_ratios"]
    assert isinstance(ratios, dict)
    for name, each in ratios.items():
        print(f"{name:18}{statistics.mean(each):7.1%}   each: {' '.join(f'{one:.1%}' for one in each)}")
    print(f"bytes by link of each MPTCP connection: {found['bytes_by_link']}")
    print(f"changes of state late by, p99: {found['lateness_p99_s']} s")


if __name__ == "__main__":
    main()
