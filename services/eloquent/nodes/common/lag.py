"""How late a node's event loop wakes: sampled, and of those whose users do not see it, logged.

Rules of this file: a tick that a blocked loop missed is a sample, too: one that stood still for a second is not counted once. A
node that stays up for days logs the samples that say something, and one a second that says that it was there; what is not logged
was less than `NOTABLE`.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from eloquent.records.rows import LAG_INTERVAL, LagRow, RowWriter

NOTABLE = 0.005  # seconds
SIGN_OF_LIFE = 1.0  # seconds between two rows at most


class LagLog:
    """The log of a node's lag.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._rows = RowWriter(path, LagRow)
        self._written = -SIGN_OF_LIFE
        self._next: float | None = None

    def note(self, due: float, lag: float) -> None:
        """Note a sample.

        Args:
            due: When the node was to wake, in seconds of CLOCK_MONOTONIC.
            lag: How much later it did, in seconds.
        """
        if lag >= NOTABLE or due - self._written >= SIGN_OF_LIFE:
            self._rows.write(LagRow(due, lag))
            self._written = due

    def note_due(self, due: float, lag: float) -> None:
        """Take from what has instants of its own, at whatever distances, the samples that `sample_lag` would have taken.

        Args:
            due: When it was to be done, in seconds of CLOCK_MONOTONIC; not before the one before.
            lag: How much later it was, in seconds.
        """
        if self._next is None:
            self._next = due
        while self._next <= due:
            self.note(self._next, lag)
            self._next += LAG_INTERVAL

    def close(self) -> None:
        """Close the file."""
        self._rows.close()


async def sample_lag(note: Callable[[float, float], None]) -> None:
    """Measure how late the event loop wakes, for ever.

    Args:
        note: Gets when it was to wake, in seconds of the loop's clock, and how much later it did.
    """
    clock = asyncio.get_running_loop().time
    due = clock()
    while True:
        due += LAG_INTERVAL
        await asyncio.sleep(max(0.0, due - clock()))
        note(due, max(0.0, clock() - due))
