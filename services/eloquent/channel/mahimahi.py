"""Mahimahi's packet-delivery traces: rates, outages, and a loss model of the outages.

Rules of this file:

- The text has on each line the millisecond at which one packet of 1500 bytes may leave; it repeats at its last timestamp.
  Times that count from 1970, or from when a machine was started, are taken from the first line on.
- It has rates and outages, no random loss: as a model it loses everything in its outages.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from eloquent.channel.trace import DEFAULT_SLOT, LONGEST, TraceLoss, check_slot, check_slots
from eloquent.errors import ConfigurationError

DEFAULT_OUTAGE = 0.500  # seconds without an opportunity that make an outage
_MILLISECONDS = re.compile(r"\d{1,15}", re.ASCII)
OPPORTUNITY_BYTES = 1500  # what one line delivers


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which a link carries nothing.

    Attributes:
        start_s: Its begin, in seconds from the begin of the trace.
        end_s: Its end; beyond the length of the trace where it goes on at the trace's begin.
    """

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """Its length in seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class DeliveryTrace:
    """A Mahimahi trace.

    Attributes:
        at_ms: The milliseconds at which one packet of 1500 bytes may leave, in rising order; one may stand there often.
    """

    at_ms: tuple[int, ...]

    @property
    def length_s(self) -> float:
        """Its length in seconds: its last timestamp, where it begins anew."""
        return self.at_ms[-1] / 1e3

    @property
    def mean_rate(self) -> float:
        """Its mean rate in bytes per second."""
        return len(self.at_ms) * OPPORTUNITY_BYTES / self.length_s

    def rates(self, window: float) -> list[float]:
        """Return the rate in bytes per second in each window of so many seconds; the last, cut-off one is left out."""
        counts = [0] * int(self.length_s / window + 1e-9)
        for at_ms in self.at_ms:
            number = int(at_ms / 1e3 / window + 1e-9)
            if number < len(counts):
                counts[number] += 1
        return [count * OPPORTUNITY_BYTES / window for count in counts]

    def outages(self, threshold: float = DEFAULT_OUTAGE) -> list[Outage]:
        """Return the gaps between two opportunities that last longer than a threshold.

        The gap from the last opportunity to the first of the next cycle is the trace's first timestamp long; where it is
        an outage it stands at the begin of the trace.

        Args:
            threshold: Longest gap that is no outage, in seconds.
        """
        times = (0, *self.at_ms)
        return [Outage(one / 1e3, two / 1e3) for one, two in pairwise(times) if (two - one) / 1e3 > threshold]

    def to_model(
        self, *, threshold: float = DEFAULT_OUTAGE, slot: float = DEFAULT_SLOT, start: bool = False
    ) -> TraceLoss:
        """Return the loss model that loses every packet in an outage and none outside: a schedule of outages.

        A slot has the share of its time that lies in an outage.

        Args:
            threshold: Longest gap that is no outage, in seconds.
            slot: Length of a slot in seconds.
            start: Whether a schedule begins at a slot that its seed chooses.
        """
        check_slot(slot)
        check_slots(self.length_s / slot)
        count = max(1, int(self.length_s / slot + 1e-9))
        dark = [0.0] * count
        for outage in self.outages(threshold):
            for number in range(int(outage.start_s / slot + 1e-9), min(count, int(outage.end_s / slot + 1e-9) + 1)):
                inside = min(outage.end_s, (number + 1) * slot) - max(outage.start_s, number * slot)
                dark[number] += max(0.0, inside) / slot
        return TraceLoss(slot=slot, shares=tuple(min(1.0, share) for share in dark), start=start)


def parse_mahimahi(lines: Iterable[str]) -> DeliveryTrace:
    """Read a Mahimahi packet-delivery trace.

    Args:
        lines: The lines of the file.

    Raises:
        ConfigurationError: A line is not a number of milliseconds, or they do not rise, or all are 0; the message names the line.
    """
    at_ms: list[int] = []
    origin_ms: int | None = None
    number = 0
    for number, line in enumerate(lines, start=1):
        if not (word := line.strip()):
            continue
        if not _MILLISECONDS.fullmatch(word):
            raise ConfigurationError(
                f"line {number}: '{word[:80]}' is not a number of milliseconds, of which a Mahimahi trace has one on each line"
            )
        if origin_ms is None:
            origin_ms = int(word) if int(word) > LONGEST * 1e3 else 0
        moment = int(word) - origin_ms
        if not (at_ms[-1] if at_ms else 0) <= moment <= LONGEST * 1e3:
            raise ConfigurationError(
                f"line {number}: {word} ms is before the line above, or more than a day after the first"
            )
        at_ms.append(moment)
    if not at_ms or at_ms[-1] == 0:
        raise ConfigurationError(f"line {number}: the milliseconds of a Mahimahi trace end above 0")
    return DeliveryTrace(tuple(at_ms))
