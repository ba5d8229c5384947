"""How rounds begin: with every viewer, or not at all."""

import asyncio
import sys
import time
from pathlib import Path

import pytest

from eloquent.emulation.processes import LabProcess
from eloquent.emulation.rounds import require_taken
from eloquent.errors import EmulationError

pytestmark = pytest.mark.processes

TAKES = """print('{"event": "order_taken", "late_s": 0.0}', flush=True); input()"""
TAKES_LATE = """print('{"event": "order_taken", "late_s": 0.2}', flush=True); input()"""
SILENT = "input()"
ENDED = "import sys; sys.exit('no memory')"


def start_with(programs: dict[str, str], folder: Path) -> None:
    async def run() -> None:
        viewers = [
            LabProcess(f"the viewer of {name}", [sys.executable, "-c", program], log=folder / name, talks=True)
            for name, program in programs.items()
        ]
        try:
            for viewer in viewers:
                await viewer.start()
            await require_taken(viewers, by_s=time.monotonic() + 3.0)
        finally:
            for viewer in viewers:
                await viewer.stop()

    asyncio.run(run())


def test_viewers_who_have_all_been_told_may_start(tmp_path: Path):
    start_with({"c1": TAKES, "c2": TAKES}, tmp_path)


@pytest.mark.parametrize("program", [SILENT, TAKES_LATE])
def test_one_that_was_told_nothing_by_the_epoch_is_named(tmp_path: Path, program: str):
    with pytest.raises(EmulationError, match=r"^the viewer of c2 had taken no order to start by the epoch: "):
        start_with({"c1": TAKES, "c2": program}, tmp_path)


def test_one_that_has_ended_is_told_with_its_last_words(tmp_path: Path):
    with pytest.raises(EmulationError, match="the viewer of c2 ended with exit status 1: no memory"):
        start_with({"c1": TAKES, "c2": ENDED}, tmp_path)
