"""A server endpoint behind QUIC: who has shown that he receives gets a connection, and who may ask gets to the endpoint inside.

Rules of this file
- Nothing is kept of an address that has not shown that it receives: every first packet is answered with a Retry (RFC 9000 §8.1.2),
  and a Retry begins one connection.
- What is spoken on a connection is an `Application`, by ALPN. Until that says that its client is no stranger, nothing reaches the
  endpoint inside, and after `stranger_time` the connection is closed.
- The endpoint inside sees one constant address a channel: the host that its first connection began at, and its serial as the port.
  Where the client is now, and whether that is validated, is QUIC's.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from aioquic._buffer import Buffer
from aioquic.quic import events
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.retry import QuicRetryTokenHandler

from eloquent.errors import RemoteProtocolError
from eloquent.protocol.address_token import Address
from eloquent.protocol.limits import EndpointLimits
from eloquent.protocol.server_endpoint import ServerEndpoint, source_of
from eloquent.protocol.server_session import ServerSession
from eloquent.protocol.session_base import SchemeLookup, Tally
from eloquent.protocol.session_events import ServerEvent
from eloquent.protocol.timer_queue import TimerQueue
from eloquent.relay.quic.account import QuicAccount
from eloquent.relay.quic.application import Application, ApplicationFactory, Carry, Channel, Narrow
from eloquent.relay.quic.certificate import ServerCertificate
from eloquent.relay.quic.connection import CONNECTION_ID_SIZE, DatagramConnection, configure, wire_size
from eloquent.relay.quic.edges import EndCode
from eloquent.relay.quic.limits import MAX_UDP, QUIC_PAYLOAD_BUDGET, QuicLimits
from eloquent.relay.sealed.account import Dropped
from eloquent.relay.sealed.admission import HandshakeAdmission

SECRET_SIZE = 32  # bytes
_LONG_HEADER = 0x80
_PORTS = 1 << 32  # serials of channels


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


@dataclass(slots=True, eq=False, repr=False)
class _Channel:
    """A client of the endpoint inside (`Channel`).

    Attributes:
        server: Whose it is.
        address: What the endpoint inside takes for its address.
        peer: The connection that brings datagrams to it, if any does.
        carry: Gives that one a datagram.
        on_close: Called at its end.
        limits: The bounds that it meets.
    """

    server: "QuicServer"
    address: Address
    peer: _Peer | None
    carry: Carry
    on_close: Callable[[], object]
    limits: EndpointLimits

    def receive(self, datagram: bytes, *, now: float) -> None:
        """See `Channel`."""
        self.server.inside.receive_datagram(datagram, self.address, now=now)

    def reconnect(self) -> None:
        """See `Channel`."""
        self.server.inside.reconnect(self.address)

    def lose(self, *, now: float) -> None:
        """See `Channel`."""
        self.peer = None
        self.server.orphan(self, now=now)

    def close(self, reason: str, *, now: float) -> None:
        """See `Channel`."""
        self.server.end_channel(self, reason, now=now)


@dataclass(slots=True)
class _Channels:
    """The endpoint inside, as one connection sees it (`Channels`).

    Attributes:
        server: Whose it is.
        peer: The connection.
    """

    server: "QuicServer"
    peer: _Peer

    def open(
        self, carry: Carry, on_close: Callable[[], object] = lambda: None, *, narrow: Narrow = lambda limits: limits
    ) -> Channel | None:
        """See `Channels`."""
        return self.server.begin_channel(self.peer, carry, on_close, narrow)

    def take_over(self, channel: Channel, carry: Carry) -> None:
        """See `Channels`."""
        assert isinstance(channel, _Channel), "a channel of this server"
        before, channel.peer, channel.carry = channel.peer, self.peer, carry
        self.server.adopt(channel, before)


class QuicServer:
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
        inside: The endpoint inside.
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
        self.inside = ServerEndpoint(
            scheme_of,
            secret=draw(SECRET_SIZE),
            limits=limits,
            tally=tally,
            wire_size=wire_size,
            has_validated=True,
            limits_of=lambda address: self._channels[address[1]].limits,
        )
        self._endpoint_limits = limits
        self._limits = QuicLimits() if quic_limits is None else quic_limits
        self._applications = applications
        self._configuration = configure(is_client=False, protocols=list(applications), limits=self._limits)
        self.renew(certificate)
        self._retry = QuicRetryTokenHandler()
        self._admission = HandshakeAdmission(draw(SECRET_SIZE), self._limits)
        self._peers: dict[bytes, _Peer] = {}  # by connection id
        self._connections: dict[_Peer, None] = {}
        self._sources: Counter[str] = Counter()  # connections by source
        self._stranger_sources: Counter[str] = Counter()  # of those that are strangers'
        self._strangers: dict[_Peer, None] = {}
        self._channels: dict[int, _Channel] = {}  # by serial
        self._next_serial = 0
        self._touched: dict[_Peer, None] = {}
        self._timers: TimerQueue[_Peer | _Channel] = TimerQueue()
        self._replies: list[tuple[bytes, Address]] = []

    @property
    def tally(self) -> Tally:
        """The sessions' datagrams, counted."""
        return self.inside.tally

    @property
    def sessions(self) -> list[ServerSession]:
        """The sessions that are open."""
        return self.inside.sessions

    @property
    def refused(self) -> Counter[str]:
        """How often no session or connection began because of a limit, by what it is of."""
        return self.inside.refused + self.account.refused

    @property
    def held(self) -> int:
        """Bytes of requests that are not whole yet."""
        return self.inside.held

    @property
    def connections(self) -> int:
        """How many connections there are, those of strangers included."""
        return len(self._connections)

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
            self._touched[peer] = None
            self._take_events(peer, now)

    def datagrams_to_send(self, *, now: float) -> list[tuple[bytes, Address]]:
        """Hand over what is to be sent now, in order, and where to."""
        datagrams, self._replies = self._replies, []
        for peer in [peer for peer in self._touched if peer.connection.is_over]:
            self._flush(peer, datagrams, now)  # first, as it may end sessions
        for data, (_, serial) in self.inside.datagrams_to_send(now=now):
            channel = self._channels.get(serial)
            if channel is not None and channel.peer is not None:
                channel.carry(data)
                self._touched[channel.peer] = None
        touched, self._touched = self._touched, {}
        for peer in touched:
            self._flush(peer, datagrams, now)
        return datagrams

    def next_event(self) -> tuple[ServerSession, ServerEvent] | None:
        """Return the oldest event that was not yet taken, with its session, or None."""
        return self.inside.next_event()

    def get_timer(self) -> float | None:
        """Return the instant at which `handle_timer` wants to be called, or None."""
        timers = [due for due in (self.inside.get_timer(), self._timers.first()) if due is not None]
        return min(timers, default=None)

    def handle_timer(self, *, now: float) -> None:
        """Do what is due at `now`."""
        self.inside.handle_timer(now=now)
        while (whose := self._timers.pop(now)) is not None:
            if isinstance(whose, _Channel):
                self.end_channel(whose, "the client's connection was lost, and it has not come back", now=now)
                continue
            self._touched[whose] = None
            whose.connection.handle_timer(now=now)
            if whose.is_stranger and now >= whose.stranger_until:
                whose.connection.close(EndCode.STRANGER, reason_phrase="nothing has shown that you may ask")

    def touch(self, session: ServerSession) -> None:
        """Ask a session for what it has to send, because its owner has called it."""
        self.inside.touch(session)

    def close(self, *, now: float) -> None:
        """Close every session and connection; their clients are told by the next `datagrams_to_send`."""
        self.inside.close(now=now)
        for peer in self._connections:
            if peer.application is not None:
                peer.application.leave()
                self._touched[peer] = None
        farewells = self.datagrams_to_send(now=now)
        for peer in list(self._connections):
            peer.connection.close(EndCode.LEFT, reason_phrase="the server stops")
            self._flush(peer, farewells, now)
        self._replies = farewells + self._replies

    def begin_channel(
        self, peer: _Peer, carry: Carry, on_close: Callable[[], object], narrow: Narrow
    ) -> _Channel | None:
        """Begin a client of the endpoint inside, or return None if there are as many as allowed (`Channels.open`)."""
        if len(self._channels) >= self._limits.channels:
            self.account.refused["channels"] += 1
            return None
        serial = self._next_serial
        while (serial := serial % _PORTS) in self._channels:
            serial += 1
        self._next_serial = serial + 1
        limits, address = narrow(self._endpoint_limits), (peer.source[0], serial)
        channel = self._channels[serial] = _Channel(self, address, peer, carry, on_close, limits)
        return channel

    def adopt(self, channel: _Channel, before: _Peer | None) -> None:
        """Note that a client has another connection, and before perhaps one that is to be closed."""
        self._timers.set(channel, None)
        if before is not None:
            self._touched[before] = None
        channel.reconnect()

    def orphan(self, channel: _Channel, *, now: float) -> None:
        """Note that a client has none for now."""
        if self._channels.get(channel.address[1]) is channel:
            self._timers.set(channel, now + self._limits.orphan_time)

    def end_channel(self, channel: _Channel, reason: str, *, now: float) -> None:
        """End a client of the endpoint inside (`Channel.close`)."""
        if self._channels.pop(channel.address[1], None) is not None:
            self._timers.set(channel, None)
            channel.on_close()
            self.inside.disconnect(channel.address, reason, now=now)

    def _find(self, data: bytes, source: Address, now: float) -> _Peer | None:
        """Return the connection that a datagram is for, which may begin by it; None if it was answered.

        Raises:
            Dropped: It belongs to none and begins none.
        """
        if not data or len(data) > MAX_UDP:
            raise Dropped("of no size of QUIC's")
        if not data[0] & _LONG_HEADER:
            if (peer := self._peers.get(data[1 : 1 + CONNECTION_ID_SIZE])) is None:
                raise Dropped("of no connection")
            return peer
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=CONNECTION_ID_SIZE)
        except ValueError:
            raise Dropped("not QUIC") from None
        peer = self._peers.get(header.destination_cid)
        return self._meet(header, data, source, now) if peer is None else peer

    def _meet(self, header: QuicHeader, data: bytes, source: Address, now: float) -> _Peer | None:
        """Answer who has no connection: with a Retry first, and with a connection when he comes back with it.

        Raises:
            Dropped: Nothing answers it.
        """
        if header.packet_type is QuicPacketType.VERSION_NEGOTIATION or len(data) < SMALLEST_MAX_DATAGRAM_SIZE:
            raise Dropped("of no connection")
        assert header.version is not None, "a long header has one"
        if header.version not in self._configuration.supported_versions:
            versions = self._configuration.supported_versions
            self._reply(encode_quic_version_negotiation(header.destination_cid, header.source_cid, versions), source)
            return None
        if header.packet_type is not QuicPacketType.INITIAL:
            raise Dropped("of no connection")
        if not header.token:
            self._reply(self._make_retry(header, source, now), source)
            return None
        try:
            original = self._retry.validate_token(
                address=source, destination_cid=header.destination_cid, token=header.token, now=now
            )
        except ValueError:
            raise Dropped("with a Retry that does not count") from None
        return self._begin(header, original, source, now)

    def _make_retry(self, header: QuicHeader, source: Address, now: float) -> bytes:
        own = os.urandom(CONNECTION_ID_SIZE)
        token = self._retry.create_token(
            address=source,
            original_destination_connection_id=header.destination_cid,
            retry_source_connection_id=own,
            now=now,
        )
        assert header.version is not None, "a long header has one"
        return encode_quic_retry(
            version=header.version,
            source_cid=own,
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=token,
        )

    def _begin(self, header: QuicHeader, original: bytes, source: Address, now: float) -> _Peer:
        """Begin a connection.

        Raises:
            Dropped: Its Retry has begun one, or something stands against it.
        """
        if self._admission.begun_with(header.destination_cid) is not None:
            raise Dropped("a repeated beginning")
        if (limit := self._obstacle(source)) is not None:
            self.account.refused[limit] += 1
            raise Dropped("too many connections")
        if not self._admission.take_handshake(source, now=now):
            raise Dropped("too many handshakes")
        connection = DatagramConnection(
            self.account,
            configuration=self._configuration,
            original_destination_connection_id=original,
            retry_source_connection_id=header.destination_cid,
        )
        self._admission.use(header.destination_cid, connection.host_cid, now=now)
        ids = {header.destination_cid, connection.host_cid}
        peer = _Peer(connection, source, now + self._limits.stranger_time, ids)
        self._peers |= dict.fromkeys(ids, peer)
        self._connections[peer] = self._strangers[peer] = None
        self._sources[source_of(source)] += 1
        self._stranger_sources[source_of(source)] += 1
        return peer

    def _obstacle(self, source: Address) -> str | None:
        """Return the limit that a new connection would break, or None."""
        limits, whose = self._limits, source_of(source)
        if len(self._connections) >= limits.connections or self._sources[whose] >= limits.connections_per_source:
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
        is_reached = peer.connection.is_path_validated
        if is_reached and not peer.is_reached and peer.application is not None:
            peer.application.reconnect()
        peer.is_reached = is_reached
        if broken is not None:
            raise broken

    def _take_event(self, peer: _Peer, event: events.QuicEvent, now: float) -> None:
        match event:
            case events.ProtocolNegotiated(alpn) if alpn is not None:
                peer.application = self._applications[alpn](peer.connection, _Channels(self, peer))
            case events.ConnectionIdIssued(connection_id):
                peer.ids.add(connection_id)
                self._peers[connection_id] = peer
            case events.ConnectionIdRetired(connection_id):
                peer.ids.discard(connection_id)
                self._peers.pop(connection_id, None)
            case _ if peer.application is not None:
                peer.application.take(event, now=now)

    def _acquaint(self, peer: _Peer) -> None:
        """Note that a client is no stranger any more, or gone."""
        del self._strangers[peer]
        _uncount(self._stranger_sources, source_of(peer.source))

    def _flush(self, peer: _Peer, datagrams: list[tuple[bytes, Address]], now: float) -> None:
        if peer not in self._connections:
            return
        datagrams += peer.connection.flush(now=now)
        if peer.connection.is_over:
            self._retire(peer, now)
            return
        due = peer.connection.get_timer()
        if peer in self._strangers:
            due = peer.stranger_until if due is None else min(due, peer.stranger_until)
        self._timers.set(peer, due)

    def _retire(self, peer: _Peer, now: float) -> None:
        del self._connections[peer]
        for connection_id in peer.ids:
            del self._peers[connection_id]
        self._timers.set(peer, None)
        _uncount(self._sources, source_of(peer.source))
        if peer in self._strangers:
            self._acquaint(peer)
        if peer.application is not None:
            peer.application.end(now=now)
            peer.application = None
        peer.connection.release()

    def _reply(self, reply: bytes, source: Address) -> None:
        self._replies.append((reply, source))


def _uncount(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
