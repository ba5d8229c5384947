"""Scenarios: one access link, named and written in a line that a person can read.

    rtt=400ms rate=10mbit queue=1000 loss=markov(stay_good=0.9,stay_bad=0.5,loss_in_bad=0.9,slot=100ms)

A YAML file has the same keys and the same values, and a description. There is one grammar, and this file is all of it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from eloquent.channel.loss import LossModel, NoLoss, format_loss, parse_loss, write_duration
from eloquent.channel.schedule import Direction, Schedule
from eloquent.channel.trace import TraceLoss
from eloquent.errors import ConfigurationError
from eloquent.units import format_rate, parse_duration, parse_rate

DEFAULT_RATE = parse_rate("10mbit")
DEFAULT_QUEUE = 1000  # packets, as netem's own default limit

_NO_LOSS: LossModel = NoLoss()
_KEYS = ("name", "description", "rtt", "rate", "queue", "loss", "loss_up")
_EXAMPLE = "rtt=400ms rate=10mbit queue=1000 loss=independent(probability=0.15)"
_WORD = re.compile(r"([A-Za-z_]+)=([^\s()]*(?:\([^()]*\))?)(?:\s+|$)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_QUEUE = re.compile(r"[1-9][0-9]{0,8}")  # not 0100, which may be 64
_Value = TypeVar("_Value")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """An access link: its delay, rate, queue and losses (docs/design.md: one channel, three carriers).

    Attributes:
        name: Letters, digits, `.`, `_` and `-`.
        rtt: Round-trip time of the empty link, in seconds; each direction delays by half of it.
        rate: Rate of each direction, in bytes per second.
        queue: Packets that each direction holds at most, those in flight included.
        loss_down: Loss model towards the client.
        loss_up: Loss model from the client.
        description: What it stands for, in words; two scenarios that differ in it alone are equal.
    """

    name: str = "custom"
    rtt: float
    rate: float = DEFAULT_RATE
    queue: int = DEFAULT_QUEUE
    loss_down: LossModel = _NO_LOSS
    loss_up: LossModel = _NO_LOSS
    description: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.name) is None:
            raise ConfigurationError(
                f"scenario name '{self.name}': write letters, digits, dots, dashes and underscores"
            )
        if not 0 <= self.rtt < float("inf"):
            raise ConfigurationError(f"scenario {self.name}, rtt: {self.rtt!r} s is not a round-trip time")
        if not 0 < self.rate < float("inf"):
            raise ConfigurationError(
                f"scenario {self.name}, rate: a link that carries nothing is no link, write one such as 10mbit"
            )
        if self.queue < 1:
            raise ConfigurationError(
                f"scenario {self.name}, queue: '{self.queue}' is not a number of packets, write 1 or more"
            )

    def loss(self, direction: Direction) -> LossModel:
        """Return the loss model of one direction."""
        return self.loss_down if direction is Direction.DOWN else self.loss_up

    @property
    def begins_alike(self) -> bool:
        """Whether all its schedules begin with the same trace: then sessions are no independent samples of it."""
        return any(isinstance(model, TraceLoss) and not model.start for model in (self.loss_down, self.loss_up))

    def schedule(self, direction: Direction, *, seed: int, link: str) -> Schedule:
        """Return the schedule that one link of this scenario follows in one direction.

        Args:
            direction: Direction on the link.
            seed: Seed of the run.
            link: Name of the link, such as the client's name.
        """
        return Schedule(self.loss(direction), seed=seed, link=link, direction=direction)

    def to_line(self) -> str:
        """Write the scenario in the one-line form; `parse_line` gives back an equal one."""
        words = {
            "name": self.name,
            "rtt": write_duration(self.rtt),
            "rate": _write_rate(self.rate),
            "queue": str(self.queue),
            "loss": format_loss(self.loss_down),
            "loss_up": format_loss(self.loss_up),
        }
        if self.name == Scenario.name:
            del words["name"]
        if self.loss_up == _NO_LOSS:
            del words["loss_up"]
        return " ".join(f"{key}={value}" for key, value in words.items())


def parse_line(line: str) -> Scenario:
    """Read a scenario from its one-line form.

    Args:
        line: Words `key=value`, such as `rtt=400ms rate=10mbit queue=1000 loss=independent(probability=0.15)`. Only
            `rtt` is needed; `rate` is 10mbit, `queue` 1000 and there is no loss where the line says nothing.

    Raises:
        ConfigurationError: A word is not of that form, or a key, a loss model or a value is unusable.
    """
    values: dict[str, str] = {}
    rest = line.strip()
    while rest:
        match = _WORD.match(rest)
        if match is None:
            raise ConfigurationError(f"cannot read '{rest}' in a scenario: write words such as {_EXAMPLE}")
        if match[1] in values:
            raise ConfigurationError(f"the scenario gives '{match[1]}' twice")
        values[match[1]] = match[2]
        rest = rest[match.end() :]
    return from_mapping(values)


def from_mapping(values: Mapping[str, object], *, name: str = "custom") -> Scenario:
    """Make a scenario from the words of a line or the keys of a YAML file.

    Args:
        values: The keys of the one-line form and `description`; each value is what the line would say.
        name: The name where `values` gives none.

    Raises:
        ConfigurationError: A key is unknown, `rtt` is missing, or a value is unusable; the message names it.
    """
    words: dict[str, str] = {"name": name}
    for key, value in values.items():
        if key not in _KEYS:
            raise ConfigurationError(f"scenario {name}: '{key}' is not a key, write some of {', '.join(_KEYS)}")
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise ConfigurationError(f"scenario {name}, {key}: {_kind(value)} is not a text or a number")
        words[key] = str(value)
    if "rtt" not in words:
        raise ConfigurationError(f"scenario {words['name']} lacks rtt: write it as in {_EXAMPLE}")
    return Scenario(
        name=words["name"],
        description=words.get("description", ""),
        rtt=_read(words, "rtt", parse_duration, 0.0),
        rate=_read(words, "rate", parse_rate, DEFAULT_RATE),
        queue=_read(words, "queue", _parse_queue, DEFAULT_QUEUE),
        loss_down=_read(words, "loss", parse_loss, _NO_LOSS),
        loss_up=_read(words, "loss_up", parse_loss, _NO_LOSS),
    )


def _read(words: Mapping[str, str], key: str, parse: Callable[[str], _Value], default: _Value) -> _Value:
    try:
        return parse(words[key]) if key in words else default
    except ConfigurationError as error:
        raise ConfigurationError(f"scenario {words['name']}, {key}: {error}") from None


def _kind(value: object) -> str:
    """Name what stands where a text should; its content may be without end."""
    kinds = {"dict": "a mapping", "list": "a list", "bool": "a truth value", "NoneType": "nothing"}
    return kinds.get(type(value).__name__, type(value).__name__)


def _parse_queue(text: str) -> int:
    if not _QUEUE.fullmatch(text):
        raise ConfigurationError(f"'{text}' is not a number of packets: write 1 or more")
    return int(text)


def _write_rate(bytes_per_second: float) -> str:
    text = format_rate(bytes_per_second)
    return text if parse_rate(text) == bytes_per_second else f"{bytes_per_second * 8!r}bit"
