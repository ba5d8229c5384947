"""What a lab took of its machine while it was measured, and what the machine denied it: for the manifest, which is judged by it.

Rules of this file: the time of each thread is looked at each second, since one that is starved for a while would be averaged away
with the rest of the run, and with other threads.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from eloquent.emulation.ledger import ProcessorTime
from eloquent.emulation.losses import PacketLosses
from eloquent.emulation.network import LabHost
from eloquent.emulation.processes import LabProcess
from eloquent.emulation.quota import throttled_s
from eloquent.emulation.usage import ThreadId, Usage

LOOK = 1.0  # seconds between two looks
FULL = 0.95  # share of a look in which a thread did not rest, most of it on a processor, from which on what it serves waits for it
WAIT = 0.005  # seconds that a thread waits for a processor, in the mean of a look's turns, from which on it is starved
FEWEST_TURNS = 20  # of a look; who got fewer is judged by the wait of so many


class MachineAccount:
    """The account of one measurement, from now on.

    Args:
        processes: Returns whose processor time counts.
        hosts: Whose losses count, beside those of links and switches.
    """

    def __init__(self, processes: Callable[[], Iterable[LabProcess]], hosts: Sequence[LabHost]) -> None:
        self._processes = processes
        self._hosts = hosts
        self._processor = ProcessorTime.now()
        self._losses = PacketLosses.of(hosts)
        self._throttled_s, self._begun = throttled_s(), time.monotonic()
        self._first = self._latest = Usage.of(processes())
        self.forget_threads()

    def forget_threads(self) -> None:
        """Count the threads' seconds from now on: what was before prepared the measurement."""
        self._looks = 0
        self._full, self._starved = Counter[str](), Counter[str]()

    async def watch(self) -> None:
        """Look at the threads each second, for ever."""
        while True:
            await asyncio.sleep(LOOK)
            self.look()

    def look(self) -> None:
        """Account what has been used since the last look."""
        before, self._latest = self._latest, Usage.of(self._processes())
        seconds = before.seconds_until(self._latest)
        if seconds < LOOK / 2:  # too short to tell
            return
        self._looks += 1
        for thread, had in before.threads_until(self._latest).items():
            if had.used_s + had.waited_s > FULL * seconds and had.used_s > had.waited_s:
                self._full[self._describe(thread)] += 1
            if had.waited_s > WAIT * max(had.turns, FEWEST_TURNS):
                self._starved[self._describe(thread)] += 1

    def _describe(self, thread: ThreadId) -> str:
        """Return the name of a process, and that of its thread where it is not the first."""
        name, number = thread
        pid = next((one.process.pid for one in self._processes() if one.name == name), number)
        if number == pid:
            return name
        first, own = (_name_of(pid, thread) for thread in (pid, number))
        return f"{name}, a thread" if own in {"", first} else f"{name}, thread {own}"

    def entries(self) -> dict[str, Any]:
        """Return what came of it until the latest look, as the manifest says it; losses and the machine's time until now."""
        return {
            "processor": self._processor.until(ProcessorTime.now()),
            "processors": os.cpu_count(),
            "processors_used": self._first.until(self._latest),
            "throttled": {"for_s": throttled_s() - self._throttled_s, "of_s": time.monotonic() - self._begun},
            "threads": {"seconds": self._looks, "full": dict(self._full), "starved": dict(self._starved)},
            **self._losses.until(PacketLosses.of(self._hosts)),
        }


def _name_of(pid: int, thread: int) -> str:
    """Return the name of a thread, which is that of its process where it has none of its own; nothing where it has ended."""
    try:
        return Path(f"/proc/{pid}/task/{thread}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return ""
