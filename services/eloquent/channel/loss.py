"""Loss models: what share of the packets is lost, and how that share changes from slot to slot.

Rules of this file:

- A model is one frozen dataclass and one line of `MODELS`; a scenario names it as `name(field=value,...)`, and its
  fields say by their metadata how a value is read and written.
- A model has one or more states, each with a probability of loss. The state holds for one slot; `slot = None` says that
  there is a single state for ever.
- The chain is described by probabilities of STAYING in a state. The paper's text calls them probabilities of leaving,
  which its own numbers contradict: docs/adr/0001-stay-probabilities.md.
- A slot draws exactly one random number, so two parametrisations of one model meet the same draws.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from random import Random
from typing import Any, Protocol

from eloquent.channel.trace import TraceLoss
from eloquent.errors import ConfigurationError
from eloquent.units import format_duration, parse_duration, parse_probability

SHORTEST_SLOT = 0.001  # seconds; below it a day's schedule no longer fits in memory


class LossModel(Protocol):
    """What a schedule needs to know of a loss model."""

    @property
    def slot(self) -> float | None:
        """How long one state holds, in seconds; None where there is only one state."""

    @property
    def loss_by_state(self) -> tuple[float, ...]:
        """The probability of loss, 0..1, in each state; states are numbered from 0."""

    @property
    def stationary_loss(self) -> float:
        """The share of packets lost in the long run, 0..1."""

    @property
    def best_loss(self) -> float:
        """The probability of loss in the best state, 0..1."""

    @property
    def worst_loss(self) -> float:
        """The probability of loss in the worst state, 0..1."""

    def states(self, rng: Random) -> Iterator[int]:
        """Yield the state of each slot in turn, for ever.

        Args:
            rng: The generator that decides; only its `random()` is called, once a slot.
        """


def write_duration(seconds: float) -> str:
    """Write a duration so that `parse_duration` gives back the same number, to the nanosecond."""
    text = format_duration(seconds)
    try:
        exact = parse_duration(text) == seconds
    except ConfigurationError:  # an exponent, which the grammar does not read
        exact = False
    return text if exact else f"{seconds:.9f}s"


_PROBABILITY: Mapping[str, Callable[..., Any]] = {"parse": parse_probability, "format": repr}
_DURATION: Mapping[str, Callable[..., Any]] = {"parse": parse_duration, "format": write_duration}


@dataclass(frozen=True, kw_only=True)
class _OneState(ABC):
    """What the models that never change have in common."""

    @property
    def slot(self) -> None:
        return None

    @property
    def loss_by_state(self) -> tuple[float, ...]:
        return (self.stationary_loss,)

    @property
    @abstractmethod
    def stationary_loss(self) -> float: ...

    @property
    def best_loss(self) -> float:
        return self.stationary_loss

    @property
    def worst_loss(self) -> float:
        return self.stationary_loss

    def states(self, rng: Random) -> Iterator[int]:
        while True:
            rng.random()
            yield 0


@dataclass(frozen=True, kw_only=True)
class NoLoss(_OneState):
    """Every packet arrives."""

    @property
    def stationary_loss(self) -> float:
        """The share of packets lost: none."""
        return 0.0


@dataclass(frozen=True, kw_only=True)
class IndependentLoss(_OneState):
    """Each packet is lost with the same probability, whatever happened to the others.

    Args:
        probability: Probability that a packet is lost, 0..1.
    """

    probability: float = field(metadata=_PROBABILITY)

    def __post_init__(self) -> None:
        _check_probabilities(self)

    @property
    def stationary_loss(self) -> float:
        """The share of packets lost in the long run, 0..1."""
        return self.probability


@dataclass(frozen=True, kw_only=True)
class MarkovLoss:
    """A good and a bad state that last whole slots, chosen by a two-state Markov chain (Eloquent §4.2).

    The chain starts in its stationary distribution, so a short run has the same expected loss as a long one.

    Args:
        stay_good: Probability that a good slot is followed by a good one, 0 <= x < 1.
        stay_bad: Probability that a bad slot is followed by a bad one, 0 <= x < 1.
        loss_in_good: Probability that a packet is lost in the good state, 0..1.
        loss_in_bad: Probability that a packet is lost in the bad state, 0..1.
        slot: Length of a slot in seconds, at least 1 ms.
    """

    stay_good: float = field(metadata=_PROBABILITY)
    stay_bad: float = field(metadata=_PROBABILITY)
    loss_in_good: float = field(default=0.0, metadata=_PROBABILITY)
    loss_in_bad: float = field(metadata=_PROBABILITY)
    slot: float = field(metadata=_DURATION)

    def __post_init__(self) -> None:
        _check_probabilities(self)
        for name in ("stay_good", "stay_bad"):
            if getattr(self, name) == 1.0:
                raise ConfigurationError(
                    f"{name}=1 would never leave its state: write a number below 1, or use independent()"
                )
        if self.slot < SHORTEST_SLOT:
            raise ConfigurationError(
                f"slot={write_duration(self.slot)} is too short: a slot lasts at least {write_duration(SHORTEST_SLOT)}"
            )

    @property
    def loss_by_state(self) -> tuple[float, ...]:
        """The probability of loss in the good (0) and in the bad (1) state."""
        return (self.loss_in_good, self.loss_in_bad)

    @property
    def bad_share(self) -> float:
        """The share of time spent in the bad state, 0..1."""
        return (1 - self.stay_good) / ((1 - self.stay_good) + (1 - self.stay_bad))

    @property
    def stationary_loss(self) -> float:
        """The share of packets lost in the long run, 0..1."""
        return (1 - self.bad_share) * self.loss_in_good + self.bad_share * self.loss_in_bad

    @property
    def best_loss(self) -> float:
        """The probability of loss in the better of the two states, 0..1."""
        return min(self.loss_by_state)

    @property
    def worst_loss(self) -> float:
        """The probability of loss in the worse of the two states, 0..1."""
        return max(self.loss_by_state)

    def states(self, rng: Random) -> Iterator[int]:
        """Yield 0 (good) or 1 (bad) for each slot in turn, for ever."""
        bad = rng.random() < self.bad_share
        while True:
            yield int(bad)
            stays = rng.random() < (self.stay_bad if bad else self.stay_good)
            bad = bad if stays else not bad


MODELS: Mapping[str, type[NoLoss] | type[IndependentLoss] | type[MarkovLoss] | type[TraceLoss]] = {
    "none": NoLoss,
    "independent": IndependentLoss,
    "markov": MarkovLoss,
    "trace": TraceLoss,
}

_CALL = re.compile(r"\s*([a-z_]+)\s*(?:\(([^()]*)\))?\s*")


def parse_loss(text: str) -> LossModel:
    """Read a loss model, such as `markov(stay_good=0.9,stay_bad=0.5,loss_in_bad=0.9,slot=100ms)`.

    Args:
        text: A name of `MODELS`, and its fields in parentheses where it has any.

    Raises:
        ConfigurationError: The model or a field is unknown, missing, given twice or out of range.
    """
    match = _CALL.fullmatch(text)
    if match is None:
        raise ConfigurationError(
            f"'{text}' is not a loss model: write none, or name(field=value,...) as in {_usage('independent')}"
        )
    name, inside = match[1], match[2] or ""
    if name not in MODELS:
        raise ConfigurationError(f"'{name}' is not a known loss model: choose one of {', '.join(MODELS)}")
    readers = {item.name: item.metadata["parse"] for item in fields(MODELS[name])}
    values: dict[str, Any] = {}
    for word in filter(None, (word.strip() for word in inside.split(","))):
        key, _, value = (part.strip() for part in word.partition("="))
        if key not in readers:
            raise ConfigurationError(f"loss model {name} has no field '{key}': write {_usage(name)}")
        if key in values:
            raise ConfigurationError(f"loss model {name} is given '{key}' twice: write {_usage(name)}")
        try:
            values[key] = readers[key](value)
        except ConfigurationError as error:
            raise ConfigurationError(f"loss model {name}, {key}: {error}") from None
    missing = [item.name for item in fields(MODELS[name]) if item.default is MISSING and item.name not in values]
    if missing:
        raise ConfigurationError(f"loss model {name} lacks {' and '.join(missing)}: write {_usage(name)}")
    return MODELS[name](**values)


def format_loss(model: LossModel) -> str:
    """Write a loss model the way `parse_loss` reads it, without the fields that have their default.

    Args:
        model: An instance of one of `MODELS`.
    """
    name = next(name for name, kind in MODELS.items() if type(model) is kind)
    values = {item: getattr(model, item.name) for item in fields(MODELS[name])}
    inside = ",".join(
        f"{item.name}={item.metadata['format'](value)}" for item, value in values.items() if value != item.default
    )
    return f"{name}({inside})" if inside else name


def _usage(name: str) -> str:
    inside = ",".join(f"{item.name}=..." for item in fields(MODELS[name]))
    return f"{name}({inside})" if inside else name


def _check_probabilities(model: IndependentLoss | MarkovLoss) -> None:
    for item in fields(model):
        value = getattr(model, item.name)
        if item.metadata["parse"] is parse_probability and not 0.0 <= value <= 1.0:
            raise ConfigurationError(f"{item.name}={value!r} is not a probability: it lies between 0 and 1")
