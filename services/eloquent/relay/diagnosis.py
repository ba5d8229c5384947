"""What a path does, computed from the pings that crossed it.

Rules of this file
- A ping of which no pong tells whether it came was lost in an interruption of both directions, and counts as lost in each.
- Losses are fitted with two states, a good one in which nothing is lost and a bad one in which everything is (Gilbert): it has
  the measured share of losses, and the measured length of their bursts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from statistics import quantiles

from eloquent.relay.sealed.prober import SentPing


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """Round-trip times.

    Attributes:
        least_s: The least, in seconds.
        median_s: The median.
        p95_s: What 95 of 100 do not exceed.
    """

    least_s: float
    median_s: float
    p95_s: float


@dataclass(frozen=True, slots=True)
class Losses:
    """What was lost in one direction.

    Attributes:
        sent: Pings, or pongs, that were sent that way.
        lost: How many of them were lost.
        share: The same as a share, 0..1.
        bursts: How many times one or more in a row were lost.
        mean_burst: How many were lost in a burst, on average; None where nothing was.
        longest_burst: How many at most.
        stay_good: Probability that what follows one that came does, too.
        stay_bad: Probability that what follows one that was lost is, too; None where nothing was.
    """

    sent: int
    lost: int
    share: float
    bursts: int
    mean_burst: float | None
    longest_burst: int
    stay_good: float
    stay_bad: float | None


@dataclass(frozen=True, slots=True)
class Size:
    """What became of pings of one size.

    Attributes:
        size: Bytes of UDP payload.
        sent: How many were sent.
        came: How many of them came to the origin relay.
        answered: How many of their pongs, which have the same size, came back.
    """

    size: int
    sent: int
    came: int
    answered: int


def round_trips(pings: Iterable[SentPing]) -> RoundTrips | None:
    """Return the round-trip times of the pings that were answered, or None if none was."""
    times = sorted(ping.answered_at - ping.sent_at for ping in pings if ping.answered_at is not None)
    if not times:
        return None
    if len(times) == 1:
        return RoundTrips(times[0], times[0], times[0])
    cuts = quantiles(times, n=20, method="inclusive")
    return RoundTrips(times[0], cuts[9], cuts[18])


def losses_up(pings: Iterable[SentPing]) -> Losses | None:
    """Return what was lost on the way to the server, or None if nothing was sent."""
    return _losses([not ping.came for ping in pings])


def losses_down(pings: Iterable[SentPing]) -> Losses | None:
    """Return what was lost on the way back, or None if nothing was sent that way."""
    return _losses([ping.answered_at is None for ping in pings if ping.came is not False])


def sizes(pings: Iterable[SentPing]) -> tuple[Size, ...]:
    """Return what became of pings of each size, in ascending order."""
    by_size = groupby(sorted(pings, key=lambda ping: ping.size), key=lambda ping: ping.size)
    found = []
    for size, group in by_size:
        same = list(group)
        came, answered = sum(bool(ping.came) for ping in same), sum(ping.answered_at is not None for ping in same)
        found.append(Size(size, len(same), came, answered))
    return tuple(found)


def _losses(lost: Sequence[bool]) -> Losses | None:
    """Return what is to be told of a sequence."""
    if not lost:
        return None
    bursts = [sum(1 for _ in group) for is_lost, group in groupby(lost) if is_lost]
    number = sum(bursts)
    followed = [after for before, after in pairwise(lost) if not before]
    return Losses(
        sent=len(lost),
        lost=number,
        share=number / len(lost),
        bursts=len(bursts),
        mean_burst=number / len(bursts) if bursts else None,
        longest_burst=max(bursts, default=0),
        stay_good=1 - sum(followed) / len(followed) if followed else 1.0,
        stay_bad=1 - len(bursts) / number if bursts else None,
    )
