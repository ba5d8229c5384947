"""Processes of the lab: what they say is heard, how they end is told."""

import asyncio
import sys
from pathlib import Path

import pytest

from eloquent.emulation.processes import LabProcess, run_command
from eloquent.errors import EmulationError


def python(program: str, log: Path, **options: bool) -> LabProcess:
    return LabProcess("the node", [sys.executable, "-u", "-c", program], log=log, **options)


@pytest.mark.processes
def test_a_talking_process_answers(tmp_path):
    async def scenario() -> str:
        process = python("print('hello'); print('ready'); print(input().upper())", tmp_path / "log", talks=True)
        await process.start()
        await process.wait_ready()
        await process.write_line("echo")
        answer = await process.read_line()
        await process.stop()
        return answer

    assert asyncio.run(scenario()) == "ECHO"


@pytest.mark.processes
def test_a_silent_process_is_ready_by_its_log(tmp_path):
    async def scenario() -> bool:
        process = python("import time; print('ready'); time.sleep(60)", tmp_path / "log")
        await process.start()
        await process.wait_ready()
        was_running = process.is_running
        await process.stop()
        return was_running and not process.is_running

    assert asyncio.run(scenario())


@pytest.mark.processes
@pytest.mark.parametrize("talks", [True, False])
def test_an_early_end_is_told_with_the_last_words(tmp_path, talks):
    async def scenario() -> None:
        process = python("import sys; sys.exit('no such option')", tmp_path / "log", talks=talks)
        await process.start()
        try:
            await process.wait_ready()
        finally:
            await process.stop()

    with pytest.raises(EmulationError, match="the node ended with exit status 1: no such option"):
        asyncio.run(scenario())


@pytest.mark.processes
def test_a_process_that_ignores_sigterm_is_killed(tmp_path):
    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready'); time.sleep(60)"

    async def scenario() -> int | None:
        process = python(program, tmp_path / "log")
        await process.start()
        await process.wait_ready()
        await process.stop(grace_s=0.2)
        return process.process.returncode

    assert asyncio.run(scenario()) == -9


def test_a_failed_command_is_told_whole():
    with pytest.raises(EmulationError, match=r"'ls /nonexistent' failed: .*No such file"):
        run_command("ls", "/nonexistent")
    assert run_command("cat", given="text") == "text"
