"""What a scheme is to the rest of the project: a name, and how to make the two sides of a stream."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from eloquent.errors import ConfigurationError
from eloquent.protocol.contract import StreamReceiver, StreamSender
from eloquent.protocol.datagram import PAYLOAD_BUDGET
from eloquent.protocol.frames import Data, decode_payload
from eloquent.protocol.receiver import Receiver
from eloquent.protocol.rtt import RttEstimator

SenderFactory = Callable[[int, RttEstimator], StreamSender]
"""Takes the payload budget in bytes and the estimator of the path."""

ReceiverFactory = Callable[[], StreamReceiver]

PacketReader = Callable[[bytes], tuple[int, ...]]
"""Takes a sender's datagrams in the order of sending, and tells the indices of the tokens (or their fragments) in each."""


def read_indices(datagram: bytes) -> tuple[int, ...]:
    """Return the indices of the fragments in an ordinary `Data`.

    Raises:
        MalformedPacket: It is the encoding of nothing.
    """
    payload = decode_payload(datagram)
    return tuple(fragment.index for fragment in payload.fragments) if isinstance(payload, Data) else ()


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way of carrying a token stream.

    Attributes:
        name: What the command line, the protocol and the metrics call it.
        kind: `datagram` (a pair of endpoints of ours), `kernel` (the kernel's TCP carries it; no endpoints), `quic` (a QUIC
            library as it is carries it; likewise), `pair` (the relay pair before an HTTP server, between which another scheme
            carries it; no endpoints of its own) or `bound` (endpoints for the simulator alone, whose sender is told what arrives).
        sender: Makes a sender; None for the kinds `kernel`, `quic` and `pair`.
        receiver: Makes a receiver that speaks the sender's language.
        reader: Makes what an onlooker reads the sender's datagrams with; schemes with packets of their own name theirs.
        transport: What the kernel's TCP carries, of kind `kernel`: `grpc` or `sse`.
        congestion_control: Of that TCP, empty for the machine's own; or of QUIC, of kind `quic`.
        between: Name of the scheme between the relays, of kind `pair`, or whose packets are in QUIC's datagrams, of kind `quic`;
            empty there for a QUIC stream.
        carrier: What the relays' datagrams travel in, of kind `pair`: `quic`, or empty for sealed UDP.
    """

    name: str
    kind: Literal["datagram", "kernel", "quic", "pair", "bound"]
    sender: SenderFactory | None = None
    receiver: ReceiverFactory = Receiver
    reader: Callable[[], PacketReader] = lambda: read_indices
    transport: str = ""
    congestion_control: str = ""
    between: str = ""
    carrier: str = ""

    def make_sender(self, *, budget: int = PAYLOAD_BUDGET, rtt: RttEstimator | None = None) -> StreamSender:
        """Make a new sender.

        Args:
            budget: Bytes that the payload of one datagram may take.
            rtt: The path's estimator, where several streams share it.

        Raises:
            ConfigurationError: The scheme has no endpoints.
        """
        if self.sender is None:
            raise ConfigurationError(f"'{self.name}' is of kind '{self.kind}', which has no endpoints")
        return self.sender(budget, rtt if rtt is not None else RttEstimator())

    def make_receiver(self) -> StreamReceiver:
        """Make a new receiver.

        Raises:
            ConfigurationError: The scheme has no endpoints.
        """
        if self.sender is None:
            raise ConfigurationError(f"'{self.name}' is of kind '{self.kind}', which has no endpoints")
        return self.receiver()


@dataclass(frozen=True, slots=True)
class Family:
    """Schemes that share a form of name, such as `duplicate-2` and `duplicate-3`.

    Attributes:
        form: How the names are written, for messages.
        pattern: What the whole name matches.
        build: Makes the scheme from the match; may raise ConfigurationError.
        default: The name that stands for the family in lists.
    """

    form: str
    pattern: re.Pattern[str]
    build: Callable[[re.Match[str]], Scheme]
    default: str
