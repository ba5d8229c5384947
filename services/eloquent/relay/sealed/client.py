"""A client endpoint behind a seal: it gets an association when something is asked, and another when that one is lost.

Rules of this file
- There is one association at a time. What the endpoint inside says before there is one is dropped; it begins to ask when it
  is handed the address token that comes with the association.
- Liveness is what the endpoint inside makes sure of: while it awaits something it asks for a sign of life after a second
  of silence. When nothing that opens has come for 2 s after something went, or the network says that nobody listens, or the
  association has rested for longer than servers keep it, this layer begins a handshake, and goes on meanwhile.
- A datagram that opens ends the attempt. The server's acceptance ends the old association, with the streams that it had
  begun, and what was asked in vain is asked again at once; where the server says that the old one stands, it does, unless
  40 s later still nothing of it has opened. Then every stream on it has failed, and the next initiation does not name it.
- While nothing is awaited nothing is sent, except to make sure that the server has a new association. So NATs are kept open
  while a stream waits, and by its own signs of life.
"""

from collections.abc import Callable

from eloquent.errors import RemoteProtocolError
from eloquent.protocol.client_endpoint import ClientEndpoint
from eloquent.protocol.datagram import CONNECTION_ID_SIZE
from eloquent.protocol.repetition import Repetition
from eloquent.protocol.session_base import SILENCE_LIMIT, SchemeLookup, Tally
from eloquent.relay.layers import ClientLayer
from eloquent.relay.sealed.account import Dropped, SealAccount
from eloquent.relay.sealed.association import Association
from eloquent.relay.sealed.attempt import Attempt
from eloquent.relay.sealed.noise import Psk
from eloquent.relay.sealed.packets import (
    ACCEPT,
    COOKIE,
    INDEX_SIZE,
    NO_BINDING,
    PROLOGUE,
    SEALED_PAYLOAD_BUDGET,
    SERIAL_SIZE,
    SERVER_SEALED,
    Status,
    Type,
)
from eloquent.relay.sealed.padding import DEFAULT_PADDING, Padding

SUSPICION = 2.0  # seconds without an answer to what was sent, after which an association may be lost
REST_LIMIT = 120.0  # seconds of rest after which an association is not relied on; servers keep it for longer
PING_TIMEOUT = 0.5  # seconds to the first repetition of a ping, doubled at each
PING_MAX_TIMEOUT = 2.0  # seconds
PING_TIME = 20.0  # seconds for which a server that has begun an association is asked whether it has it
_SERIAL = bytes(SERIAL_SIZE)  # of all connection ids here; the server has one for each association


class SealedClient(ClientLayer):
    """Ask one server for answers under a shared key; the same calls as a `ClientEndpoint`.

    Args:
        scheme_of: Finds the schemes.
        key: 32 bytes, shared with the server.
        draw: Draws so many random bytes, such as `secrets.token_bytes`.
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
        padding: Padding | None = DEFAULT_PADDING,
        tally: Tally | None = None,
    ) -> None:
        self.account = SealAccount()
        super().__init__(ClientEndpoint(scheme_of, new_id=self._new_id, payload=SEALED_PAYLOAD_BUDGET, tally=tally))
        self._psk = Psk(key, prologue=PROLOGUE)
        self._draw = draw
        self._padding = padding
        self._sessions = 0  # begun so far
        self._index = b""  # by which the server names the association
        self._association: Association | None = None
        self._had_one = False
        self._attempt: Attempt | None = None
        self._no_attempt_before = float("-inf")  # seconds
        self._heard_at = 0.0  # seconds; when something last opened
        self._silent_since: float | None = None  # seconds; since something was sent that is not answered
        self._stood_at: float | None = None  # seconds; when it was said to stand, while nothing of it has opened since
        self._ping: Repetition | None = None  # until the server is known to have the association
        self._ping_until = 0.0  # seconds
        self._replies: list[bytes] = []

    def path_refused(self, *, now: float) -> None:
        """Take the network's word that nobody listens at the server's address (ICMP)."""
        self._inside.path_refused(now=now)
        if self._silent_since is not None:
            self._silent_since = min(self._silent_since, now - SUSPICION)

    def close(self, *, now: float) -> None:
        """Give up all streams and tell the server; no further event follows."""
        self._inside.close(now=now)
        if self._association is not None:
            self._replies += [
                self._association.seal_datagram(data, now=now) for data in self._inside.datagrams_to_send(now=now)
            ]
            self._replies.append(self._association.seal_control(Type.LEAVE, now=now))
        self._attempt = None
        self._drop_association()

    def receive_datagram(self, data: bytes, *, now: float) -> None:
        """Take one datagram from the server.

        Raises:
            Dropped: It is not from somebody with the key, comes again, or answers nothing that waits.
            RemoteProtocolError: Somebody with the key breaks the protocol of the sessions; drop it and go on.
        """
        try:
            self._take(data, now)
        except Dropped as dropped:
            self.account.dropped[dropped.cause] += 1
            raise

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Hand over what is to be sent now, in order."""
        datagrams, self._replies = self._replies, []
        inside = self._inside.datagrams_to_send(now=now)
        if self._association is not None:
            if self._association.is_exhausted:
                datagrams.append(self._association.seal_control(Type.LEAVE, now=now))
                self._drop_association()
            else:
                datagrams += self._seal(self._association, inside, now)
        self._consider_attempt(now)
        if self._attempt is not None and (initiation := self._attempt.take_initiation(now=now)) is not None:
            self.account.datagrams += 1
            self.account.handshake += len(initiation)
            datagrams.append(initiation)
        return datagrams

    def get_timer(self) -> float | None:
        """Return the instant at which `handle_timer` wants to be called, or None."""
        timers = [self._inside.get_timer(), self._attempt_due(), None if self._ping is None else self._ping.due]
        return min((due for due in timers if due is not None), default=None)

    def handle_timer(self, *, now: float) -> None:
        """Do what is due at `now`; what is this layer's own is done by `datagrams_to_send`."""
        self._inside.handle_timer(now=now)

    def _take(self, data: bytes, now: float) -> None:
        kind = data[0] if data else None
        if kind == SERVER_SEALED:
            self._take_sealed(data, now)
        elif kind == COOKIE and self._attempt is not None:
            self._attempt.take_cookie(data, now=now)
        elif kind == ACCEPT and self._attempt is not None:
            self._take_accept(self._attempt, data, now)
        else:
            raise Dropped("not ours")

    def _new_id(self) -> bytes:
        self._sessions += 1
        return self._sessions.to_bytes(CONNECTION_ID_SIZE)

    def _drop_association(self) -> None:
        self._association = self._ping = self._silent_since = self._stood_at = None

    def _seal(self, association: Association, inside: list[bytes], now: float) -> list[bytes]:
        datagrams = [association.seal_datagram(data, now=now) for data in inside]
        if datagrams or self._silent_since is not None:
            self._note_silence(now)
        if self._ping is not None and self._ping.due <= now:
            if now >= self._ping_until:
                self._ping = None
            else:
                self._ping.repeat(now)
                datagrams.append(association.seal_control(Type.PING, now=now))
        return datagrams

    def _note_silence(self, now: float) -> None:
        if self._inside.is_idle:
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = now

    def _attempt_due(self) -> float | None:
        """Return the instant at which an attempt wants to send something or one is to begin, or None."""
        if self._attempt is not None:
            return self._attempt.due
        if self._association is not None and self._silent_since is None:
            return None
        if self._inside.closed or self._inside.is_idle:
            return None
        if self._association is None or self._silent_since is None:
            return self._no_attempt_before
        rested = self._silent_since >= self._heard_at + REST_LIMIT
        return max(self._silent_since + (0.0 if rested else SUSPICION), self._no_attempt_before)

    def _consider_attempt(self, now: float) -> None:
        """Begin an attempt if there is reason to, and end one that nothing waits for."""
        if self._attempt is not None:
            if self._inside.is_idle or self._inside.closed:
                self._attempt = None
        elif (due := self._attempt_due()) is not None and due <= now:
            given_up = self._stood_at is not None and now >= self._stood_at + SILENCE_LIMIT
            previous = NO_BINDING if self._association is None or given_up else self._association.binding
            self._attempt = Attempt(self._psk, self._draw, previous=previous, now=now)

    def _take_accept(self, attempt: Attempt, data: bytes, now: float) -> None:
        accept, keys = attempt.take_accept(data)
        self._attempt = None
        self._no_attempt_before = now + SUSPICION
        if accept.status is Status.FULL:
            self._inside.lose_sessions("the server has as many associations as it allows", renew=False)
        if accept.status is Status.STANDS and self._stood_at is None:
            self._stood_at = now
        if accept.status is not Status.BEGUN:
            return
        self._association = Association(
            keys,
            index=accept.index,
            serial=_SERIAL,
            is_client=True,
            padding=self._padding,
            account=self.account,
            now=now,
        )
        self._index = attempt.index
        self._heard_at, self._silent_since, self._stood_at = now, None, None
        self._ping = Repetition(now, PING_TIMEOUT, PING_MAX_TIMEOUT)
        self._ping_until = now + PING_TIME
        self._inside.take_token(accept.token, now=now)
        if self._had_one:
            self._inside.lose_sessions("the server does not have the association any more", renew=True)
        self._had_one = True

    def _take_sealed(self, data: bytes, now: float) -> None:
        if self._association is None or data[1 : 1 + INDEX_SIZE] != self._index:
            raise Dropped("of no association")
        _, kind, content = self._association.open(data)
        self._heard_at = now
        self._silent_since = self._stood_at = self._ping = self._attempt = None
        match kind:
            case Type.DATAGRAM:
                self._inside.receive_datagram(content, now=now)
            case Type.PONG:
                pass
            case Type.CHALLENGE:
                self._replies.append(self._association.seal_control(Type.RESPONSE, content, now=now))
            case Type.LEAVE:
                self._drop_association()
            case _:
                raise RemoteProtocolError("a server sent what only a client says")
