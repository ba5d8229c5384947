"""The lab's processes: started in a host's network namespace, logged, waited for, and ended by us, never by their name."""

import asyncio
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Protocol

from eloquent.errors import EmulationError

READY_TIMEOUT = 60.0  # seconds; a Python process imports gRPC in 1 s, in the guest kernel and with 20 at once in 20 s
READY_LINE = "ready"
LINE_BYTES = 1 << 20  # longest line of a carrier's report


def run_command(*words: str, given: str | None = None) -> str:
    """Run a command to its end and give what it printed.

    Args:
        words: The command and its arguments.
        given: What it gets on standard input.

    Raises:
        EmulationError: It failed; the message holds the command and what it said.
    """
    finished = subprocess.run(words, input=given, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        said = (finished.stderr or finished.stdout).strip()
        raise EmulationError(f"'{' '.join(words)}' failed: {said}")
    return finished.stdout


def in_namespace(pid: int, *words: str) -> list[str]:
    """Return the command that runs `words` in the network namespace of process `pid`."""
    return ["nsenter", f"--net=/proc/{pid}/ns/net", "--", *words]


class Spawned(Protocol):
    """What the lab knows of a process that it has started; `asyncio.subprocess.Process` is one."""

    stdin: asyncio.StreamWriter | None
    stdout: asyncio.StreamReader | None
    pid: int

    @property
    def returncode(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""

    async def wait(self) -> int:
        """Wait for its end, and give its exit status."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it."""


class LabProcess:
    """One process of the lab.

    Args:
        name: What messages call it.
        words: The command and its arguments.
        log: File that gets its standard error (and its output, unless the lab reads that).
        talks: Whether the lab reads its standard output and writes to its standard input.
        environment: Variables added to the lab's own.
        descriptors: Open files that it inherits.
    """

    def __init__(
        self,
        name: str,
        words: Sequence[str],
        *,
        log: Path,
        talks: bool = False,
        environment: dict[str, str] | None = None,
        descriptors: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.words = list(words)
        self._log_path = log
        self._log: IO[bytes] | None = None
        self._talks = talks
        self._environment = environment or {}
        self._descriptors = descriptors
        self._log_start = 0  # where in its log the present start began
        self._process: Spawned | None = None

    @property
    def process(self) -> Spawned:
        """The running process.

        Raises:
            EmulationError: It was never started.
        """
        if self._process is None:
            raise EmulationError(f"{self.name} was not started")
        return self._process

    @property
    def was_started(self) -> bool:
        """Whether it was ever started."""
        return self._process is not None

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it; standard error, and what nobody reads, goes to its log file."""
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        if self._log is not None:  # of an earlier start
            self._log.close()
        self._log = self._log_path.open("ab")
        self._log_start = self._log_path.stat().st_size
        self._process = await self._spawn(self._log)

    async def _spawn(self, log: IO[bytes]) -> Spawned:
        return await asyncio.create_subprocess_exec(
            *self.words,
            stdin=asyncio.subprocess.PIPE if self._talks else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if self._talks else log,
            stderr=log,
            env={**os.environ, **self._environment},
            limit=LINE_BYTES,
            pass_fds=self._descriptors,
        )

    async def read_line(self, timeout_s: float = READY_TIMEOUT) -> str:
        """Read one line of its output.

        Raises:
            EmulationError: It said nothing in time, or ended.
        """
        assert self.process.stdout is not None, "only a process that talks is read"
        try:
            line = await asyncio.wait_for(self.process.stdout.readline(), timeout_s)
        except TimeoutError:
            raise EmulationError(f"{self.name} said nothing for {timeout_s:g} s{self.log_tail()}") from None
        if not line:
            raise EmulationError(f"{self.name} ended with exit status {await self.process.wait()}{self.log_tail()}")
        return line.decode().rstrip("\n")

    async def write_line(self, line: str) -> None:
        """Write one line to its standard input."""
        assert self.process.stdin is not None, "only a process that talks is written to"
        self.process.stdin.write(line.encode() + b"\n")
        await self.process.stdin.drain()

    async def wait_ready(self) -> None:
        """Wait for the line `ready`; of a process that does not talk, in its log."""
        if self._talks:
            while await self.read_line() != READY_LINE:
                pass
            return
        await self._poll(lambda: READY_LINE.encode() in self._said().split(b"\n"), "did not get ready")

    def _said(self) -> bytes:
        """Return what its log got since its start."""
        return self._log_path.read_bytes()[self._log_start :]

    async def wait_for_file(self, path: Path) -> None:
        """Wait until it has made a file, such as its socket."""
        await self._poll(path.exists, f"did not make {path}")

    async def _poll(self, is_met: Callable[[], bool], failure: str) -> None:
        for _ in range(round(READY_TIMEOUT / 0.02)):
            if is_met():
                return
            if not self.is_running:
                raise EmulationError(f"{self.name} ended with exit status {self.process.returncode}{self.log_tail()}")
            await asyncio.sleep(0.02)
        raise EmulationError(f"{self.name} {failure} within {READY_TIMEOUT:g} s{self.log_tail()}")

    def log_tail(self) -> str:
        """Return the last lines of its log, for a message."""
        lines = self._log_path.read_text(errors="replace").strip().split("\n")[-5:] if self._log_path.exists() else []
        return ": " + " | ".join(lines) if any(lines) else ""

    async def stop(self, grace_s: float = 5.0) -> None:
        """End it: SIGTERM, and SIGKILL to one that does not end in its grace time."""
        if self.is_running:
            self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), grace_s)
            except TimeoutError:
                self.process.kill()
                await self.process.wait()
        if self._log is not None:
            self._log.close()
