"""Something that is said again until it has been heard, at doubled intervals."""

from dataclasses import dataclass


@dataclass(slots=True)
class Repetition:
    """When to say it next.

    Attributes:
        due: Seconds; the instant of the next repetition.
        interval: Seconds from that repetition to the one after it.
        longest: Seconds; the interval is doubled up to this.
    """

    due: float
    interval: float
    longest: float

    def repeat(self, now: float) -> None:
        """Note that it is said at `now`, and set the instant of the next time."""
        self.due = now + self.interval
        self.interval = min(2 * self.interval, self.longest)
