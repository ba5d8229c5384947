"""What a session tells its owner."""

from dataclasses import dataclass
from enum import Enum

from eloquent.protocol.contract import StreamAccount


@dataclass(frozen=True, slots=True)
class StreamRequested:
    """Server: a whole request has arrived; answer it with `send_token` and `finish`."""

    stream_id: int
    scheme: str
    request: bytes


@dataclass(frozen=True, slots=True)
class StreamToken:
    """Client: the next token of the answer, in order from index 0."""

    stream_id: int
    index: int
    data: bytes


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """Client: the answer is complete and whole."""

    stream_id: int
    trailer: bytes


@dataclass(frozen=True, slots=True)
class StreamDelivered:
    """Server: the client acknowledged the whole answer."""

    stream_id: int
    account: StreamAccount


@dataclass(frozen=True, slots=True)
class StreamCancelled:
    """Server: the client no longer wants the answer; stop producing it."""

    stream_id: int


class RequestState(Enum):
    """What a client knows of a request whose stream has failed."""

    UNFINISHED = "unfinished"
    """The server has not said that it has all of it."""
    REFUSED = "refused"
    """The server does not want it."""
    TAKEN = "taken"
    """The server has it."""


@dataclass(frozen=True, slots=True)
class StreamFailed:
    """Either side: the stream is over without a proper end; `request` is of the client."""

    stream_id: int
    reason: str
    request: RequestState = RequestState.TAKEN


@dataclass(frozen=True, slots=True)
class SessionLost:
    """The whole session is over; its streams are reported on their own."""

    reason: str


ServerEvent = StreamRequested | StreamDelivered | StreamCancelled | StreamFailed | SessionLost
ClientEvent = StreamToken | StreamEnded | StreamFailed | SessionLost
SessionEvent = ServerEvent | ClientEvent
