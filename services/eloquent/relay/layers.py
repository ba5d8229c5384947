"""A layer around an endpoint, which brings its datagrams over: what its owner calls goes through to the endpoint inside."""

from eloquent.protocol.client_endpoint import ClientEndpoint
from eloquent.protocol.frames import ReaderState
from eloquent.protocol.server_endpoint import ServerEndpoint
from eloquent.protocol.server_session import ServerSession
from eloquent.protocol.session_base import Tally
from eloquent.protocol.session_events import ClientEvent, RequestState, ServerEvent


class ClientLayer:
    """What is around a client's endpoint.

    Args:
        inside: The endpoint.
    """

    def __init__(self, inside: ClientEndpoint) -> None:
        self._inside = inside

    @property
    def tally(self) -> Tally:
        """The sessions' datagrams, counted."""
        return self._inside.tally

    @property
    def heard_at(self) -> float | None:
        """Seconds; when the server was last heard of, or None."""
        return self._inside.heard_at

    @property
    def closed(self) -> bool:
        """Whether the endpoint was closed."""
        return self._inside.closed

    @property
    def rtt(self) -> float | None:
        """Seconds; the smoothed round-trip time of the newest session that knows it, or None."""
        return self._inside.rtt

    @property
    def sessions(self) -> int:
        """How many sessions are open."""
        return self._inside.sessions

    @property
    def is_idle(self) -> bool:
        """Whether nothing is awaited from the server."""
        return self._inside.is_idle

    def say_hello(self, *, now: float) -> None:
        """Get a way to the server, so that the first stream need not wait for one."""
        self._inside.say_hello(now=now)

    def open_stream(self, request: bytes, *, scheme: str, now: float) -> int:
        """Send a request and return its stream's id (`ClientEndpoint.open_stream`)."""
        return self._inside.open_stream(request, scheme=scheme, now=now)

    def cancel_stream(self, stream_id: int, *, now: float) -> None:
        """Give up a stream (`ClientEndpoint.cancel_stream`)."""
        self._inside.cancel_stream(stream_id, now=now)

    def pause(self, stream_id: int) -> None:
        """Hold back the events of a stream (`ClientEndpoint.pause`)."""
        self._inside.pause(stream_id)

    def resume(self, stream_id: int) -> None:
        """Go on with the events of a stream (`ClientEndpoint.resume`)."""
        self._inside.resume(stream_id)

    def request_state(self, stream_id: int) -> RequestState:
        """Return what is known of the request of a stream (`ClientEndpoint.request_state`)."""
        return self._inside.request_state(stream_id)

    def report(self, stream_id: int, state: ReaderState, *, now: float) -> None:
        """Tell how the reader of a stream fares (`ClientEndpoint.report`)."""
        self._inside.report(stream_id, state, now=now)

    def next_event(self) -> ClientEvent | None:
        """Return the oldest event that was not yet taken, or None; a token counts as read by that."""
        return self._inside.next_event()


class ServerLayer:
    """What is around a server's endpoint.

    Args:
        inside: The endpoint.
    """

    def __init__(self, inside: ServerEndpoint) -> None:
        self._inside = inside

    @property
    def tally(self) -> Tally:
        """The sessions' datagrams, counted."""
        return self._inside.tally

    @property
    def sessions(self) -> list[ServerSession]:
        """The sessions that are open."""
        return self._inside.sessions

    @property
    def held(self) -> int:
        """Bytes of requests that are not whole yet."""
        return self._inside.held

    def touch(self, session: ServerSession) -> None:
        """Ask a session for what it has to send, because its owner has called it."""
        self._inside.touch(session)

    def next_event(self) -> tuple[ServerSession, ServerEvent] | None:
        """Return the oldest event that was not yet taken, with its session, or None."""
        return self._inside.next_event()
