"""Sessions: many streams over one connection id. The module to import; the two sides live in files of their own."""

from eloquent.protocol.client_session import ClientSession
from eloquent.protocol.contract import StreamAccount
from eloquent.protocol.frames import ReaderState
from eloquent.protocol.server_session import ServerSession
from eloquent.protocol.session_base import Tally
from eloquent.protocol.session_events import (
    ClientEvent,
    RequestState,
    ServerEvent,
    SessionEvent,
    SessionLost,
    StreamCancelled,
    StreamDelivered,
    StreamEnded,
    StreamFailed,
    StreamRequested,
    StreamToken,
)

__all__ = [
    "ClientEvent",
    "ClientSession",
    "ReaderState",
    "RequestState",
    "ServerEvent",
    "ServerSession",
    "SessionEvent",
    "SessionLost",
    "StreamAccount",
    "StreamCancelled",
    "StreamDelivered",
    "StreamEnded",
    "StreamFailed",
    "StreamRequested",
    "StreamToken",
    "Tally",
]
