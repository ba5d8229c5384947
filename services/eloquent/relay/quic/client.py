"""A client endpoint over QUIC: it gets a connection when something is asked, and another when that one has died.

Rules of this file
- Once the handshake is complete and the server is known to be who it should be, the client shows the key on a stream, and the
  datagrams of its sessions follow at once, unless there was a connection before.
- Liveness is what the endpoint inside makes sure of: while it awaits something it asks for a sign of life after a second of
  silence, which also shows the server where the client is now. When nothing has come for 2 s after something went, or the network
  says that nobody listens, or the connection has rested for longer than servers keep it, this layer begins another connection,
  and goes on meanwhile.
- A datagram on the old one ends the attempt, until the key is shown on the new one: that takes over the sessions, by the name of
  the client's channel, and replaces the old one when the server says so. Where it does not know that name any more, what it had
  begun is lost, and what was asked in vain is asked again at once.
- While nothing is awaited nothing is sent.
"""

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from aioquic._buffer import Buffer
from aioquic.quic import events
from aioquic.quic.packet import QuicErrorCode, pull_quic_header

from eloquent.errors import ConfigurationError
from eloquent.protocol.address_token import NO_TOKEN
from eloquent.protocol.client_endpoint import ClientEndpoint
from eloquent.protocol.datagram import CONNECTION_ID_SIZE
from eloquent.protocol.session_base import SchemeLookup, Tally
from eloquent.relay.layers import ClientLayer
from eloquent.relay.quic import edges
from eloquent.relay.quic.account import QuicAccount
from eloquent.relay.quic.certificate import Identity, NotTheServer, TrustedAuthorities, derive_bearer
from eloquent.relay.quic.connection import DatagramConnection, configure
from eloquent.relay.quic.edges import ALPN, ASK_STREAM, CHANNEL_NAME_SIZE, EndCode, Welcome
from eloquent.relay.quic.limits import MAX_UDP, QUIC_PAYLOAD_BUDGET, REST_LIMIT
from eloquent.relay.sealed.account import Dropped

SUSPICION = 2.0  # seconds without an answer to what was sent, after which a connection may be dead
ATTEMPT_TIME = (
    6.0  # seconds for a handshake, after which it begins anew: aioquic waits twice as long after each repetition
)
MAX_ATTEMPT_TIME = (
    24.0  # seconds; each that was in vain gives the next one twice as many, as the way may be full of others'
)
REFUSED_PAUSE = (
    5.0  # seconds after a server that was not who it should be, or would not have us, before the next attempt
)
_SERVER = ("server", 0)  # the driver knows where it is

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Link:
    """A connection, or the attempt at one.

    Attributes:
        connection: The connection.
        began_at: Seconds.
        ids: By which the server names it.
        has_asked: Whether the key was shown on it.
    """

    connection: DatagramConnection
    began_at: float
    ids: set[bytes] = field(default_factory=set)
    has_asked: bool = False


class QuicClient(ClientLayer):
    """Ask one server for answers over QUIC; the same calls as a `ClientEndpoint`.

    Args:
        scheme_of: Finds the schemes.
        key: 32 bytes, shared with the server.
        identity: Whom to take for the server.
        draw: Draws so many random bytes.
        tally: Where the sessions' datagrams are counted.

    Attributes:
        account: What was carried, and what was dropped.
    """

    def __init__(
        self,
        scheme_of: SchemeLookup,
        *,
        key: bytes,
        identity: Identity,
        draw: Callable[[int], bytes] = secrets.token_bytes,
        tally: Tally | None = None,
    ) -> None:
        self.account = QuicAccount()
        super().__init__(
            ClientEndpoint(scheme_of, new_id=lambda: draw(CONNECTION_ID_SIZE), payload=QUIC_PAYLOAD_BUDGET, tally=tally)
        )
        self._key = key
        self._identity = identity
        self._channel = draw(CHANNEL_NAME_SIZE)
        self._is_known = False  # whether a server has said that it has the channel
        self._current: _Link | None = None
        self._attempt: _Link | None = None
        self._vain_attempts = 0  # since the last one that came to a connection
        self._no_attempt_before = float("-inf")  # seconds
        self._heard_at = 0.0  # seconds; when a session's datagram last came
        self._silent_since: float | None = None  # seconds; since something was sent that is not answered
        self._farewells: list[bytes] = []

    def path_refused(self, *, now: float) -> None:
        """Take the network's word that nobody listens at the server's address (ICMP)."""
        self._inside.path_refused(now=now)
        if self._silent_since is not None:
            self._silent_since = min(self._silent_since, now - SUSPICION)

    def close(self, *, now: float) -> None:
        """Give up all streams and tell the server; no further event follows."""
        self._inside.close(now=now)
        if self._current is not None:
            self._carry(self._current, now)
            self._farewells += self._flush(self._current, now)
        for link in self._links:
            link.connection.close(EndCode.LEFT)
            self._farewells += self._flush(link, now)
        self._current = self._attempt = None

    def receive_datagram(self, data: bytes, *, now: float) -> None:
        """Take one datagram from the server.

        Raises:
            Dropped: It belongs to no connection.
            RemoteProtocolError: The server breaks a protocol; drop it and go on.
        """
        try:
            link = self._find(data)
        except Dropped as dropped:
            self.account.dropped[dropped.cause] += 1
            raise
        link.connection.receive_datagram(data, _SERVER, now)
        self._take_events(link, now)

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Hand over what is to be sent now, in order."""
        datagrams, self._farewells = self._farewells, []
        if self._current is not None:
            self._carry(self._current, now)
        else:
            self._inside.datagrams_to_send(now=now)  # which go nowhere
        self._consider_attempt(now)
        for link in self._links:
            datagrams += self._flush(link, now)
        return datagrams

    def get_timer(self) -> float | None:
        """Return the instant at which `handle_timer` wants to be called, or None."""
        timers = [self._inside.get_timer(), self._attempt_due()]
        timers += [link.connection.get_timer() for link in self._links]
        return min((due for due in timers if due is not None), default=None)

    def handle_timer(self, *, now: float) -> None:
        """Do what is due at `now`; attempts are begun by `datagrams_to_send`."""
        self._inside.handle_timer(now=now)
        for link in self._links:
            due = link.connection.get_timer()
            if due is not None and due <= now:
                link.connection.handle_timer(now=now)
                self._take_events(link, now)

    @property
    def _links(self) -> list[_Link]:
        return [link for link in (self._current, self._attempt) if link is not None]

    def _find(self, data: bytes) -> _Link:
        """Return the connection that a datagram is of.

        Raises:
            Dropped: It is of none.
        """
        try:
            name = pull_quic_header(Buffer(data=data[:MAX_UDP]), host_cid_length=CONNECTION_ID_SIZE).destination_cid
        except ValueError:
            raise Dropped("not QUIC") from None
        for link in self._links:
            if name in link.ids:
                return link
        raise Dropped("of no connection")

    def _carry(self, link: _Link, now: float) -> None:
        """Give a connection what the sessions have to say, and note since when that is not answered."""
        datagrams = self._inside.datagrams_to_send(now=now)
        for data in datagrams:
            link.connection.carry(data)
        if self._inside.is_idle:
            self._silent_since = None
        elif datagrams and self._silent_since is None:
            self._silent_since = now

    def _flush(self, link: _Link, now: float, *, urgent: int = 0) -> list[bytes]:
        return [data for data, _ in link.connection.flush(now=now, urgent=urgent)]

    def _attempt_due(self) -> float | None:
        """Return the instant at which an attempt is to begin, perhaps in place of one, or None."""
        if self._attempt is not None:
            return self._attempt.began_at + min(ATTEMPT_TIME * (1 << self._vain_attempts), MAX_ATTEMPT_TIME)
        if self._inside.closed or self._inside.is_idle:
            return None
        if self._current is None:
            return self._no_attempt_before
        if self._silent_since is None:
            return None
        has_rested = self._silent_since >= self._heard_at + REST_LIMIT
        return max(self._silent_since + (0.0 if has_rested else SUSPICION), self._no_attempt_before)

    def _consider_attempt(self, now: float) -> None:
        """Begin an attempt if there is reason to, and end one that nothing waits for."""
        if self._attempt is not None and (self._inside.is_idle or self._inside.closed):
            self._give_up_attempt(now)
        due = self._attempt_due()
        if due is not None and due <= now:
            if self._attempt is not None:
                self._vain_attempts += 1
                self._give_up_attempt(now)
            self._attempt = self._begin(now)

    def _give_up_attempt(self, now: float) -> None:
        if self._attempt is not None:
            self._attempt.connection.close(EndCode.LEFT)
            self._farewells += self._flush(self._attempt, now)
            self._attempt = None

    def _begin(self, now: float) -> _Link:
        configuration = configure(is_client=True, protocols=[ALPN])
        configuration.verify_mode = False  # `Identity` does, once the handshake is complete
        if isinstance(self._identity, TrustedAuthorities):
            configuration.server_name = self._identity.name
        connection = DatagramConnection(self.account, configuration=configuration)
        connection.connect(_SERVER, now=now)
        return _Link(connection, now, {connection.host_cid})

    def _take_events(self, link: _Link, now: float) -> None:
        while (event := link.connection.next_event()) is not None:
            match event:
                case events.ConnectionIdIssued(connection_id):
                    link.ids.add(connection_id)
                case events.ConnectionIdRetired(connection_id):
                    link.ids.discard(connection_id)
                case events.HandshakeCompleted():
                    self._take_server(link, now)
                case events.StreamDataReceived(data, _, stream_id) if stream_id == ASK_STREAM and data:
                    self._take_status(link, data[0], now)
                case events.DatagramFrameReceived(data) if link is self._current:
                    self._heard_at, self._silent_since = now, None
                    if self._attempt is not None and not self._attempt.has_asked:
                        self._give_up_attempt(now)
                    self._inside.receive_datagram(data, now=now)
        if link.connection.is_over:
            self._lose(link, now)

    def _take_server(self, link: _Link, now: float) -> None:
        """Make sure of the server, and show it the key."""
        if link is not self._attempt:
            return
        certificate = link.connection.peer_certificate
        assert certificate is not None, "the handshake is complete"
        try:
            self._identity.check(certificate, link.connection.peer_chain)
        except (NotTheServer, ConfigurationError) as error:  # which a file that has gone is
            link.connection.close(
                QuicErrorCode.CRYPTO_ERROR + 42, 0, "another certificate is expected"
            )  # bad_certificate
            self._refuse(str(error), now)
            return
        ask = edges.encode_ask(derive_bearer(self._key, certificate), self._channel)
        link.connection.send_stream_data(ASK_STREAM, ask, end_stream=True)
        link.has_asked = True
        self._farewells += self._flush(link, now, urgent=len(ask))  # before any datagram
        if not self._is_known:
            self._adopt(link, now)

    def _take_status(self, link: _Link, status: int, now: float) -> None:
        if status == Welcome.FULL:
            self._refuse("the origin relay has as many edges as it allows", now)
            return
        if status == Welcome.BEGUN and self._is_known:
            self._inside.lose_sessions("the origin relay does not have the sessions any more", renew=True)
        self._is_known = True
        if link is self._attempt:
            self._adopt(link, now)

    def _adopt(self, link: _Link, now: float) -> None:
        """Have a connection carry the sessions from now on, in place of the one before."""
        if self._current is not None:
            self._current.connection.close(EndCode.MOVED)
            self._farewells += self._flush(self._current, now)
        self._current, self._attempt, self._vain_attempts = link, None, 0
        self._heard_at, self._silent_since = now, None
        self._inside.take_token(NO_TOKEN, now=now)

    def _lose(self, link: _Link, now: float) -> None:
        """Take note that a connection is over."""
        self._farewells += self._flush(link, now)
        if link.connection.end_code == EndCode.REFUSED:
            self._refuse(f"the origin relay refuses this edge: {link.connection.end_reason}", now)
        if link is self._attempt:
            self._attempt = None
            self._no_attempt_before = max(self._no_attempt_before, now + SUSPICION)
        elif link is self._current:
            self._current = self._silent_since = None

    def _refuse(self, reason: str, now: float) -> None:
        """Take note that there is no way to the server as things are: what is asked fails."""
        _log.warning("%s", reason)
        self._no_attempt_before = now + REFUSED_PAUSE
        self._inside.lose_sessions(reason, renew=False)
