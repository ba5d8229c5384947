"""The edge's side of the path to the origin relay by one carrier: answers, sorted into one queue a stream.

Rules of this file: a queue ends with exactly one of `StreamEnded` and `StreamFailed`. While a client is far behind, its
stream is paused, which slows the model down as a direct connection would.
"""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Protocol, Self

from eloquent import schemes, telemetry
from eloquent.addresses import format_address
from eloquent.drivers.udp import Destination, UdpClient
from eloquent.protocol.session import (
    ClientEvent,
    SessionLost,
    StreamEnded,
    StreamFailed,
    StreamToken,
    Tally,
)
from eloquent.relay.carriers import websocket
from eloquent.relay.driver_counts import DriverCounts
from eloquent.relay.quic import udp as quic
from eloquent.relay.quic.certificate import Identity
from eloquent.relay.sealed import udp

PAUSE_AT = 512  # tokens of one stream that wait for its client, from which the stream is paused
RESUME_AT = 128  # tokens down to which it is resumed
HELLO_TIMEOUT = 2.0  # seconds without a sign of life after which that is reported
SAMPLE_INTERVAL = 0.5  # seconds between two samples of the gauges

_log = logging.getLogger(__name__)


class CarrierName(StrEnum):
    """What brings datagrams to the origin relay."""

    UDP = "udp"
    TCP = "tcp"
    QUIC = "quic"


class RelayedAnswer:
    """One stream of an uplink, to be read with `next` up to its end.

    Args:
        uplink: Where it comes from.
        stream_id: Its number there.
    """

    def __init__(self, uplink: "Uplink", stream_id: int) -> None:
        self._uplink = uplink
        self._stream_id = stream_id
        self._paused = False
        self._waiting: deque[StreamToken | StreamEnded | StreamFailed] = deque()
        self._news = asyncio.Event()
        self._sink: Callable[[bytes], bool] | None = None  # takes tokens at once

    @property
    def carrier(self) -> CarrierName:
        """What brings it."""
        return self._uplink.carrier

    async def next(self) -> StreamToken | StreamEnded | StreamFailed:
        """Wait for the next token, or for the end of the stream."""
        while not self._waiting:
            self._news.clear()
            await self._news.wait()
        event = self._waiting.popleft()
        self._resume()
        return event

    async def pour(self, sink: Callable[[bytes], bool]) -> StreamEnded | StreamFailed | None:
        """Give a sink each token at once when it comes, as long as it has room.

        Args:
            sink: Takes the next token; returns whether there is room for another.

        Returns:
            The end of the stream, or None as soon as the sink has no room.
        """
        while self._waiting:
            event = self._waiting.popleft()
            self._resume()
            if not isinstance(event, StreamToken):
                return event
            if not sink(event.data):
                return None
        self._sink = sink
        try:
            self._news.clear()
            await self._news.wait()
        finally:
            self._sink = None
        if not self._waiting or isinstance(end := self._waiting[0], StreamToken):
            return None
        self._waiting.popleft()
        return end

    def take_ready(self) -> list[bytes]:
        """Return the tokens that have come already, up to the end."""
        tokens = []
        while self._waiting and isinstance(event := self._waiting[0], StreamToken):
            self._waiting.popleft()
            tokens.append(event.data)
        self._resume()
        return tokens

    def cancel(self) -> None:
        """Tell the origin relay that nobody wants the rest; does nothing after the end."""
        self._uplink.cancel(self._stream_id)

    def put(self, event: StreamToken | StreamEnded | StreamFailed) -> None:
        """Take what the endpoint reported: hand it on, or queue it."""
        if self._sink is not None and isinstance(event, StreamToken):
            if not self._sink(event.data):
                self._sink = None
                self._news.set()
            return
        self._sink = None
        self._waiting.append(event)
        self._news.set()
        if not self._paused and len(self._waiting) >= PAUSE_AT:
            self._paused = True
            self._uplink.pause(self._stream_id)

    def _resume(self) -> None:
        if self._paused and len(self._waiting) <= RESUME_AT:
            self._paused = False
            self._uplink.resume(self._stream_id)


class Way(Protocol):
    """What answers come by."""

    def open(self, request: bytes, *, scheme: str) -> RelayedAnswer:
        """Send a request and return its answer (`Uplink.open`)."""


class Uplink:
    """The way to the origin relay by one carrier; `connect` and its like make it.

    Attributes:
        carrier: What that is.
    """

    _client: UdpClient
    _counts: DriverCounts

    def __init__(self, where: str, carrier: CarrierName) -> None:
        self.carrier = carrier
        self._where = where
        self._answers: dict[int, RelayedAnswer] = {}
        self._awaited_since = asyncio.get_running_loop().time()  # meaningful while something is awaited

    @classmethod
    async def connect(cls, origin: Destination, metrics: telemetry.SessionMetrics, *, key: bytes | None = None) -> Self:
        """Open a socket towards the origin relay, and ask it for a sign of life.

        Args:
            origin: Its host and port, or a socket that is connected to them.
            metrics: What is counted.
            key: 32 bytes, shared with it; None sends plaintext, which is for closed networks only.

        Raises:
            OSError: There is no way to that address.
        """
        uplink = cls(_name_of(origin), CarrierName.UDP)
        tally = Tally(sent=metrics.sent, received=metrics.received)
        if key is None:
            uplink._client = await UdpClient.connect(origin, schemes.get, uplink._on_event, tally=tally)
        else:
            uplink._client = await udp.connect(origin, schemes.get, uplink._on_event, key=key, tally=tally)
        uplink._counts = DriverCounts(uplink._client, metrics)
        uplink.say_hello()
        return uplink

    @classmethod
    def connect_over_tcp(cls, url: str, metrics: telemetry.SessionMetrics, *, key: bytes) -> Self:
        """Begin to open a WebSocket towards the origin relay, and ask it for a sign of life.

        Args:
            url: Of the origin relay, ws or wss.
            metrics: What is counted.
            key: 32 bytes, shared with it.
        """
        uplink = cls(url, CarrierName.TCP)
        tally = Tally(sent=metrics.sent, received=metrics.received)
        uplink._client = websocket.connect(url, uplink._on_event, key=key, tally=tally)
        uplink._counts = DriverCounts(uplink._client, metrics)
        uplink.say_hello()
        return uplink

    @classmethod
    async def connect_over_quic(
        cls, origin: Destination, metrics: telemetry.SessionMetrics, *, key: bytes, identity: Identity
    ) -> Self:
        """Open a socket towards the origin relay, and begin a QUIC connection over it.

        Args:
            origin: Its host and port, or a socket that is connected to them.
            metrics: What is counted.
            key: 32 bytes, shared with it.
            identity: Whom to take for it.

        Raises:
            OSError: There is no way to that address.
        """
        uplink = cls(_name_of(origin), CarrierName.QUIC)
        tally = Tally(sent=metrics.sent, received=metrics.received)
        uplink._client = await quic.connect(
            origin, schemes.get, uplink._on_event, key=key, identity=identity, tally=tally
        )
        uplink._counts = DriverCounts(uplink._client, metrics)
        uplink.say_hello()
        return uplink

    @property
    def heard_at(self) -> float | None:
        """When the origin relay was last heard of, in seconds of the loop's clock, or None."""
        return self._client.endpoint.heard_at

    @property
    def sessions(self) -> int:
        """How many sessions are open."""
        return self._client.endpoint.sessions

    @property
    def is_idle(self) -> bool:
        """Whether no answer is on its way."""
        return not self._answers

    def silence(self, now: float) -> float:
        """Return for how many seconds something has been awaited and nothing was heard; 0 if nothing is awaited."""
        if self.is_idle and self.heard_at is not None:
            return 0.0
        return now - max(self._awaited_since, self.heard_at or 0.0)

    def show(self, metrics: telemetry.UplinkMetrics) -> None:
        """Bring the metrics of the path up to date."""
        self._counts.look()
        if (rtt := self._client.endpoint.rtt) is not None:
            metrics.path_rtt.set(rtt)
        metrics.path_silence.set(self.silence(asyncio.get_running_loop().time()))

    def say_hello(self) -> None:
        """Ask for a sign of life, if there was none yet."""
        self._client.say_hello()

    async def watch(self, metrics: telemetry.UplinkMetrics) -> None:
        """Report an origin relay that does not answer, and keep the metrics up to date that no event reports, for ever."""
        began, reported, sessions = asyncio.get_running_loop().time(), False, 0
        while True:
            self.say_hello()
            metrics.sessions.inc(self.sessions - sessions)  # a process may have more than one uplink
            sessions = self.sessions
            self.show(metrics)
            waited = asyncio.get_running_loop().time() - began
            if self.heard_at is None and waited >= HELLO_TIMEOUT and not reported:
                reported = True
                _log.warning(
                    "the origin relay at %s has not answered for %.0f s; questions wait for it", self._where, waited
                )
            elif self.heard_at is not None and reported:
                reported = False
                _log.warning("the origin relay at %s answers", self._where)
            await asyncio.sleep(SAMPLE_INTERVAL)

    def open(self, request: bytes, *, scheme: str) -> RelayedAnswer:
        """Send a request and return its answer.

        Raises:
            ConfigurationError: There is no such scheme, or it is not carried by datagrams.
            LocalProtocolError: Too many streams are open.
        """
        if self.is_idle:
            self._awaited_since = asyncio.get_running_loop().time()
        stream_id = self._client.open_stream(request, scheme=scheme)
        answer = self._answers[stream_id] = RelayedAnswer(self, stream_id)
        return answer

    def pause(self, stream_id: int) -> None:
        """Hold back a stream."""
        self._client.pause(stream_id)

    def resume(self, stream_id: int) -> None:
        """Go on with a stream, if it is still open."""
        if stream_id in self._answers:
            self._client.resume(stream_id)

    def cancel(self, stream_id: int) -> None:
        """Give up a stream, if it is still open."""
        if self._answers.pop(stream_id, None) is not None:
            self._client.cancel_stream(stream_id)

    def close(self) -> None:
        """Close the sessions and the socket."""
        self._client.close()

    async def wait_closed(self) -> None:
        """Wait until it is closed."""
        await self._client.wait_closed()

    def abandon(self, reason: str) -> None:
        """Give up a path that has died, without a word, so that the origin relay keeps what it has; all answers fail.

        Args:
            reason: A few words.
        """
        self._client.abandon()
        answers, self._answers = self._answers, {}
        for stream_id, answer in answers.items():
            answer.put(StreamFailed(stream_id, reason, self._client.endpoint.request_state(stream_id)))

    def _on_event(self, event: ClientEvent) -> None:
        match event:
            case StreamToken():
                if answer := self._answers.get(event.stream_id):
                    answer.put(event)
            case StreamEnded() | StreamFailed():
                if answer := self._answers.pop(event.stream_id, None):
                    answer.put(event)
            case SessionLost(reason):
                _log.warning("a session with the origin relay at %s is over: %s", self._where, reason)


def _name_of(origin: Destination) -> str:
    """Return what messages call an origin relay."""
    return format_address(origin.getpeername()[:2] if isinstance(origin, socket.socket) else origin)
