"""The asyncio loop in which a load worker reads, in a thread of its own beside Locust's greenlets."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from eloquent import process

Result = TypeVar("Result")


class ReadingLoop:
    """The loop, which runs until it is closed."""

    def __init__(self) -> None:
        self._loop = process.new_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine there to its end, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def call(self, function: Callable[[], object]) -> None:
        """Have a function called there soon, after those that were given before."""
        self._loop.call_soon_threadsafe(function)

    def begin(self, work: Coroutine[Any, Any, object]) -> None:
        """Have a coroutine run there, until its end or that of the loop."""
        asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """End the loop, and what still runs in it."""
        self.run(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
