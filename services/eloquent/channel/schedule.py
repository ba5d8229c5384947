"""Schedules: when a link loses how much, known before the first packet is sent.

Rules of this file:

- A schedule is a pure function of (seed, link, direction, slot) and its model. Every scheme of a run meets the same
  one, in whatever order it is asked, so comparisons are paired.
- Slot k covers the offsets from k x slot up to, not including, (k + 1) x slot, counted from the run's epoch. Boundaries
  are computed in whole nanoseconds: 0.3 s lies in slot 3 of 100 ms, whatever the floating point says of 0.3 / 0.1.
- Slots are drawn when first asked for and kept, one byte each: 0.9 MB for a day of 100 ms.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from random import Random

from eloquent.channel.loss import LossModel, format_loss
from eloquent.units import TO_WHOLE

_NANOSECONDS = 1_000_000_000


class Direction(StrEnum):
    """A direction of the access link, seen from the client."""

    DOWN = "down"
    UP = "up"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time during which the probability of loss does not change.

    Attributes:
        start_s: Its begin, in seconds from the epoch.
        end_s: Its end (exclusive); infinite where nothing changes any more.
        loss: The probability of loss, 0..1.
    """

    start_s: float
    end_s: float
    loss: float


class Schedule:
    """The probability of loss of one link in one direction over time (docs/design.md: one channel, three carriers).

    Args:
        model: The loss model.
        seed: Seed of the run.
        link: Name of the link, such as the client's name.
        direction: Direction on that link; the two directions are independent.
    """

    def __init__(self, model: LossModel, *, seed: int, link: str, direction: Direction) -> None:
        self.model = model
        # Seeding from a string hashes it with SHA-512, and random() is promised to be stable: the same on every Python.
        self._source = model.states(Random(f"eloquent schedule 1|{seed}|{link}|{direction.value}"))
        self._states = bytearray()
        self._slot = None if model.slot is None else round(model.slot * _NANOSECONDS)
        self._loss_by_state = model.loss_by_state

    def loss_at(self, offset_s: float) -> float:
        """Return the probability of loss, 0..1, at an offset from the epoch.

        Args:
            offset_s: Seconds from the epoch, 0 or more.

        Raises:
            ValueError: The offset lies before the epoch.
        """
        slot = self._slot_at(offset_s)
        try:
            return self._loss_by_state[self._states[slot]]
        except IndexError:
            return self._loss_of_slot(slot)

    def is_lost(self, offset_s: float, rng: Random) -> bool:
        """Decide about one packet; always draws exactly one number.

        Args:
            offset_s: When the packet meets the link, in seconds from the epoch, 0 or more.
            rng: The generator of the packet decisions.
        """
        return rng.random() < self.loss_at(offset_s)

    def states(self, from_s: float = 0.0, to_s: float = math.inf) -> Iterator[Stretch]:
        """Yield the stretches of constant loss that cover a window, cut to it, in order.

        Args:
            from_s: Begin of the window, in seconds from the epoch, 0 or more.
            to_s: End of the window; by default there is none.
        """
        start, slot = from_s, self._slot_at(from_s)
        loss = self._loss_of_slot(slot)
        while start < to_s:
            end = math.inf
            if self._slot is not None and len(set(self._loss_by_state)) > 1:
                slot += 1
                end = slot * self._slot / _NANOSECONDS
                if end < to_s and self._loss_of_slot(slot) == loss:
                    continue
            yield Stretch(start, min(end, to_s), loss)
            start = end
            if start < to_s:
                loss = self._loss_of_slot(slot)

    def changes(self, start_s: float = 0.0) -> Iterator[tuple[float, float]]:
        """Yield each change of the probability of loss after an offset, lazily and for ever.

        Together with `loss_at(start_s)` this is all that a carrier needs. A model that never changes yields nothing.

        Args:
            start_s: Seconds from the epoch, 0 or more; a change at exactly this offset is not repeated.

        Yields:
            The offset of the change in seconds from the epoch, and the probability of loss from then on.
        """
        for stretch in islice(self.states(start_s), 1, None):
            yield stretch.start_s, stretch.loss

    def mean_loss(self, from_s: float, to_s: float) -> float:
        """Return the mean probability of loss over a window, weighted by time: what an even stream of probes measures.

        Args:
            from_s: Begin of the window, in seconds from the epoch, 0 or more.
            to_s: End of the window, after its begin.

        Raises:
            ValueError: The window is empty.
        """
        if not from_s < to_s:
            raise ValueError(f"the window from {from_s:g} s to {to_s:g} s is empty")
        lost = math.fsum(part.loss * (part.end_s - part.start_s) for part in self.states(from_s, to_s))
        return lost / (to_s - from_s)

    def run_lengths(self, to_s: float) -> list[tuple[float, float]]:
        """Return the probability of loss and the length in seconds of each stretch from the epoch on.

        Args:
            to_s: Where to stop, in seconds from the epoch.
        """
        return [(part.loss, round(part.end_s - part.start_s, 9)) for part in self.states(0.0, to_s)]

    def digest(self, to_s: float) -> str:
        """Return a fingerprint (SHA-256, hexadecimal) of the schedule from the epoch on.

        Two schedules with one digest give the same probability of loss at every instant up to `to_s`.

        Args:
            to_s: Where to stop, in seconds from the epoch; the slot that it touches is counted in full.
        """
        body = b""
        if self._slot is not None:
            count = -(-round(to_s * _NANOSECONDS) // self._slot)
            self._extend(count)
            body = bytes(self._states[:count])
        return hashlib.sha256(format_loss(self.model).encode() + b"|" + body).hexdigest()

    def _slot_at(self, offset_s: float) -> int:
        if not offset_s >= 0:
            raise ValueError(f"offset {offset_s} s lies before the epoch of the schedule")
        return 0 if self._slot is None else int(offset_s * _NANOSECONDS + TO_WHOLE - TO_WHOLE) // self._slot

    def _loss_of_slot(self, slot: int) -> float:
        if slot >= len(self._states):
            self._extend(slot + 1)
        return self._loss_by_state[self._states[slot]]

    def _extend(self, count: int) -> None:
        if count > len(self._states):
            self._states.extend(islice(self._source, count - len(self._states)))
