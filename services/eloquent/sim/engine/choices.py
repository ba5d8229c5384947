"""What a simulation assumes where the paper leaves it open: each a switch, each a row of docs/reproduction.md."""

from dataclasses import dataclass, fields
from typing import Literal, get_args

from eloquent import content
from eloquent.errors import ConfigurationError
from eloquent.sim.engine.reader import Reader

Phase = Literal["aligned", "random"]
First = Literal["token", "acknowledgement"]
FILLER = "filler"  # content of `token_bytes` zeros, which says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The modelling choices of a simulation; the figures of the paper differ in some (`sim.paper.settings.PAPER`).

    Attributes:
        ack_loss: Whether acknowledgements are lost: by the scenario's uplink where that loses anything, otherwise by
            another schedule of the downlink's model.
        phase: Where the slots of the channel begin. `aligned`: the first with the first token, so that tokens every
            100 ms meet one slot of 100 ms each; `random`: anywhere in a slot, another place in each session.
        first: What happens first where a token is made in the very instant in which an acknowledgement (or anything else)
            arrives. `token`: its packet does not know the acknowledgement, as on real paths, which take a little longer
            than their round-trip time; `acknowledgement`: it does.
        known_timeouts: Whether `tcp-simple` and `duplicate-K` know the round-trip time, so that they wait for RTT and
            200 ms, doubled; otherwise they estimate it (RFC 6298), from 1 s on.
        every_ack: Whether to the same schemes every acknowledgement of what was sent later is one of the three that prove
            a loss: those of retransmissions and of each copy too.
        jitter: Each packet is delayed by up to this much more, in seconds; order is kept.
        rate_limited: Whether a packet takes time to send, as the scenario's rate says. On a fast link that is less than
            a millisecond, but it makes gaps of 200 ms a little longer, and so stalls.
        header_bytes: Headers that each packet has on the link, in bytes: IPv4 and UDP by default.
        token_bytes: Length of a token in bytes where the content is filler; 18 is about what the testbed's messages have.
        content: What is streamed: `filler`, or a kind or file of `eloquent.content`; each session has another piece of it.
        reader: Whose state the receiver reports; None for a receiver that reports nothing. Schemes with a receiver of
            their own report nothing either way.
    """

    ack_loss: bool = False
    phase: Phase = "aligned"
    first: First = "token"
    known_timeouts: bool = False
    every_ack: bool = False
    jitter: float = 0.0
    rate_limited: bool = False
    header_bytes: int = 28
    token_bytes: int = 18
    content: str = FILLER
    reader: Reader | None = None

    def __post_init__(self) -> None:
        if self.phase not in get_args(Phase):
            raise ConfigurationError(f"'{self.phase}' is not a phase: choose one of {', '.join(get_args(Phase))}")
        if self.first not in get_args(First):
            raise ConfigurationError(f"'{self.first}' cannot be first: choose one of {', '.join(get_args(First))}")
        if not 0 <= self.jitter < float("inf"):
            raise ConfigurationError(f"jitter: {self.jitter!r} s is not a delay")
        if self.header_bytes < 0 or self.token_bytes < 0:
            raise ConfigurationError("headers and tokens have 0 bytes or more")
        if self.content != FILLER:
            content.stream(self.content, 0)  # refuses what cannot be streamed before anything runs

    def to_line(self) -> str:
        """Write what differs from the defaults, such as `ack_loss=True phase=random`, or `defaults`."""
        values = ((item.name, getattr(self, item.name), item.default) for item in fields(self))
        changed = [f"{name}={value}" for name, value, default in values if value != default]
        return " ".join(changed) or "defaults"
