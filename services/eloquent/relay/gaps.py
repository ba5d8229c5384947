"""What a gap between two events of an answer is, at either end of the relays: as docs/measures.md has it for tokens."""

from eloquent.qoe.session import STALL_THRESHOLD, elapsed
from eloquent.telemetry import GapTally


def count_gap(tally: GapTally, before_s: float, now_s: float) -> None:
    """Count the gap between two events; what is done here is done at each event.

    Args:
        tally: Where.
        before_s: When the one came, in seconds of the loop's clock.
        now_s: When the next did.
    """
    gap_s = now_s - before_s
    if gap_s > STALL_THRESHOLD:
        gap_s = elapsed(before_s, now_s)  # by whole nanoseconds, which may be the threshold itself
        if gap_s > STALL_THRESHOLD:
            tally.add_stall(gap_s)
    tally.add(gap_s)
