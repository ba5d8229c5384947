"""What a driver asks of an endpoint, whichever it is: plaintext, or with something around it."""

from collections import Counter
from typing import Protocol

from eloquent.protocol.address_token import Address
from eloquent.protocol.frames import ReaderState
from eloquent.protocol.session import ClientEvent, RequestState, ServerEvent, ServerSession, Tally


class Machine(Protocol):
    """What has a timer."""

    @property
    def tally(self) -> Tally:
        """The sessions' datagrams, counted."""

    def get_timer(self) -> float | None:
        """Return the instant at which `handle_timer` wants to be called, or None."""

    def handle_timer(self, *, now: float) -> None:
        """Do what is due at `now`."""

    def close(self, *, now: float) -> None:
        """End everything, telling the other side."""


class ClientMachine(Machine, Protocol):
    """A client's side; the calls are those of `ClientEndpoint`."""

    @property
    def heard_at(self) -> float | None:
        """Seconds; when the server was last heard of, or None."""

    @property
    def rtt(self) -> float | None:
        """Seconds; the smoothed round-trip time of the newest session that knows it, or None."""

    @property
    def sessions(self) -> int:
        """How many sessions are open."""

    def say_hello(self, *, now: float) -> None:
        """Ask for a sign of life."""

    def open_stream(self, request: bytes, *, scheme: str, now: float) -> int:
        """Send a request and return its stream's id."""

    def cancel_stream(self, stream_id: int, *, now: float) -> None:
        """Give up a stream."""

    def pause(self, stream_id: int) -> None:
        """Hold back the events of a stream."""

    def resume(self, stream_id: int) -> None:
        """Go on with the events of a stream."""

    def request_state(self, stream_id: int) -> RequestState:
        """Return what is known of the request of a stream."""

    def report(self, stream_id: int, state: ReaderState, *, now: float) -> None:
        """Tell how the reader of a stream fares."""

    def path_refused(self, *, now: float) -> None:
        """Take the network's word that nobody listens at the server's address."""

    def receive_datagram(self, data: bytes, *, now: float) -> None:
        """Take one datagram."""

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Hand over what is to be sent now, in order."""

    def next_event(self) -> ClientEvent | None:
        """Return the oldest event that was not yet taken, or None."""


class ServerMachine(Machine, Protocol):
    """A server's side; the calls are those of `ServerEndpoint`."""

    @property
    def sessions(self) -> list[ServerSession]:
        """The sessions that are open."""

    @property
    def refused(self) -> Counter[str]:
        """How often no session began because of a limit, by what it is of: all sessions, or those of one source."""

    @property
    def held(self) -> int:
        """Bytes of requests that are not whole yet."""

    def touch(self, session: ServerSession) -> None:
        """Ask a session for what it has to send."""

    def receive_datagram(self, data: bytes, source: Address, *, now: float) -> None:
        """Take one datagram."""

    def datagrams_to_send(self, *, now: float) -> list[tuple[bytes, Address]]:
        """Hand over what is to be sent now, in order, and where to."""

    def next_event(self) -> tuple[ServerSession, ServerEvent] | None:
        """Return the oldest event that was not yet taken, with its session, or None."""
