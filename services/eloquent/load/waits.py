"""What Locust is told of tokens: gathered while they are read, and entered into its statistics many at once."""

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from locust.stats import RequestStats, StatsEntry, bucket_response_time


@dataclass(slots=True)
class Waits:
    """The waits that users of one scheme have met and Locust has not been told of.

    Attributes:
        first_tokens: Seconds to first tokens.
        gaps: Seconds from one token to the next.
        stalls: Those of them that are stalls.
    """

    first_tokens: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    stalls: list[float] = field(default_factory=list)

    def tell(self, stats: RequestStats, scheme: str) -> None:
        """Enter them, which is for greenlets alone; the loop's thread may add others meanwhile.

        Args:
            stats: Locust's statistics.
            scheme: Name of the scheme.
        """
        for name, seconds in (("TTFT", self.first_tokens), ("gap", self.gaps), ("stall", self.stalls)):
            taken = seconds[:]
            del seconds[: len(taken)]
            if taken:
                _enter(stats, name, scheme, taken)


def _enter(stats: RequestStats, name: str, scheme: str, seconds: Sequence[float]) -> None:
    """Enter requests of one name as one, with all that `StatsEntry.log` notes of each; Locust counts milliseconds."""
    now, times = time.time(), [one * 1e3 for one in seconds]
    batch = StatsEntry(stats, name, scheme)
    batch.num_requests = batch.total_content_length = len(times)  # a token each
    batch.num_reqs_per_sec[int(now)] = len(times)
    batch.last_request_timestamp = now
    # Locust calls all of them int, and takes fractions.
    batch.total_response_time = math.fsum(times)  # type: ignore[assignment]
    batch.min_response_time = min(times)  # type: ignore[assignment]
    batch.max_response_time = max(times)  # type: ignore[assignment]
    batch.response_times.update(Counter(map(bucket_response_time, times)))
    stats.total.extend(batch)
    stats.entries[name, scheme].extend(batch)
