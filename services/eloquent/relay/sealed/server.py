"""A server endpoint behind a seal: who has the key and shows that it receives gets an association, and all others silence.

Rules of this file
- Nothing is kept, and no Diffie-Hellman made, for an address that has not shown that it receives. What was not made with the key
  is dropped without an answer, whatever it is; an initiation with the key but without a good cookie gets one and is forgotten.
- An association begins half open, and is forgotten soon unless its client speaks. An initiation that is repeated is answered
  as before while it is, and never again after that.
- A client that takes its association for lost names it in its initiation. Where it stands, nothing begins, so that what it
  carries is neither cut off nor begun twice.
- The endpoint inside sees one constant address an association: the host that it began at, and its serial as the port.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from eloquent.errors import RemoteProtocolError
from eloquent.protocol.address_token import Address
from eloquent.protocol.datagram import MAX_DATAGRAM
from eloquent.protocol.limits import EndpointLimits
from eloquent.protocol.server_endpoint import ServerEndpoint, source_of
from eloquent.protocol.session_base import SchemeLookup, Tally
from eloquent.protocol.timer_queue import TimerQueue
from eloquent.relay.layers import ServerLayer
from eloquent.relay.sealed.account import Dropped, SealAccount
from eloquent.relay.sealed.admission import HandshakeAdmission
from eloquent.relay.sealed.association import Association, server_size
from eloquent.relay.sealed.limits import SealLimits
from eloquent.relay.sealed.noise import KEY_SIZE, TAG_SIZE, HandshakeFailed, Psk, Responder, TransportKeys
from eloquent.relay.sealed.packets import (
    ACCEPT,
    CLIENT_SEALED,
    COOKIE,
    INDEX_SIZE,
    INITIATION,
    MAX_PONG,
    PROLOGUE,
    SEALED_PAYLOAD_BUDGET,
    SERIAL_SIZE,
    Accept,
    Initiation,
    PongContent,
    Status,
    Type,
)
from eloquent.relay.sealed.padding import DEFAULT_PADDING, Padding
from eloquent.relay.sealed.peer_path import PeerPath

MOST_PINGS = 64  # of an association that come together and are answered; more are as good as lost


@dataclass(slots=True, eq=False, repr=False)
class _Peer:
    """A client with an association.

    Attributes:
        index: By which the client names the association.
        association: The keys.
        address: What the endpoint inside takes for the client's address.
        path: Where the client is.
        heard_at: Seconds; when a datagram of it last opened, or when the association began.
        half_open: The tag of the initiation and what was answered, until the client speaks.
        pings: The packet number and the size of each ping that is to be answered.
        armed: Seconds; the instant that its timer is set to, or None.
    """

    index: bytes
    association: Association
    address: Address
    path: PeerPath
    heard_at: float
    half_open: tuple[bytes, bytes] | None
    pings: list[tuple[int, int]] = field(default_factory=list)
    armed: float | None = None


class SealedServer(ServerLayer):
    """Any number of clients behind one socket, each under keys of its own; the same calls as a `ServerEndpoint`.

    Args:
        scheme_of: Finds the schemes that are offered.
        key: 32 bytes, shared with the clients.
        draw: Draws so many random bytes, such as `secrets.token_bytes`.
        limits: The bounds of the endpoint inside.
        seal_limits: The bounds of what is around it.
        padding: The sizes of sealed datagrams, or None for no padding.
        tally: Where the sessions' datagrams are counted.

    Attributes:
        account: What sealing costs, and what was dropped.
    """

    def __init__(
        self,
        scheme_of: SchemeLookup,
        *,
        key: bytes,
        draw: Callable[[int], bytes],
        limits: EndpointLimits | None = None,
        seal_limits: SealLimits | None = None,
        padding: Padding | None = DEFAULT_PADDING,
        tally: Tally | None = None,
    ) -> None:
        limits = EndpointLimits() if limits is None else limits
        limits = replace(limits, payload=min(limits.payload, SEALED_PAYLOAD_BUDGET), congestion_control=True)
        self.account = SealAccount()
        super().__init__(
            ServerEndpoint(
                scheme_of,
                secret=draw(KEY_SIZE),
                limits=limits,
                tally=tally,
                wire_size=partial(server_size, padding=padding),
            )
        )
        self._psk = Psk(key, prologue=PROLOGUE)
        self._draw = draw
        self._limits = SealLimits() if seal_limits is None else seal_limits
        self._admission = HandshakeAdmission(draw(KEY_SIZE), self._limits)
        self._padding = padding
        self._peers: dict[bytes, _Peer] = {}  # by index
        self._by_serial: dict[int, _Peer] = {}
        self._by_binding: dict[bytes, _Peer] = {}
        self._sources: Counter[str] = Counter()  # associations by the source that began them
        self._half_open = 0
        self._next_serial = 0
        self._touched: dict[_Peer, None] = {}
        self._timers: TimerQueue[_Peer] = TimerQueue()
        self._replies: list[tuple[bytes, Address]] = []

    @property
    def refused(self) -> Counter[str]:
        """How often no session or association began because of a limit, by what it is of."""
        return self._inside.refused + self.account.refused

    @property
    def associations(self) -> int:
        """How many associations there are, half open ones included."""
        return len(self._peers)

    def receive_datagram(self, data: bytes, source: Address, *, now: float) -> None:
        """Take one datagram.

        Args:
            data: As it came.
            source: Where it claims to come from.
            now: Seconds.

        Raises:
            Dropped: It is not from somebody with the key, or comes again, or is too much.
            RemoteProtocolError: Somebody with the key breaks the protocol of the sessions; drop it and go on.
        """
        try:
            self._take(data, source, now)
        except Dropped as dropped:
            self.account.dropped[dropped.cause] += 1
            raise

    def datagrams_to_send(self, *, now: float) -> list[tuple[bytes, Address]]:
        """Hand over what is to be sent now, in order, and where to."""
        datagrams, self._replies = self._replies, []
        touched, self._touched = self._touched, {}
        for peer in touched:
            self._send_control(peer, datagrams, now)
        for data, (_, serial) in self._inside.datagrams_to_send(now=now):
            if (whose := self._by_serial.get(serial)) is not None:
                self._send(whose, whose.association.seal_datagram(data, now=now), datagrams)
        return datagrams

    def get_timer(self) -> float | None:
        """Return the instant at which `handle_timer` wants to be called, or None."""
        inside, ours = self._inside.get_timer(), self._timers.first()
        if inside is None or ours is None:
            return ours if inside is None else inside
        return min(inside, ours)

    def handle_timer(self, *, now: float) -> None:
        """Do what is due at `now`."""
        self._inside.handle_timer(now=now)
        while (peer := self._timers.pop(now)) is not None:
            peer.armed = None
            if self._ends(peer) <= now:
                self._retire(peer, "nothing came from the client's association", now)
            else:
                self._touched[peer] = None

    def close(self, *, now: float) -> None:
        """Close every session and association; their clients are told by the next `datagrams_to_send`."""
        self._inside.close(now=now)
        farewells = self.datagrams_to_send(now=now)
        for peer in list(self._peers.values()):
            self._leave(peer, farewells, now)
        self._replies = farewells + self._replies

    def _take(self, data: bytes, source: Address, now: float) -> None:
        kind = data[0] if data else None
        if kind == CLIENT_SEALED:
            self._take_sealed(data, source, now)
        elif kind == INITIATION:
            self._take_initiation(data, source, now)
        else:
            raise Dropped("not ours")

    def _take_initiation(self, data: bytes, source: Address, now: float) -> None:
        if len(data) != MAX_DATAGRAM:
            raise Dropped("an initiation of another size")
        try:
            responder = Responder.read(self._psk, data[1:])
        except HandshakeFailed:
            raise Dropped("without the key") from None
        initiation = Initiation.decode(responder.payload)
        if not self._admission.is_shown(initiation.cookie, source, now=now):
            self._reply(bytes([COOKIE]) + initiation.index + self._admission.issue(source, now=now), source)
        elif (index := self._admission.begun_with(initiation.cookie)) is not None:
            self._answer_again(index, data, source)
        elif not self._admission.take_handshake(source, now=now):
            raise Dropped("too many handshakes")
        else:
            self._answer(responder, initiation, data, source, now)

    def _answer_again(self, index: bytes, data: bytes, source: Address) -> None:
        peer = self._peers.get(index)
        if peer is None or peer.half_open is None or peer.half_open[0] != data[-TAG_SIZE:]:
            raise Dropped("a repeated initiation")
        self._reply(peer.half_open[1], source)

    def _answer(self, responder: Responder, initiation: Initiation, data: bytes, source: Address, now: float) -> None:
        """Make the handshake, and begin an association unless something stands against it."""
        status, index, address = Status.BEGUN, self._free_index(), (source[0], self._free_serial())
        if initiation.previous in self._by_binding:
            status = Status.STANDS
        elif self._is_full(source):
            status = Status.FULL
            self.account.refused["associations"] += 1
        elif self._half_open >= self._limits.half_open:
            raise Dropped("too many half-open associations")
        accept = Accept(status)
        if status is Status.BEGUN:
            accept = Accept(status, index, self._inside.issue_token(address, now=now))
        try:
            message, keys = responder.write_second(self._draw(KEY_SIZE), accept.encode())
        except HandshakeFailed:
            raise Dropped("with a public key of low order") from None
        reply = bytes([ACCEPT]) + initiation.index + message
        self._reply(reply, source)
        if status is Status.BEGUN:
            peer = _Peer(
                index,
                self._associate(keys, initiation.index, address, now),
                address,
                PeerPath(source, self._draw),
                now,
                (data[-TAG_SIZE:], reply),
            )
            self._admission.use(initiation.cookie, index, now=now)
            self._add(peer)

    def _associate(self, keys: TransportKeys, index: bytes, address: Address, now: float) -> Association:
        return Association(
            keys,
            index=index,
            serial=address[1].to_bytes(SERIAL_SIZE),
            is_client=False,
            padding=self._padding,
            account=self.account,
            now=now,
        )

    def _add(self, peer: _Peer) -> None:
        serial = peer.address[1]
        self._peers[peer.index] = self._by_serial[serial] = self._by_binding[peer.association.binding] = peer
        self._next_serial = serial + 1
        self._half_open += 1
        self._sources[source_of(peer.address)] += 1
        self._touched[peer] = None

    def _is_full(self, source: Address) -> bool:
        limits = self._limits
        return (
            len(self._peers) >= limits.associations
            or self._sources[source_of(source)] >= limits.associations_per_source
        )

    def _free_index(self) -> bytes:
        while (index := self._draw(INDEX_SIZE)) in self._peers or not any(index):
            pass
        return index

    def _free_serial(self) -> int:
        serial = self._next_serial
        while (serial := serial % (1 << 8 * SERIAL_SIZE)) in self._by_serial:
            serial += 1
        return serial

    def _take_sealed(self, data: bytes, source: Address, now: float) -> None:
        peer = self._peers.get(data[1 : 1 + INDEX_SIZE])
        if peer is None:
            raise Dropped("of no association")
        highest = peer.association.highest
        number, kind, content = peer.association.open(data)
        peer.heard_at = now
        if peer.half_open is not None:
            peer.half_open = None
            self._half_open -= 1
        peer.path.receive(len(data), source, is_newest=number > highest, now=now)
        self._touched[peer] = None
        match kind:
            case Type.DATAGRAM:
                self._inside.receive_datagram(content, peer.address, now=now)
            case Type.PING:
                if len(peer.pings) < MOST_PINGS:
                    peer.pings.append((number, len(data)))
            case Type.RESPONSE:
                if peer.path.answer(content, source):  # until then there was no room for what its sessions have
                    self._inside.reconnect(peer.address)
            case Type.LEAVE:
                self._retire(peer, "closed by the client", now)
            case _:
                raise RemoteProtocolError("a client sent what only a server says")

    def _send_control(self, peer: _Peer, datagrams: list[tuple[bytes, Address]], now: float) -> None:
        if self._peers.get(peer.index) is not peer:
            return
        if peer.association.is_exhausted:
            self._leave(peer, datagrams, now)
            return
        if (challenge := peer.path.take_challenge(now=now)) is not None:
            sealed = peer.association.seal_control(Type.CHALLENGE, challenge, now=now)
            self._send(peer, sealed, datagrams, is_challenge=True)
        pings, peer.pings = peer.pings, []
        for number, size in pings:
            pong = PongContent(number, peer.association.came_below(number)).encode()
            sealed = peer.association.seal_control(Type.PONG, pong, size=min(size, MAX_PONG), now=now)
            self._send(peer, sealed, datagrams)
        due = self._ends(peer)
        if (asks := peer.path.due) is not None:
            due = min(due, asks)
        if peer.armed is None or due < peer.armed:
            peer.armed = due
            self._timers.set(peer, due)

    def _send(
        self, peer: _Peer, sealed: bytes, datagrams: list[tuple[bytes, Address]], *, is_challenge: bool = False
    ) -> None:
        if peer.path.take_room(len(sealed), is_challenge=is_challenge):
            datagrams.append((sealed, peer.path.address))
        else:
            self.account.held_back += len(sealed)
            self.account.datagrams -= 1

    def _reply(self, reply: bytes, source: Address) -> None:
        self.account.datagrams += 1
        self.account.handshake += len(reply)
        self._replies.append((reply, source))

    def _ends(self, peer: _Peer) -> float:
        """Return the instant at which an association is forgotten, if nothing comes for it."""
        return peer.heard_at + (self._limits.silence if peer.half_open is None else self._limits.cookie_time)

    def _leave(self, peer: _Peer, datagrams: list[tuple[bytes, Address]], now: float) -> None:
        self._send(peer, peer.association.seal_control(Type.LEAVE, now=now), datagrams)
        self._retire(peer, "closed by the server", now)

    def _retire(self, peer: _Peer, reason: str, now: float) -> None:
        del self._peers[peer.index], self._by_serial[peer.address[1]], self._by_binding[peer.association.binding]
        self._half_open -= peer.half_open is not None
        self._timers.set(peer, None)
        source = source_of(peer.address)
        self._sources[source] -= 1
        if not self._sources[source]:
            del self._sources[source]
        self._inside.disconnect(peer.address, reason, now=now)
