"""The server's side of a session."""

from eloquent.protocol.endpoint import StreamAccount
from eloquent.protocol.session_events import SessionEvent


class ServerSession:
    """Answer the requests of one client, any number at a time.

    Args:
        connection_id: The 8 bytes that the client chose.
    """

    def __init__(self, connection_id: bytes) -> None:
        self.connection_id = connection_id

    @property
    def closed(self) -> bool:
        """Whether the session is over (closed by either side, idle or lost)."""
        raise NotImplementedError

    def send_token(self, stream_id: int, token: bytes, *, now: float) -> None:
        """Queue one token of an answer; swallowed if the stream was cancelled or has failed (an event said so).

        Raises:
            LocalProtocolError: No such stream was ever requested, it was finished, or its backlog is at its limit.
        """
        raise NotImplementedError

    def finish(self, stream_id: int, *, trailer: bytes = b"", now: float) -> None:
        """End an answer; `StreamDelivered`, `StreamCancelled` or `StreamFailed` follows.

        Args:
            stream_id: The stream.
            trailer: At most 512 bytes, delivered with the end.
            now: Seconds.
        """
        raise NotImplementedError

    def backlog(self, stream_id: int) -> int:
        """Return how many tokens of the answer the client has not acknowledged; 0 for a stream that is over."""
        raise NotImplementedError

    def account(self, stream_id: int) -> StreamAccount:
        """Return what the answer has cost so far; it stays available for some time after the stream is over."""
        raise NotImplementedError

    def close(self, *, now: float) -> None:
        """Drop all streams and tell the client, whose streams fail; no further event follows."""
        raise NotImplementedError

    def receive_datagram(self, data: bytes, *, now: float) -> None:
        """Take one datagram from the client."""
        raise NotImplementedError

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Hand over what is to be sent now, in order."""
        raise NotImplementedError

    def get_timer(self) -> float | None:
        """Return the instant at which `handle_timer` wants to be called, or None."""
        raise NotImplementedError

    def handle_timer(self, *, now: float) -> None:
        """Do what is due at `now`."""
        raise NotImplementedError

    def next_event(self) -> SessionEvent | None:
        """Return the oldest event that was not yet taken, or None."""
        raise NotImplementedError
