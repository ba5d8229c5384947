"""What the paper prints, the settings of its figures, and which schemes stand in them.

Nothing of what is printed enters a simulation.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from eloquent import schemes
from eloquent.report import styles
from eloquent.sim.engine.choices import Choices

SESSION = 30.0  # seconds (Eloquent §4.1)
SESSIONS = 30  # of each setting (§4.1)
TCP = "tcp-simple"
OURS = "eloquent"
DUPLICATES = ("duplicate-2", "duplicate-3", "duplicate-4", "duplicate-5")
PANELS = {
    "figure-5": ("paper-default", "paper-default-rtt100"),
    "figure-6": ("paper-frequent", "paper-long"),
}
PAPER = Choices(phase="random", known_timeouts=True, every_ack=True)
"""The choices of the figures: what a plain simulator does (docs/reproduction.md)."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """Schemes that differ in a number, and are one line in a figure.

    Attributes:
        label: What legends say.
        names: The schemes, in the order of the number.
        steps: What stands beside each point.
    """

    label: str
    names: tuple[str, ...]
    steps: tuple[str, ...]


LADDERS = (
    Ladder("Duplicate ×2 … ×5", DUPLICATES, ("×2", "×3", "×4", "×5")),
    Ladder("RED, 1, 2, 4 blocks", ("red-1", "red-2", "red-4"), ("1", "2", "4")),
    Ladder("FEC, 1, 2 over 8", ("fec-8-1", "fec-8-2"), ("1", "2")),
)
_INSTEAD = {
    "retransmit": (TCP,),
    "tcp": ("tcp", "tcp-bbr"),
    "eloquent-adaptive": ("eloquent-adaptive", "eloquent-adaptive-10pps"),
} | {name: ladder.names for ladder in LADDERS for name in ladder.names}


def scheme_names() -> tuple[str, ...]:
    """Return the schemes of the figures: of each registered family its default, or the members that say more."""
    with_endpoints = (scheme.name for scheme in schemes.defaults() if scheme.sender is not None)
    return tuple(name for default in with_endpoints for name in _INSTEAD.get(default, (default,)))


def in_series(names: Sequence[str]) -> list[Ladder]:
    """Group schemes into the lines of a figure, in their order; what is on no ladder is a line of one point.

    Args:
        names: Schemes.
    """
    series: list[Ladder] = []
    for name in names:
        ladder = next((ladder for ladder in LADDERS if name in ladder.names), None)
        if ladder is None:
            series.append(Ladder(styles.label(name), (name,), ("",)))
        elif ladder not in series:
            series.append(ladder)
    return series


@dataclass(frozen=True, slots=True)
class Printed:
    """A reduction that the paper prints.

    Attributes:
        scenario: The setting.
        baselines: Against which scheme; where the paper does not say which, all that it may be (`baseline_of` chooses).
        reduction: What is printed, in percent.
        tolerance: How far ours may be from it, in points.
    """

    scenario: str
    baselines: tuple[str, ...]
    reduction: float
    tolerance: float


PRINTED = (
    Printed("paper-default", (TCP,), -71.0, 3.0),
    Printed("paper-default-rtt100", (TCP,), -60.0, 3.0),
    Printed("paper-default", DUPLICATES, -31.6, 5.0),
    Printed("paper-default-rtt100", DUPLICATES, -31.3, 5.0),
)
"""Of the stall ratio, on the two channels of figure 5 (§4.2)."""


def baseline_of(printed: Printed, redundancy: float) -> str:
    """Return the scheme that a printed reduction is compared with.

    One rule for both round-trip times: the duplication whose rate (2x to 5x, as the caption of figure 5 has it) is the nearest
    above the rate of Eloquent, or the largest where none is above. That is how the paper words it: "similar redundancy rate"
    at RTT 400 ms, "less size" at 100 ms.

    Args:
        printed: The reduction.
        redundancy: Bytes that Eloquent sends again, as a share of those sent once; its rate is 1 more.
    """
    if printed.baselines != DUPLICATES:
        (only,) = printed.baselines
        return only
    rates = {int(name.rpartition("-")[2]): name for name in DUPLICATES}
    return rates[min((rate for rate in rates if rate > 1 + redundancy), default=max(rates))]


@dataclass(frozen=True, slots=True)
class Variation:
    """One other choice.

    Attributes:
        name: What it is called in the table.
        choices: What the simulation assumes.
        spacing: Time between copies, as in the names of schemes.
        measure: Which stall seconds count.
    """

    name: str
    choices: Choices = PAPER
    spacing: str = ""
    measure: str = "stall_s"


BEFORE = Choices(phase="random", first="acknowledgement")
VARIATIONS = (
    Variation("as in the figures"),
    Variation("timeouts estimated from samples (RFC 6298)", replace(PAPER, known_timeouts=False)),
    Variation("only first acknowledgements count as later ones", replace(PAPER, every_ack=False)),
    Variation("an acknowledgement at the instant of a token is known", replace(PAPER, first="acknowledgement")),
    Variation("all three, as the lab's senders and an event loop", BEFORE),
    Variation("slots aligned with tokens", replace(PAPER, phase="aligned")),
    Variation("acknowledgements are lost too", replace(PAPER, ack_loss=True)),
    Variation("copies back to back", spacing="-0ms"),
    Variation("copies 60 ms apart", spacing="-60ms"),
    Variation("threshold 210 ms", measure="stall_210_s"),
    Variation("excess over 200 ms instead of the whole gap", measure="excess_s"),
    Variation("1 ms of jitter", replace(PAPER, jitter=0.001)),
    Variation("1 ms of jitter, threshold 210 ms", replace(PAPER, jitter=0.001), measure="stall_210_s"),
    Variation("packets take time to send (10 Mbit/s)", replace(PAPER, rate_limited=True)),
)
