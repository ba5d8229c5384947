"""The commuter's ride: what the links of all clients do while the shape `commuter` runs.

A ride is a round trip from one platform with good reception to another. Every stage keeps the run's round-trip time and rate and
changes the loss alone, to that of a shipped scenario, so that each stage is known from the paper's figures.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the ride.

    Attributes:
        name: What the train passes.
        share: Part of the test's length, 0..1.
        scenario: The shipped scenario whose loss the links have there.
    """

    name: str
    share: float
    scenario: str


RIDE = (
    Stage("platform", 0.15, "clean"),
    Stage("suburb", 0.25, "paper-default"),
    Stage("tunnel", 0.15, "paper-long"),
    Stage("countryside", 0.20, "paper-frequent"),
    Stage("terminus", 0.25, "clean"),
)
