"""Processor time of the lab's processes, to say which of them a load keeps busy."""

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from eloquent.emulation.processes import LabProcess

TICK = 1 / os.sysconf("SC_CLK_TCK")  # seconds


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor time that roles have used so far.

    Attributes:
        at_s: When it was taken, in seconds of CLOCK_MONOTONIC.
        used_s: Processor seconds of each role.
    """

    at_s: float
    used_s: Mapping[str, float]

    @classmethod
    def of(cls, processes: Iterable[LabProcess]) -> "Usage":
        """Take the present account of these processes, by role: what their names say before ` of `."""
        used: dict[str, float] = defaultdict(float)
        for process in processes:
            if process.is_running:
                used[role_of(process)] += _processor_seconds(process.process.pid)
        return cls(time.monotonic(), dict(used))

    def until(self, later: "Usage") -> dict[str, float]:
        """Give the processors that each role kept busy between two accounts, the busiest first."""
        length = max(later.at_s - self.at_s, 1e-9)
        shares = {role: (used - self.used_s.get(role, 0.0)) / length for role, used in later.used_s.items()}
        return dict(sorted(shares.items(), key=lambda item: -item[1]))


def role_of(process: LabProcess) -> str:
    """Give the part that a process plays: `edge relay` of `the edge relay of c3`."""
    return process.name.removeprefix("the ").partition(" of ")[0]


def _processor_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * TICK  # user and system
