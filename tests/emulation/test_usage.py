"""The account of processor time, on processes that are known to work or to rest."""

import asyncio
import sys

import pytest

from eloquent.emulation.processes import LabProcess
from eloquent.emulation.usage import ThreadTime, Usage

SPIN = """
import time
end = time.process_time() + 0.4
while time.process_time() < end: pass
print('done', flush=True); time.sleep(60)
"""
REST = "print('done', flush=True); import time; time.sleep(60)"


@pytest.mark.processes
def test_the_busiest_process_comes_first_and_one_that_ended_is_left_out(tmp_path):
    async def scenario() -> tuple[dict[str, float], dict[str, float]]:
        processes = [
            LabProcess(name, [sys.executable, "-c", script], log=tmp_path / f"{name}.log", talks=True)
            for name, script in (("resting", REST), ("spinning", SPIN))
        ]
        before = Usage.of(processes)  # nothing runs
        for process in processes:
            await process.start()
        for process in processes:
            await process.read_line()
        shares = before.until(Usage.of(processes))
        await processes[1].stop()
        afterwards = before.until(Usage.of(processes))
        await processes[0].stop()
        return shares, afterwards

    shares, afterwards = asyncio.run(scenario())
    assert list(shares) == ["spinning", "resting"]
    assert shares["spinning"] > shares["resting"] >= 0
    assert list(afterwards) == ["resting"]


def test_a_process_that_was_started_again_counts_from_its_start():
    before, after = Usage(10.0, {"a": 5.0, "b": 1.0}, {}), Usage(12.0, {"a": 0.5, "b": 2.0}, {})
    assert before.until(after) == {"b": 0.5, "a": 0.25}


def test_a_thread_that_began_meanwhile_or_has_the_number_of_an_earlier_one_counts_from_its_start():
    had = {("a", 7): ThreadTime(2.0, 0.5, 10), ("a", 8): ThreadTime(3.0, 0.0, 5)}
    have = {
        ("a", 7): ThreadTime(2.5, 0.75, 30),
        ("a", 8): ThreadTime(0.25, 0.125, 2),
        ("a", 9): ThreadTime(1.0, 0.0, 1),
    }
    assert Usage(10.0, {}, had).threads_until(Usage(11.0, {}, have)) == {
        ("a", 7): ThreadTime(0.5, 0.25, 20),
        ("a", 8): ThreadTime(0.25, 0.125, 2),
        ("a", 9): ThreadTime(1.0, 0.0, 1),
    }
