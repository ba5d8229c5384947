"""What a scheme is to the rest of the project: a name, how to draw it, and how to make its two endpoints."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from eloquent.errors import ConfigurationError
from eloquent.protocol.endpoint import Endpoint, SenderEndpoint

SenderFactory = Callable[[], SenderEndpoint]


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way of carrying a token stream.

    Attributes:
        name: What the command line, the wire and the labels of metrics say.
        label: What tables and legends say.
        colour: `#rrggbb`, from a palette that colour-blind readers can tell apart.
        kind: `datagram` (a pair of endpoints of ours) or `kernel` (the kernel's TCP carries it; no endpoints).
    """

    name: str
    label: str
    colour: str
    kind: Literal["datagram", "kernel"]
    sender: SenderFactory | None = None

    def make_sender(self) -> SenderEndpoint:
        """Make a new sender.

        Raises:
            ConfigurationError: The scheme is carried by the kernel.
        """
        raise NotImplementedError

    def make_receiver(self) -> Endpoint:
        """Make a new receiver.

        Raises:
            ConfigurationError: The scheme is carried by the kernel.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Family:
    """Schemes that share a name pattern, such as `duplicate-2` and `duplicate-3`.

    Attributes:
        form: How the names are written, for messages, such as `duplicate-K`.
        pattern: What they match, whole.
        build: Makes the scheme from the match; may raise ConfigurationError.
        default: A name of the family that stands for it in lists and tests.
    """

    form: str
    pattern: re.Pattern[str]
    build: Callable[[re.Match[str]], Scheme]
    default: str


__all__ = ["ConfigurationError", "Family", "Scheme", "SenderFactory"]
