"""The clients of the endpoint inside a QUIC server, and which connection brings datagrams to each.

Rules of this file
- A channel is one constant address: the host that its first connection began at, and its serial as the port.
- One whose connection is gone is kept for `orphan_time`, for a connection that takes it over, and is then closed with its sessions.
"""

from collections.abc import Callable
from dataclasses import dataclass

from eloquent.protocol.address_token import Address
from eloquent.protocol.limits import EndpointLimits
from eloquent.protocol.server_endpoint import ServerEndpoint
from eloquent.protocol.timer_queue import TimerQueue
from eloquent.relay.quic.account import QuicAccount
from eloquent.relay.quic.application import Carry, Channel, Narrow
from eloquent.relay.quic.connection import DatagramConnection
from eloquent.relay.quic.limits import QuicLimits

_SERIALS = 1 << 32


@dataclass(slots=True, eq=False, repr=False)
class ServedChannel:
    """A client of the endpoint inside (`Channel`).

    Attributes:
        table: Where it is listed.
        address: What the endpoint inside takes for its address.
        connection: What brings datagrams to it, if anything does.
        carry: Gives that one a datagram.
        on_close: Called at its end.
        limits: The bounds that it meets inside.
    """

    table: "ChannelTable"
    address: Address
    connection: DatagramConnection | None
    carry: Carry
    on_close: Callable[[], object]
    limits: EndpointLimits

    def receive(self, datagram: bytes, *, now: float) -> None:
        """See `Channel`."""
        self.table.inside.receive_datagram(datagram, self.address, now=now)

    def reconnect(self) -> None:
        """See `Channel`."""
        self.table.inside.reconnect(self.address)

    def lose(self, *, now: float) -> None:
        """See `Channel`."""
        self.table.orphan(self, now=now)

    def close(self, reason: str, *, now: float) -> None:
        """See `Channel`."""
        self.table.end(self, reason, now=now)


class ChannelTable:
    """All channels of one server.

    Args:
        inside: The endpoint that they are clients of.
        touched: Gets each connection that has something to send.
        inner_limits: The bounds of that endpoint.
        account: Where refusals are counted.
        limits: The bounds.

    Attributes:
        inside: The same.
        touched: The same.
    """

    def __init__(
        self,
        inside: ServerEndpoint,
        touched: dict[DatagramConnection, None],
        *,
        inner_limits: EndpointLimits,
        account: QuicAccount,
        limits: QuicLimits,
    ) -> None:
        self.inside = inside
        self.touched = touched
        self._inner_limits = inner_limits
        self._account = account
        self._limits = limits
        self._channels: dict[int, ServedChannel] = {}  # by serial
        self._next_serial = 0
        self._orphans: TimerQueue[ServedChannel] = TimerQueue()

    def __len__(self) -> int:
        return len(self._channels)

    def carry(self, datagram: bytes, address: Address) -> None:
        """Give a session's datagram to the connection of its client, if there is one."""
        channel = self._channels.get(address[1])
        if channel is not None and channel.connection is not None:
            channel.carry(datagram)
            self.touched[channel.connection] = None

    def limits_of(self, address: Address) -> EndpointLimits:
        """Return the bounds that a client meets inside."""
        return self._channels[address[1]].limits

    def begin(
        self, host: str, connection: DatagramConnection, carry: Carry, on_close: Callable[[], object], narrow: Narrow
    ) -> ServedChannel | None:
        """Begin a client, or return None if there are as many as allowed (`Channels.open`)."""
        if len(self._channels) >= self._limits.channels:
            self._account.refused["channels"] += 1
            return None
        serial = self._next_serial
        while (serial := serial % _SERIALS) in self._channels:
            serial += 1
        self._next_serial = serial + 1
        limits = narrow(self._inner_limits)
        channel = self._channels[serial] = ServedChannel(self, (host, serial), connection, carry, on_close, limits)
        return channel

    def take_over(self, channel: ServedChannel, connection: DatagramConnection, carry: Carry) -> None:
        """Have another connection bring datagrams to a client (`Channels.take_over`)."""
        if channel.connection is not None:
            self.touched[channel.connection] = None  # it is to be closed
        channel.connection, channel.carry = connection, carry
        self._orphans.set(channel, None)
        channel.reconnect()

    def orphan(self, channel: ServedChannel, *, now: float) -> None:
        """Note that a client has no connection for now (`Channel.lose`)."""
        channel.connection = None
        if self._channels.get(channel.address[1]) is channel:
            self._orphans.set(channel, now + self._limits.orphan_time)

    def end(self, channel: ServedChannel, reason: str, *, now: float) -> None:
        """End a client with its sessions (`Channel.close`)."""
        if self._channels.get(channel.address[1]) is channel:
            del self._channels[channel.address[1]]
            self._orphans.set(channel, None)
            channel.on_close()
            self.inside.disconnect(channel.address, reason, now=now)

    def get_timer(self) -> float | None:
        """Return the instant at which `handle_timer` wants to be called, or None."""
        return self._orphans.first()

    def handle_timer(self, *, now: float) -> None:
        """End the clients that have not come back."""
        while (channel := self._orphans.pop(now)) is not None:
            self.end(channel, "the client's connection was lost, and it has not come back", now=now)


@dataclass(slots=True)
class ConnectionChannels:
    """The endpoint inside, as one connection sees it (`Channels`).

    Attributes:
        table: All channels.
        host: Where the connection began.
        connection: The connection.
    """

    table: ChannelTable
    host: str
    connection: DatagramConnection

    def open(
        self, carry: Carry, on_close: Callable[[], object] = lambda: None, *, narrow: Narrow = lambda limits: limits
    ) -> Channel | None:
        """See `Channels`."""
        return self.table.begin(self.host, self.connection, carry, on_close, narrow)

    def take_over(self, channel: Channel, carry: Carry) -> None:
        """See `Channels`."""
        assert isinstance(channel, ServedChannel), "a channel of this server"
        self.table.take_over(channel, self.connection, carry)
