"""Sessions over UDP with asyncio: the loop's clock in, datagrams out."""

from collections.abc import Callable
from typing import Self

from eloquent.protocol.session import ClientSession, ServerSession, SessionEvent

Address = tuple[str, int]


class UdpClient:
    """One client session on one UDP socket."""

    session: ClientSession
    malformed: int

    @classmethod
    async def connect(cls, address: Address, session: ClientSession, on_event: Callable[[SessionEvent], None]) -> Self:
        """Open a socket towards the server; nothing is sent yet.

        Args:
            address: Host and port of the server.
            session: A new session; call its methods, then `flush()`.
            on_event: Called with each event, in the loop's thread.
        """
        raise NotImplementedError

    def flush(self) -> None:
        """Send what waits, hand out the events, set the timer. Call it after each call of the session's own methods."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the session (telling the server) and the socket."""
        raise NotImplementedError


class Peer:
    """One client of a server."""

    session: ServerSession
    address: Address

    def flush(self) -> None:
        """Send what waits, hand out the events, set the timer. Call it after each call of the session's own methods."""
        raise NotImplementedError


class UdpServer:
    """Any number of server sessions on one UDP socket."""

    malformed: int

    @classmethod
    async def bind(
        cls,
        address: Address,
        make_session: Callable[[bytes], ServerSession],
        on_event: Callable[[Peer, SessionEvent], None],
    ) -> Self:
        """Listen on an address.

        Args:
            address: Host and port; port 0 takes a free one, see `address`.
            make_session: Makes the session of a new connection id; usually `ServerSession` itself.
            on_event: Called with each event of each peer, in the loop's thread.
        """
        raise NotImplementedError

    @property
    def address(self) -> Address:
        """Host and port that the socket is bound to."""
        raise NotImplementedError

    @property
    def peers(self) -> list[Peer]:
        """The clients whose sessions are open."""
        raise NotImplementedError

    def close(self) -> None:
        """Close every session (telling the clients) and the socket."""
        raise NotImplementedError
