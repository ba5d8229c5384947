"""Processes that are measured: started, read line by line, and their processor time read from outside."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

REPOSITORY = Path(__file__).parents[1]


class Running:
    """A process that says lines on its standard output.

    Args:
        process: The process.
        errors: Where its standard error goes.

    Attributes:
        pid: Its number.
        said: Its first line.
    """

    def __init__(self, process: subprocess.Popen[str], errors: IO[str]) -> None:
        self._process = process
        self._errors = errors
        self.pid = process.pid
        self.said = self.next_line()

    @property
    def cpu(self) -> float:
        """Seconds of processor time that it has taken (see `cpu_of`)."""
        return cpu_of(self.pid)

    def next_line(self) -> str:
        """Wait for its next line.

        Raises:
            SystemExit: It has ended instead.
        """
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            return line.strip()
        self._process.wait()
        self._errors.seek(0)
        raise SystemExit(f"{self._process.args!r} has ended: this says nothing\n{self._errors.read()}")


def cpu_of(pid: int) -> float:
    """Return the seconds of processor time that a process has taken, in user and kernel mode, with all its threads."""
    return time.clock_gettime(~pid << 3 | 2)  # CPUCLOCK_SCHED of linux/posix-timers.h


@contextlib.contextmanager
def running(*words: str, tree: Path | None = None, inside: int | None = None) -> Iterator[Running]:
    """Run Python until the block ends; it has said its first line when that begins.

    Args:
        words: What follows the interpreter, such as `-m` and a module.
        tree: The checkout whose package it imports; None for what is installed, in a clone's own environment that of the clone.
        inside: A process in whose network namespace it runs; None for the caller's own.
    """
    folders = (REPOSITORY,) if tree is None else (tree / "services", REPOSITORY)
    environment = {**os.environ, "PYTHONPATH": ":".join(map(str, folders))}
    before = () if inside is None else ("nsenter", f"--net=/proc/{inside}/ns/net", "--")
    command = [*before, sys.executable, *words]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment) as process,
    ):
        try:
            yield Running(process, errors)
        finally:
            process.terminate()


def free_port(kind: socket.SocketKind) -> int:
    """Return a port of loopback that nobody has."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
