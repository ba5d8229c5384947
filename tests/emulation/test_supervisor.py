"""The end of a lab's first process, which is the end of the lab."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.processes

SCRIPT = """
import asyncio
from eloquent.emulation import supervisor

async def never_ends():
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

class Ended:
    async def run(self):
        self.task = asyncio.create_task(never_ends())
        await asyncio.sleep(0)
        return 3

supervisor.Orders.from_json = lambda text: None
supervisor.Supervisor = lambda orders: Ended()
asyncio.run(supervisor.main())
"""


def test_it_ends_although_a_task_of_it_does_not():
    """As one does not that was cancelled while it started a command."""
    ended = subprocess.run([sys.executable, "-c", SCRIPT], input="{}\n", text=True, timeout=60, check=False)
    assert ended.returncode == 3
