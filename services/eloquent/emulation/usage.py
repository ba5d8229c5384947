"""Processor time of the lab's processes and of their threads: which of them a load keeps busy, and which wait for a processor."""

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from eloquent.emulation.processes import LabProcess

TICK = 1 / os.sysconf("SC_CLK_TCK")  # seconds
NANOSECOND = 1e-9  # seconds

ThreadId = tuple[str, int]
"""The name of a process, and the number of one of its threads."""


@dataclass(frozen=True, slots=True)
class ThreadTime:
    """What a thread had of the processors (Documentation/scheduler/sched-stats.rst, /proc/<pid>/schedstat).

    Attributes:
        used_s: Seconds on a processor.
        waited_s: Seconds that it was ready to run and no processor was free for it.
        turns: How often it got one.
    """

    used_s: float = 0.0
    waited_s: float = 0.0
    turns: int = 0

    def until(self, later: "ThreadTime") -> "ThreadTime":
        """Return the time between two accounts; a thread that began meanwhile counts from its start."""
        if later.used_s < self.used_s:
            return later
        return ThreadTime(later.used_s - self.used_s, later.waited_s - self.waited_s, later.turns - self.turns)


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor time that processes have used so far.

    Attributes:
        at_s: When it was taken, in seconds of CLOCK_MONOTONIC.
        used_s: Processor seconds of each process, by its name.
        threads: What each of their threads had; nothing where the kernel does not tell.
    """

    at_s: float
    used_s: Mapping[str, float]
    threads: Mapping[ThreadId, ThreadTime]

    @classmethod
    def of(cls, processes: Iterable[LabProcess]) -> "Usage":
        """Take the present account of those of these processes that run."""
        running = {one.name: one.process.pid for one in processes if one.is_running}
        threads = {(name, thread): found for name, pid in running.items() for thread, found in _threads(pid).items()}
        return cls(time.monotonic(), {name: _processor_seconds(pid) for name, pid in running.items()}, threads)

    def until(self, later: "Usage") -> dict[str, float]:
        """Return the share of a processor that each process kept busy between two accounts, the busiest first.

        One that was started meanwhile, or again, counts from its start.
        """
        length = self.seconds_until(later)
        shares = {}
        for name, used in later.used_s.items():
            before = self.used_s.get(name, 0.0)
            shares[name] = (used - before if used >= before else used) / length
        return dict(sorted(shares.items(), key=lambda item: -item[1]))

    def threads_until(self, later: "Usage") -> dict[ThreadId, ThreadTime]:
        """Return what each thread had between two accounts."""
        return {thread: self.threads.get(thread, ThreadTime()).until(found) for thread, found in later.threads.items()}

    def seconds_until(self, later: "Usage") -> float:
        """Return the seconds between two accounts."""
        return max(later.at_s - self.at_s, 1e-9)


def _processor_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * TICK  # user and system


def _threads(pid: int) -> dict[int, ThreadTime]:
    found = {}
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            used, waited, turns = map(int, (thread / "schedstat").read_bytes().split())
            found[int(thread.name)] = ThreadTime(used * NANOSECOND, waited * NANOSECOND, turns)
    except (FileNotFoundError, ProcessLookupError):  # it has ended, or this kernel does not tell
        return found
    return found
