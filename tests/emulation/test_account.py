"""The account of a lab's machine, on processes that work, rest, or do not get a processor."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from eloquent.emulation.account import MachineAccount
from eloquent.emulation.processes import LabProcess

pytestmark = pytest.mark.processes

SPIN = "while True: pass"
SPIN_ASIDE = f"""
import threading
threading.Thread(target=lambda: exec({SPIN!r})).start()
open('/proc/self/task/' + str(threading.enumerate()[-1].native_id) + '/comm', 'w').write('forwarder')
"""
REST = "import time\nwhile True: time.sleep(0.01)"
LOOKS = 20  # at most, where others keep the machine busy meanwhile


def account(processes: dict[str, list[str]], folder: Path, *, full: set[str], starved: set[str]) -> dict[str, Any]:
    """Let processes run until these names are full, and these starved, or it has taken too long; give what the account says."""

    async def run() -> dict[str, Any]:
        running = [LabProcess(name, words, log=folder / name) for name, words in processes.items()]
        for process in running:
            await process.start()
        made = MachineAccount(lambda: running, [])
        try:
            for _ in range(LOOKS):
                await asyncio.sleep(1.0)
                made.look()
                threads = made.entries()["threads"]
                if full <= set(threads["full"]) and starved <= set(threads["starved"]):
                    break
        finally:
            for process in running:
                await process.stop()
        return made.entries()

    return asyncio.run(run())


def python(script: str, *before: str) -> list[str]:
    return [*before, sys.executable, "-c", script]


def test_a_thread_that_keeps_a_processor_busy_is_named(needs_root: None, tmp_path: Path):
    """It has most of a processor, whatever else the machine does, as only root may have it."""
    processes = {"the switch": python(SPIN_ASIDE, "nice", "-n", "-19"), "the server": python(REST)}
    full = {"the switch, thread forwarder"}
    found = account(processes, tmp_path, full=full, starved=set())
    assert set(found["threads"]["full"]) == full
    assert found["processors_used"]["the switch"] > found["processors_used"]["the server"]


def test_a_process_that_others_starve_is_named(tmp_path: Path):
    """Two share a processor, and one has a sixtieth of the other's weight (sched(7): 15 and 1024)."""
    processes = {
        "the hog": python(SPIN, "taskset", "--cpu-list", "0"),
        "the relay": python(SPIN, "taskset", "--cpu-list", "0", "nice", "-n", "19"),
    }
    found = account(processes, tmp_path, full=set(), starved={"the relay"})
    assert "the relay" in found["threads"]["starved"]
    assert found["throttled"]["of_s"] >= 1
