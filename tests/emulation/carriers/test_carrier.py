"""What the lab asks of a carrier, a real one, of no links: each question gets its own answer."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from eloquent.emulation.carriers import carrier
from eloquent.emulation.carriers.carrier import WireCarrier
from eloquent.errors import EmulationError

pytestmark = pytest.mark.processes


async def started(folder: Path) -> WireCarrier:
    wire = WireCarrier([], logs=folder)
    await wire.start()
    return wire


def test_an_interrupted_question_leaves_the_answers_that_follow_in_their_places(tmp_path: Path):
    async def run() -> None:
        wire = await started(tmp_path)
        pid = wire.process.process.pid
        try:
            for _ in range(3):
                os.kill(pid, signal.SIGSTOP)  # so that the answer cannot come before the interruption
                question = asyncio.create_task(wire.count())
                await asyncio.sleep(0.05)
                question.cancel()
                await asyncio.wait((question,))
                assert question.cancelled()
                os.kill(pid, signal.SIGCONT)
            assert (await wire.measure_lateness())["changes"] == 0
            assert await wire.count() == []
        finally:
            os.kill(pid, signal.SIGCONT)
            await wire.process.stop()

    asyncio.run(run())


def test_a_carrier_that_does_not_answer_is_told_of_and_answers_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def run() -> None:
        wire = await started(tmp_path)
        pid = wire.process.process.pid
        try:
            os.kill(pid, signal.SIGSTOP)
            monkeypatch.setattr(carrier, "CONTROL_TIMEOUT", 0.2)
            with pytest.raises(EmulationError, match=r"the wire carrier did not answer within 0\.2 s"):
                await wire.count()
            monkeypatch.setattr(carrier, "CONTROL_TIMEOUT", 20.0)
            os.kill(pid, signal.SIGCONT)
            assert (await wire.measure_lateness())["changes"] == 0
        finally:
            os.kill(pid, signal.SIGCONT)
            await wire.process.stop()

    asyncio.run(run())
