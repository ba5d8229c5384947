"""The lab's side of the nursery (nodes/nursery), which forks the lab's nodes: it orders them, and hears of their ends."""

import asyncio
import contextlib
import json
import math
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from eloquent.emulation.processes import LINE_BYTES, LabProcess
from eloquent.errors import EmulationError
from eloquent.nodes.nursery import MAX_MESSAGE

NICE_STEP = 1.25  # by which the weight of a process grows from one value of nice to the next below (sched(7))
LEAST_NICE = -19  # that of the switch is -20: a real one does not wait for the load


class Nursery:
    """The lab's way to the nursery.

    Args:
        logs: Folder of the log files.

    Attributes:
        process: The nursery itself, without which no node starts.
    """

    def __init__(self, logs: Path) -> None:
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.settimeout(0)
        words = [sys.executable, "-m", "eloquent.nodes.nursery", str(self._theirs.fileno())]
        self.process = LabProcess("the nursery", words, log=logs / "nursery.log", descriptors=[self._theirs.fileno()])
        self._asking = asyncio.Lock()  # one order at a time
        self._born: asyncio.Future[int] | None = None
        self._living: dict[int, ForkedProcess] = {}

    async def start(self) -> None:
        """Start it; nodes may be asked for at once, and wait until it has imported them."""
        await self.process.start()
        self._theirs.close()
        asyncio.get_running_loop().add_reader(self._ours, self._hear)

    async def fork(
        self, node: str, flags: Sequence[str], *, host: str, pid: int, serves: int, streams: Sequence[int]
    ) -> "ForkedProcess":
        """Fork a node.

        Args:
            node: Its name under `eloquent.nodes`.
            flags: Its flags.
            host: Name of its host, for those who list processes.
            pid: A process in the network of its host.
            serves: How many hosts it works for.
            streams: Descriptors of its standard input, output and error.

        Raises:
            EmulationError: The nursery is gone.
        """
        order = {
            "node": node,
            "flags": list(flags),
            "host": host,
            "network": f"/proc/{pid}/ns/net",
            "nice": niceness(serves),
        }
        async with self._asking:
            self._born = asyncio.get_running_loop().create_future()
            try:
                socket.send_fds(self._ours, [json.dumps(order).encode()], list(streams))
            except OSError as error:
                raise EmulationError(f"the nursery is gone ({error}){self.process.log_tail()}") from None
            child = ForkedProcess(await self._born)
        self._living[child.pid] = child
        return child

    async def stop(self) -> None:
        """End it; nodes that it has forked go on, and nobody hears of their ends."""
        asyncio.get_running_loop().remove_reader(self._ours)
        self._ours.close()  # which it takes for the end of its orders
        await self.process.stop()

    def _hear(self) -> None:
        """Take what the nursery tells: a birth, or an end."""
        with contextlib.suppress(BlockingIOError):
            while told := self._ours.recv(MAX_MESSAGE):
                match json.loads(told):
                    case {"born": int(pid)} if self._born is not None:
                        self._born.set_result(pid)
                    case {"ended": int(pid), "status": int(status)}:
                        self._living.pop(pid).end(status)
            asyncio.get_running_loop().remove_reader(self._ours)
            if self._born is not None and not self._born.done():
                self._born.set_exception(EmulationError(f"the nursery ended{self.process.log_tail()}"))


class ForkedProcess:
    """A node that the nursery has forked: what `asyncio.subprocess.Process` is for what the lab starts itself.

    Attributes:
        pid: Its process number.
        returncode: Its exit status, negative for a signal; None while it runs.
        stdin: Where the lab writes to it, if it talks.
        stdout: Where the lab reads from it, likewise.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdin: asyncio.StreamWriter | None = None
        self.stdout: asyncio.StreamReader | None = None
        self._ended = asyncio.Event()

    def end(self, status: int) -> None:
        """Note that it has ended."""
        self.returncode = status
        self._ended.set()

    async def wait(self) -> int:
        """Wait for its end; give its exit status."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def terminate(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def niceness(hosts: int) -> int:
    """Return how nice a process is that works for so many hosts: it gets the share of so many processes.

    A machine that is busy would else give it as much as each of the others, and it would starve first.

    Args:
        hosts: How many, from 1 on.
    """
    return max(LEAST_NICE, -round(math.log(hosts, NICE_STEP)))


class NodeProcess(LabProcess):
    """A node of the lab, forked by the nursery.

    Args:
        name: What messages call it.
        node: Its name under `eloquent.nodes`.
        flags: Its flags.
        nursery: Who forks it.
        host: Name of its host.
        pid: A process in the network of its host.
        serves: How many hosts it works for.
        log: File that gets its standard error, as of any other process.
        talks: Whether the lab reads its standard output and writes to its standard input.
    """

    def __init__(
        self,
        name: str,
        node: str,
        flags: Sequence[str],
        *,
        nursery: Nursery,
        host: str,
        pid: int,
        serves: int = 1,
        log: Path,
        talks: bool = False,
    ) -> None:
        super().__init__(name, [node, *flags], log=log, talks=talks)
        self._nursery = nursery
        self._host = host
        self._pid = pid
        self._serves = serves
        self._ways: list[asyncio.StreamWriter] = []  # of its standard streams, to be closed

    async def _spawn(self, log: IO[bytes]) -> ForkedProcess:
        node, *flags = self.words
        if not self._talks:
            with Path(os.devnull).open("rb") as nothing:  # noqa: ASYNC230  # this file opens at once
                return await self._fork(node, flags, (nothing, log, log))
        (to_it, stdin), (from_it, stdout) = socket.socketpair(), socket.socketpair()
        with stdin, stdout:
            child = await self._fork(node, flags, (stdin, stdout, log))
        _, child.stdin = await asyncio.open_connection(sock=to_it)
        child.stdout, unused = await asyncio.open_connection(sock=from_it, limit=LINE_BYTES)
        self._ways += [child.stdin, unused]
        return child

    async def _fork(
        self, node: str, flags: Sequence[str], streams: Sequence[IO[bytes] | socket.socket]
    ) -> ForkedProcess:
        descriptors = [stream.fileno() for stream in streams]
        return await self._nursery.fork(
            node, flags, host=self._host, pid=self._pid, serves=self._serves, streams=descriptors
        )

    async def stop(self, grace_s: float = 5.0) -> None:
        """End it, as any other."""
        await super().stop(grace_s)
        for way in self._ways:
            way.close()
