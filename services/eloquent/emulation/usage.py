"""Processor time of the lab's processes, to say which of them a load keeps busy."""

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from eloquent.emulation.processes import LabProcess

TICK = 1 / os.sysconf("SC_CLK_TCK")  # seconds


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor time that processes have used so far.

    Attributes:
        at_s: When it was taken, in seconds of CLOCK_MONOTONIC.
        used_s: Processor seconds of each process, by its name.
    """

    at_s: float
    used_s: Mapping[str, float]

    @classmethod
    def of(cls, processes: Iterable[LabProcess]) -> "Usage":
        """Take the present account of those of these processes that run."""
        used = {one.name: _processor_seconds(one.process.pid) for one in processes if one.is_running}
        return cls(time.monotonic(), used)

    def until(self, later: "Usage") -> dict[str, float]:
        """Return the share of a processor that each process kept busy between two accounts, the busiest first.

        One that was started meanwhile, or again, counts from its start.
        """
        length = max(later.at_s - self.at_s, 1e-9)
        shares = {}
        for name, used in later.used_s.items():
            before = self.used_s.get(name, 0.0)
            shares[name] = (used - before if used >= before else used) / length
        return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _processor_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * TICK  # user and system
