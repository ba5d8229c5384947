"""Sessions over UDP with asyncio: the loop's clock goes in, datagrams come out.

Rules of this file
- No protocol logic: what a datagram means, when to repeat it and whom to admit is for the sessions and the acceptor.
- After each input: send what waits, hand out the events, set the timer anew.
- Nothing escapes from a callback: bad datagrams are counted, errors of the owner's `on_event` are logged.
- A session answers to the address it began with; a datagram for it from elsewhere is dropped, for nothing in version 1
  proves that it is the same client (docs/protocol.md §8).
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Self

from eloquent.errors import RemoteProtocolError
from eloquent.protocol.acceptor import Acceptor
from eloquent.protocol.datagram import Datagram, decode_datagram
from eloquent.protocol.session import ClientSession, ServerSession, SessionEvent

Address = tuple[str, int]

_log = logging.getLogger(__name__)


class _Pump:
    """Move one session on: datagrams out, events out, timer set."""

    def __init__(
        self,
        session: ClientSession | ServerSession,
        send: Callable[[bytes], None],
        on_event: Callable[[SessionEvent], None],
        on_closed: Callable[[], None] = lambda: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._session = session
        self._send = send
        self._on_event = on_event
        self._on_closed = on_closed
        self._timer: asyncio.TimerHandle | None = None
        self._due: float | None = None  # when the timer fires
        self._running = False

    def run(self) -> None:
        """Send, tell and arm; when called from within an event, the outer call does it."""
        if self._running:
            return
        self._running = True
        try:
            self._send_all()
            while (event := self._session.next_event()) is not None:
                self._tell(event)
                self._send_all()
        finally:
            self._running = False
        self._arm()
        if self._session.closed:
            self._on_closed()

    def _send_all(self) -> None:
        for datagram in self._session.datagrams_to_send(now=self._loop.time()):
            self._send(datagram)

    def _tell(self, event: SessionEvent) -> None:
        try:
            self._on_event(event)
        except Exception:  # noqa: BLE001 - the owner's mistake with one event must not stop the others' streams
            _log.exception("= on_event failed on %r", event)

    def _arm(self) -> None:
        deadline = self._session.get_timer()
        if deadline == self._due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = deadline
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = self._due = None
        self._session.handle_timer(now=self._loop.time())
        self.run()


class _Socket(asyncio.DatagramProtocol):
    """Hand each datagram on; UDP's own errors only mean that one was lost."""

    def __init__(self, on_datagram: Callable[[bytes, Address], None]) -> None:
        self._on_datagram = on_datagram

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """Take a datagram from the transport."""
        try:
            self._on_datagram(data, (addr[0], addr[1]))
        except Exception:  # noqa: BLE001 - a mistake of ours about one datagram must not stop other sessions
            _log.exception("< failed on a datagram of %d bytes", len(data))

    def error_received(self, exc: Exception) -> None:
        """Note an ICMP error: it is unauthenticated, and the session's own timers know better."""
        _log.debug("= %s", exc)


class UdpClient:
    """One client session on one UDP socket; make it with `connect`.

    Attributes:
        session: The session; call `flush` after each call of its methods.
        malformed: Datagrams dropped because they were malformed or broke the protocol.
    """

    def __init__(self, session: ClientSession, on_event: Callable[[SessionEvent], None]) -> None:
        self.session = session
        self.malformed = 0
        self._transport: asyncio.DatagramTransport
        self._pump = _Pump(session, self._send, on_event)

    @classmethod
    async def connect(cls, address: Address, session: ClientSession, on_event: Callable[[SessionEvent], None]) -> Self:
        """Open a socket towards the server; nothing is sent yet.

        Args:
            address: Host and port of the server.
            session: A new session.
            on_event: Called with each event, in the loop's thread.

        Raises:
            OSError: There is no way to that address.
        """
        client = cls(session, on_event)
        client._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Socket(client._receive), remote_addr=address
        )
        return client

    def flush(self) -> None:
        """Send what waits, hand out the events, set the timer."""
        self._pump.run()

    def close(self) -> None:
        """Close the session, telling the server, and then the socket."""
        self.session.close(now=asyncio.get_running_loop().time())
        self.flush()
        self._transport.close()

    def _send(self, datagram: bytes) -> None:
        self._transport.sendto(datagram)

    def _receive(self, data: bytes, _address: Address) -> None:
        try:
            self.session.receive_datagram(data, now=asyncio.get_running_loop().time())
        except RemoteProtocolError as error:
            self.malformed += 1
            _log.debug("< dropped: %s", error)
        else:
            self.flush()


class Peer:
    """One client of a server.

    Attributes:
        session: Its session; call `flush` after each call of the session's methods.
        address: Its host and port.
    """

    def __init__(
        self,
        session: ServerSession,
        address: Address,
        send: Callable[[bytes], None],
        on_event: Callable[["Peer", SessionEvent], None],
        on_closed: Callable[["Peer"], None],
    ) -> None:
        self.session = session
        self.address = address
        self._pump = _Pump(session, send, lambda event: on_event(self, event), lambda: on_closed(self))

    def flush(self) -> None:
        """Send what waits, hand out the events, set the timer."""
        self._pump.run()


class UdpServer:
    """Any number of server sessions on one UDP socket; make it with `bind`.

    Attributes:
        malformed: Datagrams dropped because they were malformed, broke the protocol, or came from another address than
            their session's.
    """

    def __init__(
        self, make_session: Callable[[bytes], ServerSession], on_event: Callable[[Peer, SessionEvent], None]
    ) -> None:
        self.malformed = 0
        self._make_session = make_session
        self._on_event = on_event
        self._peers: dict[bytes, Peer] = {}
        self._acceptor = Acceptor()
        self._transport: asyncio.DatagramTransport

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

        Raises:
            OSError: The address is in use or not ours.
        """
        server = cls(make_session, on_event)
        server._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Socket(server._receive), local_addr=address
        )
        return server

    @property
    def address(self) -> Address:
        """Host and port that the socket is bound to."""
        host, port, *_ = self._transport.get_extra_info("sockname")
        return host, port

    @property
    def peers(self) -> list[Peer]:
        """The clients whose sessions are open."""
        return list(self._peers.values())

    def close(self) -> None:
        """Close every session, telling the clients, and then the socket."""
        for peer in self.peers:
            peer.session.close(now=asyncio.get_running_loop().time())
            peer.flush()
        self._transport.close()

    def _receive(self, data: bytes, address: Address) -> None:
        try:
            datagram = decode_datagram(data)
            peer = self._peers.get(datagram.connection_id) or self._admit(datagram, address)
            if peer is not None and peer.address == address:
                peer.session.receive(datagram, now=asyncio.get_running_loop().time())
                peer.flush()
            elif peer is not None:
                self.malformed += 1
                _log.debug("< dropped: a datagram for the session of %s came from %s", peer.address, address)
        except RemoteProtocolError as error:
            self.malformed += 1
            _log.debug("< dropped: %s", error)

    def _admit(self, datagram: Datagram, address: Address) -> Peer | None:
        if self._acceptor.admits(datagram, sessions=len(self._peers)):
            session = self._make_session(datagram.connection_id)
            peer = Peer(session, address, partial(self._transport.sendto, addr=address), self._on_event, self._retire)
            self._peers[datagram.connection_id] = peer
            return peer
        if (refusal := self._acceptor.refusal(datagram)) is not None:
            self._transport.sendto(refusal, address)
        return None

    def _retire(self, peer: Peer) -> None:
        if self._peers.pop(peer.session.connection_id, None) is not None and not peer.session.expired:
            self._acceptor.closed(peer.session.connection_id)
