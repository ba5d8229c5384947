"""A client endpoint over a blocking UDP socket: for threads, and for greenlets where gevent has patched the library.

Rules of this file
- No protocol logic, as in `eloquent.drivers.udp`: after each input, send what waits, hand out the events, look at the timer.
- One loop, `run`, in a thread or greenlet of its owner's making, receives and pulls the timer. Any other may open streams
  and read them. The lock is never held while somebody waits. What should end the loop's waiting early writes a byte into a
  pair of connected sockets that the loop listens to.
- A stream whose reader is far behind is paused, which slows the server down.
- A stream ends with `StreamEnded`, or by raising `StreamLost`; whoever stops reading early says so with `close`.
"""

import logging
import queue
import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from eloquent.drivers.udp import random_id
from eloquent.errors import EloquentError, LocalProtocolError, RemoteProtocolError
from eloquent.protocol.client_endpoint import ClientEndpoint
from eloquent.protocol.session import ClientEvent, SessionLost, StreamEnded, StreamFailed, StreamToken
from eloquent.protocol.session_base import SchemeLookup

PAUSE_AT = 512  # tokens of one stream that wait for its reader, from which the stream is paused
RESUME_AT = 128  # tokens down to which it is resumed
_DATAGRAM = 65536  # bytes, more than any

_log = logging.getLogger(__name__)


class StreamLost(EloquentError):
    """The stream is over without a proper end."""


class Stream:
    """One answer: an iterator of `StreamToken`, and of `StreamEnded` as the last event.

    Args:
        client: Where it comes from.
        stream_id: Its number there.
    """

    def __init__(self, client: "BlockingUdpClient", stream_id: int) -> None:
        self._client = client
        self._stream_id = stream_id
        self._over = False
        self._paused = False
        self._waiting: queue.SimpleQueue[StreamToken | StreamEnded | StreamFailed] = queue.SimpleQueue()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> StreamToken | StreamEnded:
        return self.next_event()

    def next_event(self, timeout: float | None = None) -> StreamToken | StreamEnded:
        """Wait for the next event, at most so many seconds.

        Raises:
            StopIteration: The stream has ended, or was closed.
            StreamLost: It is over without a proper end.
            TimeoutError: Nothing came in time; the stream goes on.
        """
        if self._over:
            raise StopIteration
        try:
            event = self._waiting.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"nothing came in {timeout:g} s") from None
        if self._over:  # closed meanwhile
            raise StopIteration
        if self._paused and self._waiting.qsize() <= RESUME_AT:
            self._paused = False
            self._client.resume(self._stream_id)
        self._over = not isinstance(event, StreamToken)
        if isinstance(event, StreamFailed):
            raise StreamLost(event.reason)
        return event

    def close(self) -> None:
        """Tell the server that nobody wants the rest; does nothing after the end.

        Another thread that waits for the next event finds the stream ended.
        """
        self._over = True
        self._client.cancel(self._stream_id)
        self._waiting.put(StreamFailed(self._stream_id, "its reader has left"))

    def put(self, event: StreamToken | StreamEnded | StreamFailed) -> bool:
        """Queue an event, and return whether the stream is to be paused."""
        self._waiting.put(event)
        if self._waiting.qsize() >= PAUSE_AT:
            self._paused = True
            if self._waiting.qsize() <= RESUME_AT:  # read meanwhile, by somebody who did not see that it is paused
                self._paused = False
        return self._paused


class BlockingUdpClient:
    """A client endpoint on one UDP socket.

    Args:
        address: Host and port of the server.
        scheme_of: Finds the schemes.
        new_id: Draws connection ids.

    Attributes:
        malformed: Datagrams dropped because they were malformed or broke the protocol.

    Raises:
        OSError: There is no way to that address.
    """

    def __init__(
        self,
        address: tuple[str, int],
        scheme_of: SchemeLookup,
        *,
        new_id: Callable[[], bytes] = random_id,
    ) -> None:
        self.malformed = 0
        self._endpoint = ClientEndpoint(scheme_of, new_id=new_id)
        self._streams: dict[int, Stream] = {}
        self._lock = threading.Lock()
        self._running = False
        self._failed = False  # `run` has raised
        self._wakes_at: float | None = None  # when `run` looks at the timer next; None is never
        self._socket = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM)
        self._wakeup_writer, self._wakeup_reader = socket.socketpair()
        for each in (self._socket, self._wakeup_writer, self._wakeup_reader):
            each.settimeout(0)
        try:
            self._socket.connect(address)
        except OSError:
            self._release()
            raise

    @property
    def alive(self) -> bool:
        """Whether new streams can be opened."""
        return not (self._failed or self._endpoint.closed)

    def open(self, request: bytes, *, scheme: str) -> Stream:
        """Send a request and return its answer.

        Raises:
            ConfigurationError: There is no such scheme, or it is not carried by datagrams.
            LocalProtocolError: The session is over, the request is too long, or too many streams are open.
        """
        with self._lock:
            if self._failed:
                raise LocalProtocolError("the session is over: its loop has failed")
            now = time.monotonic()
            stream_id = self._endpoint.open_stream(request, scheme=scheme, now=now)
            stream = self._streams[stream_id] = Stream(self, stream_id)
            self._pump(now)
        return stream

    def cancel(self, stream_id: int) -> None:
        """Give up a stream, if it is still open."""
        with self._lock:
            if self._streams.pop(stream_id, None) is not None:
                now = time.monotonic()
                self._endpoint.cancel_stream(stream_id, now=now)
                self._pump(now)

    def resume(self, stream_id: int) -> None:
        """Go on with a stream that was paused because its reader was behind."""
        with self._lock:
            self._endpoint.resume(stream_id)
            self._pump(time.monotonic())

    def run(self) -> None:
        """Receive, and do what is due, until the client is closed."""
        with self._lock:
            self._running = True
            if not self.alive:
                return
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._socket, selectors.EVENT_READ)
                selector.register(self._wakeup_reader, selectors.EVENT_READ)
                while self.alive:
                    selector.select(self._time_to_wait())
                    self._hear()
        except BaseException:
            with self._lock:  # its readers would wait for ever
                self._failed = True
                self._fail_streams("the client's loop has failed")
            raise
        finally:
            self._release()

    def close(self) -> None:
        """Close the session, telling the server, and end `run`; streams that are still open are lost."""
        with self._lock:
            self._endpoint.close(now=time.monotonic())
            self._fail_streams("closed by the client")
            self._pump(time.monotonic())
            if self._running:
                self._wake()
            else:
                self._release()

    def _fail_streams(self, reason: str) -> None:
        for stream_id, stream in self._streams.items():
            stream.put(StreamFailed(stream_id, reason))
        self._streams.clear()

    def _time_to_wait(self) -> float | None:
        with self._lock:
            self._wakes_at = self._endpoint.get_timer()
            return None if self._wakes_at is None else max(0.0, self._wakes_at - time.monotonic())

    def _hear(self) -> None:
        """Take all that has come, then do what is due."""
        with self._lock:
            self._wakes_at = float("-inf")  # awake: no need to wake it
        with suppress(BlockingIOError):
            self._wakeup_reader.recv(_DATAGRAM)
        while (data := self._receive()) is not None:
            with self._lock:
                self._take(data, time.monotonic())
        with self._lock:
            now = time.monotonic()
            self._endpoint.handle_timer(now=now)
            self._pump(now)

    def _take(self, data: bytes, now: float) -> None:
        try:
            self._endpoint.receive_datagram(data, now=now)
        except RemoteProtocolError as error:
            self.malformed += 1
            _log.debug("< dropped: %s", error)
        else:
            self._pump(now)

    def _pump(self, now: float) -> None:
        """Send what waits, hand out the events, and wake `run` if it would sleep too long."""
        self._send_all(now)
        while (event := self._endpoint.next_event()) is not None:
            self._hand_out(event)
            self._send_all(now)
        timer = self._endpoint.get_timer()
        if timer is not None and (self._wakes_at is None or timer < self._wakes_at):
            self._wake()

    def _send_all(self, now: float) -> None:
        for datagram in self._endpoint.datagrams_to_send(now=now):
            try:
                self._socket.send(datagram)
            except OSError as error:  # an ICMP error, or a full buffer: one datagram was lost, which the timers mend
                self._note_error(error, now)

    def _hand_out(self, event: ClientEvent) -> None:
        match event:
            case StreamToken(stream_id):
                if (stream := self._streams.get(stream_id)) is not None and stream.put(event):
                    self._endpoint.pause(stream_id)
            case StreamEnded(stream_id) | StreamFailed(stream_id):
                if (stream := self._streams.pop(stream_id, None)) is not None:
                    stream.put(event)
            case SessionLost(reason):
                _log.debug("= session lost: %s", reason)

    def _wake(self) -> None:
        try:
            self._wakeup_writer.send(b"!")
        except OSError as error:  # it is woken already, or `run` is over
            _log.debug("= not woken: %s", error)

    def _release(self) -> None:
        for each in (self._socket, self._wakeup_writer, self._wakeup_reader):
            each.close()

    def _receive(self) -> bytes | None:
        """Return a datagram that waits at the socket, or None."""
        try:
            return self._socket.recv(_DATAGRAM)
        except BlockingIOError:
            return None
        except OSError as error:
            with self._lock:
                self._note_error(error, time.monotonic())
            return None

    def _note_error(self, error: OSError, now: float) -> None:
        _log.debug("= %s", error)
        if isinstance(error, ConnectionRefusedError):
            self._endpoint.path_refused(now=now)
