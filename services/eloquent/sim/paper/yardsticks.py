"""What the targets of our schemes are held against: TCP with one packet a token, and an outage after a clean minute."""

from itertools import pairwise

from eloquent import schemes
from eloquent.channel.scenario import Scenario
from eloquent.channel.trace import TraceLoss
from eloquent.sim.engine.choices import Choices
from eloquent.sim.engine.session import constant_rate, run_session
from eloquent.sim.engine.trace import SessionTrace

TCP_HEADERS = 52  # bytes of IPv4 (20) and TCP with timestamps (32), as Linux sends it and the scheme `tcp` counts it
CLEAN = 60.0  # seconds before the outage
_CLEAN_AFTER = 120.0  # seconds after it
_SLOT = 0.010  # seconds
_TOLERANCE = 1e-6  # seconds


def verdict(value: float | None, most: float) -> str:
    """Return whether a value is known and at most so much: `yes` or `no`."""
    return "yes" if value is not None and value <= most else "no"


def outage_verdict(longest_gap_s: float, allowed_s: float) -> str:
    """Return whether a reader waited no longer than is allowed: `yes` or `no`."""
    return verdict(longest_gap_s, allowed_s + _TOLERANCE)


def run_with_outage(
    scheme: str, *, begin: float, outage: float, seconds: float, gap: float, rtt: float, choices: Choices
) -> SessionTrace:
    """Simulate a session on a link that loses nothing but in one outage.

    Args:
        scheme: Name of the scheme.
        begin: When the outage begins, in seconds.
        outage: Its length in seconds; 0 for none.
        seconds: For how long tokens are generated.
        gap: Seconds between tokens.
        rtt: Round-trip time in seconds.
        choices: How the session is simulated.
    """
    shares = (0.0,) * round(begin / _SLOT) + (1.0,) * round(outage / _SLOT) + (0.0,) * round(_CLEAN_AFTER / _SLOT)
    link = Scenario(name="clean-minute", rtt=rtt, loss_down=TraceLoss(slot=_SLOT, shares=shares))
    return run_session(schemes.get(scheme), link, seed=1, generated_s=constant_rate(seconds, gap), choices=choices)


def longest_gap(trace: SessionTrace, *, since: float) -> float:
    """Return the longest time between two renderings, in seconds, of which the first is after an instant."""
    return max(after - before for before, after in pairwise(trace.rendered_s) if before > since)
