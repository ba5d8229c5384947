"""Whether a load process keeps up: how late a timer of its own fires."""

import time

import gevent  # type: ignore[import-untyped]  # ships without annotations
from prometheus_client import Histogram

from eloquent.report.rows import LagRow, RowWriter

INTERVAL = 0.05  # seconds between two samples


class LagSampler:
    """Measures, logs and shows the lag of this process.

    A greenlet asks to be woken at even instants; each one that it missed is a sample too, so that a process that stood still
    for a second is not counted once.

    Args:
        name: Which process it is: a client, or `master`.
        histogram: What Prometheus sees of it, with the label `client`.
        log: Where each sample goes.
    """

    def __init__(self, name: str, histogram: Histogram, log: RowWriter[LagRow]) -> None:
        self._histogram = histogram.labels(name)
        self._log = log

    def start(self) -> None:
        """Begin, in a greenlet of its own."""
        gevent.spawn(self._sample)

    def _sample(self) -> None:
        due = time.monotonic()
        while True:
            due += INTERVAL
            gevent.sleep(max(0.0, due - time.monotonic()))
            lag = max(0.0, time.monotonic() - due)
            self._histogram.observe(lag)
            self._log.write(LagRow(due, lag))
