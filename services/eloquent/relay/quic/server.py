"""A server endpoint behind QUIC: who has shown that he receives gets a connection, and who may ask gets to the endpoint inside.

Rules of this file
- What is spoken on a connection is an `Application`, by ALPN. Until that says that its client is no stranger, nothing reaches the
  endpoint inside, and after `stranger_time` the connection is closed.
- Where a client is now, and whether that is validated, is QUIC's: the endpoint inside sees channels (`channels.py`).
- A connection that is over is forgotten at once, with what had begun on it: nothing is said to whoever goes on with it.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from aioquic.quic import events

from eloquent.errors import RemoteProtocolError
from eloquent.protocol.address_token import Address
from eloquent.protocol.limits import EndpointLimits
from eloquent.protocol.server_endpoint import ServerEndpoint, source_of
from eloquent.protocol.session_base import SchemeLookup, Tally
from eloquent.protocol.timer_queue import TimerQueue
from eloquent.relay.layers import ServerLayer
from eloquent.relay.quic.account import QuicAccount
from eloquent.relay.quic.application import Application, ApplicationFactory
from eloquent.relay.quic.certificate import ServerCertificate
from eloquent.relay.quic.channels import ChannelTable, ConnectionChannels
from eloquent.relay.quic.connection import DatagramConnection, configure, wire_size
from eloquent.relay.quic.edges import EndCode
from eloquent.relay.quic.greeting import Beginning, Greeter, destination_of
from eloquent.relay.quic.limits import QUIC_PAYLOAD_BUDGET, QuicLimits
from eloquent.relay.sealed.account import Dropped

SECRET_SIZE = 32  # bytes


@dataclass(slots=True, eq=False, repr=False)
class _Peer:
    """Who is at the other end of a connection.

    Attributes:
        connection: The connection.
        source: Where it began.
        stranger_until: Seconds; when it is closed, if it is still a stranger's.
        ids: By which the client names it.
        application: What is spoken on it, once that is known.
        is_reached: Whether the address that it is at is validated.
    """

    connection: DatagramConnection
    source: Address
    stranger_until: float
    ids: set[bytes]
    application: Application | None = None
    is_reached: bool = False

    @property
    def is_stranger(self) -> bool:
        """Whether nobody has shown yet that he may ask."""
        return self.application is None or self.application.is_stranger


class QuicServer(ServerLayer):
    """Any number of clients behind one socket, over QUIC; the same calls as a `ServerEndpoint`.

    Args:
        scheme_of: Finds the schemes that are offered.
        applications: What is spoken, by ALPN.
        certificate: Who the server is; `renew` puts another in its place.
        draw: Draws so many random bytes, such as `secrets.token_bytes`.
        limits: The bounds of the endpoint inside.
        quic_limits: The bounds of what is around it.
        tally: Where the sessions' datagrams are counted.

    Attributes:
        account: What was carried, and what was dropped.
    """

    def __init__(
        self,
        scheme_of: SchemeLookup,
        *,
        applications: Mapping[str, ApplicationFactory],
        certificate: ServerCertificate,
        draw: Callable[[int], bytes] = os.urandom,
        limits: EndpointLimits | None = None,
        quic_limits: QuicLimits | None = None,
        tally: Tally | None = None,
    ) -> None:
        limits = EndpointLimits() if limits is None else limits
        limits = replace(limits, payload=min(limits.payload, QUIC_PAYLOAD_BUDGET), congestion_control=True)
        self.account = QuicAccount()
        super().__init__(
            ServerEndpoint(
                scheme_of,
                secret=draw(SECRET_SIZE),
                limits=limits,
                tally=tally,
                wire_size=wire_size,
                has_validated=True,
                limits_of=lambda address: self._channels.limits_of(address),  # noqa: PLW0108 - which is made of this endpoint
            )
        )
        self._limits = QuicLimits() if quic_limits is None else quic_limits
        self._applications = applications
        self._configuration = configure(is_client=False, protocols=list(applications), limits=self._limits)
        self.renew(certificate)
        self._greeter = Greeter(self._configuration.supported_versions, secret=draw(SECRET_SIZE), limits=self._limits)
        self._touched: dict[DatagramConnection, None] = {}
        self._channels = ChannelTable(
            self._inside, self._touched, inner_limits=limits, account=self.account, limits=self._limits
        )
        self._by_id: dict[bytes, _Peer] = {}
        self._peers: dict[DatagramConnection, _Peer] = {}
        self._strangers: set[_Peer] = set()
        self._sources: Counter[str] = Counter()  # connections by source
        self._stranger_sources: Counter[str] = Counter()  # of those that are strangers'
        self._timers: TimerQueue[DatagramConnection] = TimerQueue()
        self._replies: list[tuple[bytes, Address]] = []

    @property
    def refused(self) -> Counter[str]:
        """How often no session, channel or connection began because of a limit, by what it is of."""
        return self._inside.refused + self.account.refused

    @property
    def connections(self) -> int:
        """How many connections there are, those of strangers included."""
        return len(self._peers)

    @property
    def channels(self) -> int:
        """How many clients the endpoint inside has, those without a connection included."""
        return len(self._channels)

    def renew(self, certificate: ServerCertificate) -> None:
        """Show another certificate to clients that connect from now on."""
        self._configuration.certificate = certificate.certificate
        self._configuration.certificate_chain = list(certificate.chain)
        self._configuration.private_key = certificate.private_key

    def receive_datagram(self, data: bytes, source: Address, *, now: float) -> None:
        """Take one datagram.

        Args:
            data: As it came.
            source: Where it claims to come from.
            now: Seconds.

        Raises:
            Dropped: It belongs to no connection and begins none.
            RemoteProtocolError: Somebody breaks a protocol; drop it and go on.
        """
        try:
            peer = self._find(data, source, now)
        except Dropped as dropped:
            self.account.dropped[dropped.cause] += 1
            raise
        if peer is not None:
            peer.connection.receive_datagram(data, source, now)
            self._touched[peer.connection] = None
            self._take_events(peer, now)

    def datagrams_to_send(self, *, now: float) -> list[tuple[bytes, Address]]:
        """Hand over what is to be sent now, in order, and where to."""
        datagrams, self._replies = self._replies, []
        for connection in [connection for connection in self._touched if connection.is_over]:
            self._flush(connection, datagrams, now)  # first, as it may end sessions
        for data, address in self._inside.datagrams_to_send(now=now):
            self._channels.carry(data, address)
        touched = list(self._touched)
        self._touched.clear()
        for connection in touched:
            self._flush(connection, datagrams, now)
        return datagrams

    def get_timer(self) -> float | None:
        """Return the instant at which `handle_timer` wants to be called, or None."""
        timers = (self._inside.get_timer(), self._timers.first(), self._channels.get_timer())
        return min((due for due in timers if due is not None), default=None)

    def handle_timer(self, *, now: float) -> None:
        """Do what is due at `now`."""
        self._channels.handle_timer(now=now)
        self._inside.handle_timer(now=now)
        while (connection := self._timers.pop(now)) is not None:
            self._touched[connection] = None
            connection.handle_timer(now=now)
            peer = self._peers[connection]
            if peer.is_stranger and now >= peer.stranger_until:
                connection.close(EndCode.STRANGER, reason_phrase="nothing has shown that you may ask")

    def leave(self) -> None:
        """Have applications say farewell, some time before `close`: browsers hear none from a connection that is closed."""
        for connection, peer in self._peers.items():
            if peer.application is not None:
                peer.application.leave()
                self._touched[connection] = None

    def close(self, *, now: float) -> None:
        """Close every session and connection; their clients are told by the next `datagrams_to_send`."""
        self._inside.close(now=now)
        farewells = self.datagrams_to_send(now=now)
        for connection in list(self._peers):
            connection.close(EndCode.LEFT, reason_phrase="the server stops")
            self._flush(connection, farewells, now)
        self._replies = farewells + self._replies

    def _find(self, data: bytes, source: Address, now: float) -> _Peer | None:
        """Return the connection that a datagram is for, which may begin by it; None if it was answered.

        Raises:
            Dropped: It belongs to none and begins none.
        """
        if (peer := self._by_id.get(destination_of(data))) is not None:
            return peer
        met = self._greeter.meet(data, source, now=now)
        if isinstance(met, Beginning):
            return self._begin(met, source, now)
        self._replies.append((met, source))
        return None

    def _begin(self, beginning: Beginning, source: Address, now: float) -> _Peer:
        """Begin a connection.

        Raises:
            Dropped: Something stands against it.
        """
        if (limit := self._obstacle(source)) is not None:
            self.account.refused[limit] += 1
            raise Dropped("too many connections")
        self._greeter.admit(beginning, source, now=now)
        connection = DatagramConnection(
            self.account,
            configuration=self._configuration,
            original_destination_connection_id=beginning.original,
            retry_source_connection_id=beginning.retried,
        )
        ids = {beginning.retried, connection.host_cid}
        peer = self._peers[connection] = _Peer(connection, source, now + self._limits.stranger_time, ids)
        self._by_id |= dict.fromkeys(ids, peer)
        self._strangers.add(peer)
        self._sources[source_of(source)] += 1
        self._stranger_sources[source_of(source)] += 1
        return peer

    def _obstacle(self, source: Address) -> str | None:
        """Return the limit that a new connection would break, or None."""
        limits, whose = self._limits, source_of(source)
        if len(self._peers) >= limits.connections or self._sources[whose] >= limits.connections_per_source:
            return "connections"
        if len(self._strangers) >= limits.strangers or self._stranger_sources[whose] >= limits.strangers_per_source:
            return "strangers"
        return None

    def _take_events(self, peer: _Peer, now: float) -> None:
        """Take what a datagram has brought.

        Raises:
            RemoteProtocolError: Some of it breaks a protocol; the rest was taken.
        """
        broken: RemoteProtocolError | None = None
        while (event := peer.connection.next_event()) is not None:
            try:
                self._take_event(peer, event, now)
            except RemoteProtocolError as error:
                broken = error
        if peer in self._strangers and not peer.is_stranger:
            self._acquaint(peer)
        was_reached, peer.is_reached = peer.is_reached, peer.connection.is_path_validated
        if peer.is_reached and not was_reached and peer.application is not None:
            peer.application.reconnect()
        if broken is not None:
            raise broken

    def _take_event(self, peer: _Peer, event: events.QuicEvent, now: float) -> None:
        match event:
            case events.ProtocolNegotiated(alpn) if alpn is not None:
                channels = ConnectionChannels(self._channels, peer.source[0], peer.connection)
                peer.application = self._applications[alpn](peer.connection, channels)
            case events.ConnectionIdIssued(connection_id):
                peer.ids.add(connection_id)
                self._by_id[connection_id] = peer
            case events.ConnectionIdRetired(connection_id):
                peer.ids.discard(connection_id)
                self._by_id.pop(connection_id, None)
            case _ if peer.application is not None:
                peer.application.take(event, now=now)

    def _acquaint(self, peer: _Peer) -> None:
        """Note that a client is no stranger any more, or gone."""
        self._strangers.discard(peer)
        _uncount(self._stranger_sources, source_of(peer.source))

    def _flush(self, connection: DatagramConnection, datagrams: list[tuple[bytes, Address]], now: float) -> None:
        peer = self._peers.get(connection)
        if peer is None:
            return
        datagrams += connection.flush(now=now)
        if connection.is_over:
            self._retire(peer, now)
            return
        due = connection.get_timer()
        if peer in self._strangers:
            due = peer.stranger_until if due is None else min(due, peer.stranger_until)
        self._timers.set(connection, due)

    def _retire(self, peer: _Peer, now: float) -> None:
        del self._peers[peer.connection]
        for connection_id in peer.ids:
            del self._by_id[connection_id]
        self._timers.set(peer.connection, None)
        _uncount(self._sources, source_of(peer.source))
        if peer in self._strangers:
            self._acquaint(peer)
        if peer.application is not None:
            peer.application.end(now=now)
            peer.application = None
        peer.connection.release()


def _uncount(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
