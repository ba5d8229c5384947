"""What is spoken on a connection (ALPN), and what it may ask of the server around it.

Rules of this file
- A channel is a client of the endpoint inside: one constant address there, and whatever brings datagrams to the client now.
- Until an application says that nobody is a stranger any more, it opens no channel; the server closes it when the stranger's time
  is over.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from aioquic.quic.events import QuicEvent

from eloquent.protocol.address_token import Address
from eloquent.protocol.limits import EndpointLimits
from eloquent.relay.quic.connection import DatagramConnection

Carry = Callable[[bytes], None]
"""Has a session's datagram sent to its client."""

Narrow = Callable[[EndpointLimits], EndpointLimits]
"""Makes of some bounds narrower ones."""


class Channel(Protocol):
    """A client of the endpoint inside."""

    @property
    def address(self) -> Address:
        """What the endpoint inside takes for its address."""

    def receive(self, datagram: bytes, *, now: float) -> None:
        """Hand a datagram of the client to the endpoint inside.

        Raises:
            RemoteProtocolError: It breaks the protocol of the sessions.
        """

    def reconnect(self) -> None:
        """Have the sessions know that something gets through to the client again."""

    def lose(self, *, now: float) -> None:
        """Note that nothing brings datagrams to the client any more; it is kept for some time, for who takes it over."""

    def close(self, reason: str, *, now: float) -> None:
        """End the client, with its sessions; nothing happens if it has ended already."""


class Channels(Protocol):
    """The endpoint inside, as the application of one connection sees it."""

    def open(
        self, carry: Carry, on_close: Callable[[], object] = lambda: None, *, narrow: Narrow = lambda limits: limits
    ) -> Channel | None:
        """Begin a client.

        Args:
            carry: Has a datagram sent to it, on this connection.
            on_close: Called when it has ended.
            narrow: Makes of the bounds of the endpoint inside those that this client meets.

        Returns:
            The client, or None if there are as many as the server allows.
        """

    def take_over(self, channel: Channel, carry: Carry) -> None:
        """Have this connection bring datagrams to a client from now on, in place of another."""


class Application(ABC):
    """One connection's application protocol.

    Args:
        connection: The connection; whoever calls this flushes it afterwards.
        channels: The endpoint inside.

    Attributes:
        is_stranger: Whether nobody on the connection has shown yet that he may ask.
    """

    def __init__(self, connection: DatagramConnection, channels: Channels) -> None:
        self.is_stranger = True
        self._connection = connection
        self._channels = channels

    @abstractmethod
    def take(self, event: QuicEvent, *, now: float) -> None:
        """Take what has come.

        Args:
            event: Of the connection.
            now: Seconds.

        Raises:
            RemoteProtocolError: It breaks the protocol; the connection goes on.
        """

    @abstractmethod
    def leave(self) -> None:
        """Say farewell, as the server stops: the connection is closed soon."""

    @abstractmethod
    def reconnect(self) -> None:
        """Take note that a new path is validated: something gets through again."""

    @abstractmethod
    def end(self, *, now: float) -> None:
        """Take note that the connection is over."""


ApplicationFactory = Callable[[DatagramConnection, Channels], Application]
"""Makes what speaks a protocol on a connection, once that is negotiated."""
