"""Endpoints over UDP with asyncio: the loop's clock goes in, datagrams come out.

What carries the datagrams is a `DatagramTransport` of asyncio's: a socket's, or another that looks like one.

Rules of this file
- No protocol logic: what a datagram means, when to repeat it and whom to admit is for the endpoints.
- After each input: send what waits, hand out the events, set the timer anew. Owners call the methods here, which do that. Datagrams
  that the loop has found together, and tokens of one instant, are one input.
- Nothing escapes from a callback: bad datagrams are counted, errors of the owner's `on_event` are logged.
- The timer is set anew only where something is due earlier: most of what is due is put off again by each datagram, and one that
  fires early costs less. It is set to whole milliseconds, which are all that uvloop's clock has: it would fire before what is due,
  again and again until that is.
- What comes in a burst waits in the kernel: its buffer is as large as the kernel lets us have it, up to a bound.
- A datagram that the kernel has no room for is dropped, as any network may do: it is not kept in a queue without a bound.
"""

import asyncio
import logging
import math
import secrets
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from eloquent.drivers.machines import ClientMachine, Machine, ServerMachine
from eloquent.errors import RemoteProtocolError
from eloquent.protocol.address_token import Address
from eloquent.protocol.client_endpoint import ClientEndpoint
from eloquent.protocol.datagram import CONNECTION_ID_SIZE
from eloquent.protocol.frames import ReaderState
from eloquent.protocol.limits import EndpointLimits
from eloquent.protocol.sender import IP_UDP_HEADERS
from eloquent.protocol.server_endpoint import ServerEndpoint
from eloquent.protocol.session import ClientEvent, ServerEvent, ServerSession, Tally
from eloquent.protocol.session_base import SchemeLookup

RECEIVE_BUFFER = (
    4 << 20
)  # bytes that may wait in the kernel until they are read; a small datagram takes about 800 of them
SEND_BUFFER = 256 * 1024  # bytes that may wait for room in the kernel's buffer; what comes then is dropped
MAX_PORT = 65535  # of sockets; clients of other transports have addresses with higher ones
_SECRET_SIZE = 32  # bytes
_SO_RCVBUFFORCE = 33  # of Linux: beyond net.core.rmem_max, for those who may administer the network
_TICKS = 1000  # of uvloop's clock in a second

Destination = Address | socket.socket
"""Where a client sends: host and port, or a socket that is connected to them, made in whatever network."""

_log = logging.getLogger(__name__)


def random_id() -> bytes:
    """Draw a connection id."""
    return secrets.token_bytes(CONNECTION_ID_SIZE)


def _widen(found: Any) -> None:
    """Let a socket keep more of what comes while nobody reads, as far as the kernel lets it."""
    for option in (socket.SO_RCVBUF, _SO_RCVBUFFORCE):
        if found.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) < RECEIVE_BUFFER:
            with suppress(OSError):
                found.setsockopt(socket.SOL_SOCKET, option, RECEIVE_BUFFER // 2)  # the kernel doubles it


class _Driver(asyncio.DatagramProtocol, ABC):
    """What both sides share: one socket, one timer, and the turn that follows each input.

    Attributes:
        malformed: Datagrams dropped because they were malformed or broke the protocol.
        unsent: Datagrams dropped because there was no room for them on the way, or no way any more.
        bytes_in: Bytes that came, with those of their headers down to IP.
        bytes_out: Bytes that were sent, likewise.
    """

    _transport: Any  # a DatagramTransport that also tells what waits in its buffer, as those of asyncio and uvloop do

    def __init__(self, endpoint: Machine) -> None:
        self.malformed = 0
        self.unsent = 0
        self.bytes_in = self.bytes_out = 0
        self._loop = asyncio.get_running_loop()
        self._machine = endpoint
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf  # seconds; when it fires
        self._running = False
        self._soon: asyncio.Handle | None = None  # a turn that is to come

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport that carries the datagrams from now on."""
        self._transport = transport
        if (found := transport.get_extra_info("socket")) is not None:
            _widen(found)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """Take a datagram from a transport."""
        self.bytes_in += len(data) + IP_UDP_HEADERS
        try:
            self._receive(data, (addr[0], addr[1]))
        except RemoteProtocolError as error:
            self.malformed += 1
            _log.debug("< dropped: %s", error)
        except Exception:  # noqa: BLE001 - a mistake of ours about one datagram must not stop other sessions
            _log.exception("< failed on a datagram of %d bytes", len(data))
        else:
            self._run_soon()

    def error_received(self, exc: Exception) -> None:
        """Note an ICMP error: it is unauthenticated, and the endpoint's own timers know better."""
        _log.debug("= %s", exc)

    def _run(self) -> None:
        """Send, tell and arm; when called from within an event, the outer call does it."""
        if self._running:
            return
        self._running = True
        try:
            self._send_all()
            while self._tell_next():
                while self._tell_next():
                    pass
                self._send_all()
        finally:
            self._running = False
        self._arm()

    def _run_soon(self) -> None:
        """Do so when the loop has handled what has come already, which then costs one turn."""
        if self._soon is None:
            self._soon = self._loop.call_soon(self._run_now)

    def _run_now(self) -> None:
        self._soon = None
        self._run()

    def _end(self) -> None:
        """Send what is left, and close the socket."""
        self._run()
        if self._soon is not None:
            self._soon.cancel()
        self._transport.close()

    def _arm(self) -> None:
        deadline = self._machine.get_timer()
        due = math.inf if deadline is None else math.ceil(deadline * _TICKS) / _TICKS
        if self._timer is not None and self._due <= due < math.inf:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = None if deadline is None else self._loop.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._machine.handle_timer(now=self._loop.time())
        self._run()

    def _send(self, data: bytes, address: Address | None = None) -> None:
        transport = self._transport_to(address)
        if transport is None or transport.get_write_buffer_size() > SEND_BUFFER:
            self.unsent += 1
        else:
            self.bytes_out += len(data) + IP_UDP_HEADERS
            transport.sendto(data, address)

    def _transport_to(self, address: Address | None) -> Any:  # noqa: ARG002 - a client has one server
        return self._transport

    @abstractmethod
    def _receive(self, data: bytes, source: Address) -> None:
        """Hand a datagram to the endpoint."""

    @abstractmethod
    def _send_all(self) -> None:
        """Send what the endpoint has to send."""

    @abstractmethod
    def _tell_next(self) -> bool:
        """Hand out the endpoint's next event, and return whether there was one."""


class UdpClient(_Driver):
    """A client endpoint on one UDP socket; make it with `connect`, or with `carry` for an endpoint of another make.

    Attributes:
        endpoint: The endpoint; what changes it is to be called here.
    """

    def __init__(self, endpoint: ClientMachine, on_event: Callable[[ClientEvent], None]) -> None:
        super().__init__(endpoint)
        self.endpoint = endpoint
        self._on_event = on_event

    @classmethod
    async def connect(
        cls,
        server: Destination,
        scheme_of: SchemeLookup,
        on_event: Callable[[ClientEvent], None],
        *,
        tally: Tally | None = None,
        new_id: Callable[[], bytes] = random_id,
    ) -> Self:
        """Open a socket towards the server; nothing is sent yet.

        Args:
            server: Its host and port, or a socket that is connected to it.
            scheme_of: Finds the schemes.
            on_event: Called with each event, in the loop's thread.
            tally: Where datagrams are counted.
            new_id: Draws connection ids.

        Raises:
            OSError: There is no way to that address.
        """
        return await cls.carry(ClientEndpoint(scheme_of, new_id=new_id, tally=tally), server, on_event)

    @classmethod
    async def carry(cls, endpoint: ClientMachine, server: Destination, on_event: Callable[[ClientEvent], None]) -> Self:
        """Open a socket for an endpoint (see `connect`).

        Raises:
            OSError: There is no way to that address.
        """
        client = cls(endpoint, on_event)
        if isinstance(server, socket.socket):
            await client._loop.create_datagram_endpoint(lambda: client, sock=server)
        else:
            await client._loop.create_datagram_endpoint(lambda: client, remote_addr=server)
        return client

    def say_hello(self) -> None:
        """Ask for a sign of life and an address token (`ClientEndpoint.say_hello`)."""
        self.endpoint.say_hello(now=self._loop.time())
        self._run()

    def open_stream(self, request: bytes, *, scheme: str) -> int:
        """Send a request and return its stream's id (`ClientEndpoint.open_stream`)."""
        stream_id = self.endpoint.open_stream(request, scheme=scheme, now=self._loop.time())
        self._run()
        return stream_id

    def cancel_stream(self, stream_id: int) -> None:
        """Give up a stream (`ClientEndpoint.cancel_stream`)."""
        self.endpoint.cancel_stream(stream_id, now=self._loop.time())
        self._run()

    def pause(self, stream_id: int) -> None:
        """Hold back the events of a stream (`ClientEndpoint.pause`)."""
        self.endpoint.pause(stream_id)

    def resume(self, stream_id: int) -> None:
        """Go on with the events of a stream (`ClientEndpoint.resume`)."""
        self.endpoint.resume(stream_id)
        self._run()

    def report(self, stream_id: int, state: ReaderState) -> None:
        """Tell how the reader of a stream fares (`ClientEndpoint.report`)."""
        self.endpoint.report(stream_id, state, now=self._loop.time())
        self._run()

    def close(self) -> None:
        """Close the endpoint, telling the server, and then the socket."""
        self.endpoint.close(now=self._loop.time())
        self._end()

    async def wait_closed(self) -> None:
        """Wait until what was sent by `close` is out, where the transport takes its time for that."""
        if (wait := getattr(self._transport, "wait_closed", None)) is not None:
            await wait()

    def abandon(self) -> None:
        """Close the socket without a word: to the server, the client is gone. No further call may follow."""
        if self._timer is not None:
            self._timer.cancel()
        self._transport.abort()

    def error_received(self, exc: Exception) -> None:
        """Tell the endpoint that nobody listens, if it is that."""
        super().error_received(exc)
        if isinstance(exc, ConnectionRefusedError):
            self.endpoint.path_refused(now=self._loop.time())
            self._run()

    def _receive(self, data: bytes, source: Address) -> None:  # noqa: ARG002 - the socket is connected
        self.endpoint.receive_datagram(data, now=self._loop.time())

    def _send_all(self) -> None:
        for data in self.endpoint.datagrams_to_send(now=self._loop.time()):
            self._send(data)

    def _tell_next(self) -> bool:
        event = self.endpoint.next_event()
        if event is None:
            return False
        try:
            self._on_event(event)
        except Exception:  # noqa: BLE001 - the owner's mistake with one event must not stop the others' streams
            _log.exception("= on_event failed on %r", event)
        return True


class UdpServer(_Driver):
    """A server endpoint on one UDP socket; make it with `bind`, or with `carry` for an endpoint of another make.

    Attributes:
        endpoint: The endpoint; what changes it is to be called here.
    """

    def __init__(self, endpoint: ServerMachine, on_event: Callable[[ServerSession, ServerEvent], None]) -> None:
        super().__init__(endpoint)
        self.endpoint = endpoint
        self._on_event = on_event
        self._others: dict[Address, asyncio.DatagramTransport] = {}
        self._next_port = MAX_PORT + 1

    @classmethod
    async def bind(
        cls,
        address: Address,
        scheme_of: SchemeLookup,
        on_event: Callable[[ServerSession, ServerEvent], None],
        *,
        limits: EndpointLimits | None = None,
        tally: Tally | None = None,
        secret: bytes | None = None,
    ) -> Self:
        """Listen on an address.

        Args:
            address: Host and port; port 0 takes a free one, see `address`.
            scheme_of: Finds the schemes that are offered.
            on_event: Called with each event and its session, in the loop's thread.
            limits: The endpoint's bounds.
            tally: Where datagrams are counted.
            secret: Of the address tokens; None draws one.

        Raises:
            OSError: The address is in use or not ours.
        """
        secret = secrets.token_bytes(_SECRET_SIZE) if secret is None else secret
        return await cls.carry(ServerEndpoint(scheme_of, secret=secret, limits=limits, tally=tally), address, on_event)

    @classmethod
    async def carry(
        cls, endpoint: ServerMachine, address: Address, on_event: Callable[[ServerSession, ServerEvent], None]
    ) -> Self:
        """Listen on an address for an endpoint (see `bind`).

        Raises:
            OSError: The address is in use or not ours.
        """
        server = cls(endpoint, on_event)
        await server._loop.create_datagram_endpoint(lambda: server, local_addr=address)
        return server

    @property
    def address(self) -> Address:
        """Host and port that the socket is bound to."""
        host, port, *_ = self._transport.get_extra_info("sockname")
        return host, port

    def attach(self, host: str, transport: asyncio.DatagramTransport) -> Address:
        """Let a client in that another transport than the socket carries.

        Args:
            host: Where the client is.
            transport: Carries what goes there.

        Returns:
            What stands for the client: give it to `datagram_received` with what comes from there.
        """
        address = host, self._next_port
        self._next_port += 1
        self._others[address] = transport
        return address

    def detach(self, address: Address) -> None:
        """Forget a client's transport: what goes to its address from now on is lost."""
        del self._others[address]

    def send_token(self, session: ServerSession, stream_id: int, token: bytes) -> None:
        """Queue one token of an answer (`ServerSession.send_token`)."""
        session.send_token(stream_id, token, now=self._loop.time())
        self._turn(session)

    def finish(self, session: ServerSession, stream_id: int, *, trailer: bytes = b"") -> None:
        """End an answer (`ServerSession.finish`)."""
        session.finish(stream_id, trailer=trailer, now=self._loop.time())
        self._turn(session)

    def close_session(self, session: ServerSession) -> None:
        """Close one session, telling its client."""
        session.close(now=self._loop.time())
        self._turn(session)

    def turn(self) -> None:
        """Do what follows a call of the endpoint that is not made here: send, tell and arm."""
        self._run()

    def close(self) -> None:
        """Close every session, telling the clients, and then the socket."""
        self.endpoint.close(now=self._loop.time())
        self._end()

    def _turn(self, session: ServerSession) -> None:
        self.endpoint.touch(session)
        self._run_soon()

    def _transport_to(self, address: Address | None) -> Any:
        return self._others.get(address) if address is not None and address[1] > MAX_PORT else self._transport

    def _receive(self, data: bytes, source: Address) -> None:
        self.endpoint.receive_datagram(data, source, now=self._loop.time())

    def _send_all(self) -> None:
        for data, address in self.endpoint.datagrams_to_send(now=self._loop.time()):
            self._send(data, address)

    def _tell_next(self) -> bool:
        found = self.endpoint.next_event()
        if found is None:
            return False
        try:
            self._on_event(*found)
        except Exception:  # noqa: BLE001 - the owner's mistake with one event must not stop the others' streams
            _log.exception("= on_event failed on %r", found[1])
        return True
