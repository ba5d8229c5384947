"""The server's endpoint: every session of one socket, and who is let in (docs/protocol.md §6).

Rules of this file
- Nothing is kept, and nothing is asked of anybody, for an address that has not shown that it receives: `Hello` and an
  `Open` without a valid address token are answered with a token and forgotten.
- What goes to such an address is at most three times as long as what it answers (RFC 9000 §8.1), and of a kind that no
  server answers.
- A session exists from the moment when it has accepted a datagram that leaves it with an open stream. It belongs to the
  address that it began at: a datagram for it from elsewhere is told that the session cannot be had there.
- A connection id whose session is over never begins again. The memory of them has a bound; where one is forgotten, all
  address tokens issued so far are refused, so that a repeated datagram cannot bring it back.
"""

import ipaddress
from collections import Counter, OrderedDict, deque
from collections.abc import Callable

from eloquent.errors import RemoteProtocolError
from eloquent.protocol.address_token import NO_TOKEN, Address, AddressTokens
from eloquent.protocol.congestion import Recent, make_least_rtt
from eloquent.protocol.datagram import (
    SERVER_KINDS,
    Body,
    Cancel,
    Cancelled,
    Close,
    Datagram,
    Hello,
    Leave,
    Open,
    Retry,
    decode_datagram,
    encode_datagram,
    kind_name,
)
from eloquent.protocol.limits import ByteBudget, EndpointLimits
from eloquent.protocol.server_session import ServerSession
from eloquent.protocol.session_base import SchemeLookup, Tally
from eloquent.protocol.session_events import ServerEvent
from eloquent.protocol.timer_queue import TimerQueue

AMPLIFICATION = 3  # bytes sent for each byte received, before an address is validated (RFC 9000 §8.1)
_IPV6_NETWORK = 64  # bits that name who uses an IPv6 address


class ServerEndpoint:
    """Any number of server sessions behind one socket.

    Args:
        scheme_of: Finds the schemes that are offered.
        secret: At least 16 random bytes, new in each process; address tokens are made with them.
        limits: The bounds.
        tally: Where datagrams are counted.
        wire_size: As for `ServerSession`.
        has_validated: Whether what is around this endpoint has made sure that its addresses receive (QUIC has): then a token of
            zeros is good as well.
        limits_of: Returns the bounds that one address meets, where they are narrower for some; None: the same for all.

    Attributes:
        refused: How often no session began because of a limit, by what it is of: `sessions`, or `source` for those of one.
    """

    def __init__(
        self,
        scheme_of: SchemeLookup,
        *,
        secret: bytes,
        limits: EndpointLimits | None = None,
        tally: Tally | None = None,
        wire_size: Callable[[bytes], int] = len,
        has_validated: bool = False,
        limits_of: Callable[[Address], EndpointLimits] | None = None,
    ) -> None:
        self.refused: Counter[str] = Counter()
        self._has_validated = has_validated
        self._wire_size = wire_size
        self.tally = Tally() if tally is None else tally
        self._scheme_of = scheme_of
        self._limits = limits if limits is not None else EndpointLimits()
        self._tokens = AddressTokens(secret)
        self._limits_of = limits_of
        self._requests = ByteBudget(self._limits.requests)
        self._budgets = {self._limits: self._requests}  # of requests, by the bounds that those who ask meet
        self._sessions: dict[bytes, ServerSession] = {}
        self._sources: Counter[str] = Counter()  # sessions by source
        self._least_rtts: dict[str, Recent] = {}  # by source
        self._over: OrderedDict[bytes, None] = OrderedDict()  # connection ids that do not begin again
        self._touched: dict[ServerSession, None] = {}
        self._timers: TimerQueue[ServerSession] = TimerQueue()
        self._replies: list[tuple[bytes, Address]] = []
        self._events: deque[tuple[ServerSession, ServerEvent]] = deque()

    @property
    def sessions(self) -> list[ServerSession]:
        """The sessions that are open."""
        return list(self._sessions.values())

    @property
    def held(self) -> int:
        """Bytes of requests that are not whole yet."""
        return self._requests.held

    def receive_datagram(self, data: bytes, source: Address, *, now: float) -> None:
        """Take one datagram.

        Args:
            data: As it came.
            source: Where it claims to come from.
            now: Seconds.

        Raises:
            RemoteProtocolError: It is malformed or breaks the protocol; drop it and go on.
        """
        datagram = decode_datagram(data)
        if isinstance(datagram.body, SERVER_KINDS):
            raise RemoteProtocolError("a client sent what only a server says")
        session = self._sessions.get(datagram.connection_id)
        if isinstance(datagram.body, Hello):
            self._retry(datagram, source, len(data), now)
        elif session is None:
            self._meet(datagram, source, len(data), now)
        elif session.address != source:
            self._reply(datagram, Close(datagram.number, "session of another address", renew=True), source, len(data))
        else:
            session.receive(datagram, now=now)
            self.touch(session)

    def datagrams_to_send(self, *, now: float) -> list[tuple[bytes, Address]]:
        """Hand over what is to be sent now, in order, and where to."""
        datagrams, self._replies = self._replies, []
        touched, self._touched = self._touched, {}
        for session in touched:
            datagrams += [(data, session.address) for data in session.datagrams_to_send(now=now)]
            while (event := session.next_event()) is not None:
                self._events.append((session, event))
            if session.closed:
                self._retire(session, now)
            else:
                self._timers.set(session, session.get_timer())
        return datagrams

    def next_event(self) -> tuple[ServerSession, ServerEvent] | None:
        """Return the oldest event that was not yet taken, with its session, or None."""
        return self._events.popleft() if self._events else None

    def get_timer(self) -> float | None:
        """Return the instant at which `handle_timer` wants to be called, or None."""
        return self._timers.first()

    def handle_timer(self, *, now: float) -> None:
        """Do what is due at `now`."""
        while (session := self._timers.pop(now)) is not None:
            session.handle_timer(now=now)
            self.touch(session)

    def issue_token(self, address: Address, *, now: float) -> bytes:
        """Return an address token for who has shown already, in another way, that it receives at an address."""
        return self._tokens.issue(address, now=now)

    def disconnect(self, address: Address, reason: str, *, now: float) -> None:
        """Give up the sessions of an address that cannot be reached any more; their events follow."""
        for session in self.sessions:
            if session.address == address:
                session.lose(reason, now=now)
                self.touch(session)

    def reconnect(self, address: Address) -> None:
        """Have the sessions of an address, to which nothing got through, know that something does now."""
        for session in self.sessions:
            if session.address == address:
                session.note_life()
                self.touch(session)

    def touch(self, session: ServerSession) -> None:
        """Ask a session for what it has to send, because its owner has called it."""
        self._touched[session] = None

    def close(self, *, now: float) -> None:
        """Close every session; their clients are told by the next `datagrams_to_send`."""
        for session in self.sessions:
            session.close(now=now)
            self.touch(session)

    def _meet(self, datagram: Datagram, source: Address, size: int, now: float) -> None:
        """Answer a datagram of a session that is not here."""
        match datagram.body:
            case Open(token) if not self._is_good(token, source, now):
                self._retry(datagram, source, size, now)
            case Open(token):
                if (refusal := self._obstacle(datagram, source)) is None:
                    self._begin(datagram, source, token, now)
                else:
                    self._reply(datagram, Close(datagram.number, refusal), source, size)
            case Cancel(stream_id):
                self._reply(datagram, Cancelled(stream_id), source, size)
            case Leave():
                pass
            case _:
                self._reply(datagram, Close(datagram.number, "no such session", renew=True), source, size)

    def _obstacle(self, datagram: Datagram, source: Address) -> str | None:
        """Return why no session begins with an `Open` from a validated address, or None."""
        limits = self._bounds_of(source)
        if datagram.connection_id in self._over:
            return "the session is over"
        if len(self._sessions) >= limits.sessions:
            self.refused["sessions"] += 1
            return f"the server has {limits.sessions} sessions, which is its limit"
        if self._sources[source_of(source)] >= limits.sessions_per_source:
            self.refused["source"] += 1
            return f"the server has {limits.sessions_per_source} sessions of your address, which is its limit"
        return None

    def _is_good(self, token: bytes, source: Address, now: float) -> bool:
        if self._has_validated and token == NO_TOKEN:
            return True
        return self._tokens.is_valid(token, source, now=now)

    def _begin(self, datagram: Datagram, source: Address, token: bytes, now: float) -> None:
        least_rtt = self._least_rtts.get(source_of(source)) or make_least_rtt()
        if token != NO_TOKEN:
            least_rtt.add(self._tokens.age(token, now=now), now)
        limits = self._bounds_of(source)
        if limits not in self._budgets:
            self._budgets[limits] = ByteBudget(limits.requests, self._requests)
        session = ServerSession(
            datagram.connection_id,
            self._scheme_of,
            address=source,
            limits=limits,
            requests=self._budgets[limits],
            tally=self.tally,
            wire_size=self._wire_size,
            least_rtt=least_rtt,
        )
        session.receive(datagram, now=now)
        if session.is_idle:  # it refused the request
            self._replies += [(data, source) for data in session.datagrams_to_send(now=now)]
            return
        self._sessions[datagram.connection_id] = session
        self._sources[source_of(source)] += 1
        self._least_rtts[source_of(source)] = least_rtt
        self.touch(session)

    def _bounds_of(self, source: Address) -> EndpointLimits:
        return self._limits if self._limits_of is None else self._limits_of(source)

    def _retry(self, datagram: Datagram, source: Address, size: int, now: float) -> None:
        self._reply(datagram, Retry(datagram.number, self._tokens.issue(source, now=now)), source, size)

    def _reply(self, datagram: Datagram, body: Body, source: Address, size: int) -> None:
        """Answer a datagram without keeping anything of it."""
        reply = encode_datagram(Datagram(datagram.connection_id, 0, body))
        if len(reply) <= AMPLIFICATION * size:
            self.tally.sent[kind_name(body)] += 1
            self._replies.append((reply, source))

    def _retire(self, session: ServerSession, now: float) -> None:
        self._timers.set(session, None)
        if self._sessions.get(session.connection_id) is not session:  # its owner has touched it after its end
            return
        del self._sessions[session.connection_id]
        source = source_of(session.address)
        self._sources[source] -= 1
        if not self._sources[source]:
            del self._sources[source], self._least_rtts[source]
        self._over[session.connection_id] = None
        if len(self._over) > self._limits.remembered:
            self._over.popitem(last=False)
            self._tokens.refuse_before(now)


def source_of(address: Address) -> str:
    """Return who an address belongs to: the IPv4 address, or the IPv6 network of 64 bits."""
    host = address[0].partition("%")[0]
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return host
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((ip, _IPV6_NETWORK), strict=False))
