"""The client's side of a session."""

from eloquent.protocol.session_events import SessionEvent


class ClientSession:
    """Ask for answers and receive them, any number at a time.

    Args:
        connection_id: 8 random bytes, never used again.
    """

    def __init__(self, connection_id: bytes) -> None:
        self.connection_id = connection_id

    @property
    def closed(self) -> bool:
        """Whether the session is over (closed, refused or lost); open a new one with another connection id."""
        raise NotImplementedError

    def open_stream(self, request: bytes, *, scheme: str, now: float) -> int:
        """Send a request; its answer comes as `StreamToken` events, then exactly one `StreamEnded` or `StreamFailed`.

        Args:
            request: The request, up to 1 MiB.
            scheme: Name of the scheme that carries the answer.
            now: Seconds.

        Returns:
            The stream's id.

        Raises:
            ConfigurationError: There is no such scheme, or it is not carried by datagrams.
            LocalProtocolError: The session is closed, the request is too long, or too many streams are open.
        """
        raise NotImplementedError

    def cancel_stream(self, stream_id: int, *, now: float) -> None:
        """Give up a stream: no further event of it follows. Nothing happens if it is already over."""
        raise NotImplementedError

    def close(self, *, now: float) -> None:
        """Give up all streams and tell the peer; no further event follows."""
        raise NotImplementedError

    def receive_datagram(self, data: bytes, *, now: float) -> None:
        """Take one datagram from the server."""
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
