"""Whether a load process keeps up: how late timers of its own fire."""

import asyncio
import time
from collections.abc import Callable, Iterator

from prometheus_client import Histogram

from eloquent.records.rows import LagRow, RowWriter

INTERVAL = 0.05  # seconds between two samples


class LagSampler:
    """Measures, logs and shows the lag of a greenlet or of an asyncio loop.

    It asks to be woken at even instants; each one that it missed is a sample too, so that a process that stood still for a second
    is not counted once.

    Args:
        name: Which process it is: a load worker, or `master`.
        histogram: What Prometheus sees of it, with the label `client`.
        log: Where each sample goes.
    """

    def __init__(self, name: str, histogram: Histogram, log: RowWriter[LagRow]) -> None:
        self._histogram = histogram.labels(name)
        self._log = log
        self._has_ended = False

    def sample(self, sleep: Callable[[float], object]) -> None:
        """Measure until the end, whoever calls this.

        Args:
            sleep: Waits for some seconds, as the caller waits: `gevent.sleep`.
        """
        for wait_s in self._waits():
            sleep(wait_s)

    async def sample_loop(self) -> None:
        """Measure the running loop until the end."""
        for wait_s in self._waits():
            await asyncio.sleep(wait_s)

    def _waits(self) -> Iterator[float]:
        """Yield for how many seconds to wait, and take a sample after each."""
        due = time.monotonic()
        while True:
            due += INTERVAL
            yield max(0.0, due - time.monotonic())
            if self._has_ended:
                return
            lag = max(0.0, time.monotonic() - due)
            self._histogram.observe(lag)
            self._log.write(LagRow(due, lag))

    def end(self) -> None:
        """Measure no more: all users leave at once, and nobody reads what comes late then."""
        self._has_ended = True
