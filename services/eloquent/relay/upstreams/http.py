"""Ask a model server over HTTP, and pass on what it answers, byte for byte.

Rules of this file
- An event stream is cut into its events, each a token; other content goes as it comes, in pieces.
- Content comes decoded: an event must not wait in a compressor.
- An event stream of completions that ends without saying so has broken off, whatever the connection says: a client would
  take it for whole.
"""

import io
import json
import re
from collections import deque
from collections.abc import Iterator
from http import HTTPStatus

import aiohttp
from yarl import URL

from eloquent.api.v1.exchange_pb2 import HttpField, HttpHead, HttpRequest, Outcome
from eloquent.protocol.limits import ByteBudget
from eloquent.relay.exchange import encode_outcome, passed_on
from eloquent.relay.upstreams.base import Sink, send

CONNECT_TIMEOUT = 10.0  # seconds
PIECE = 16 * 1024  # bytes of content that is no event stream
MAX_EVENT = 1 << 20  # bytes: what a token may have
_OURS = frozenset({b"host", b"content-length", b"accept-encoding"})
_OF_ENCODED = frozenset({b"content-encoding", b"content-length"})
_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r|\r\n\n|\n\r\n")
_GOOD_END = re.compile(  # by the words of OpenAI's completions and responses, of Anthropic, and of errors
    rb"^data: ?\[DONE\]|\"finish_reason\"\s*:\s*\"|^data: ?\{\s*\"error\"\s*:|^event: ?error"
    rb"|\"type\"\s*:\s*\"(?:response\.(?:completed|failed|incomplete)|message_stop|error)\"",
    re.MULTILINE,
)
_END_EVENTS = 16  # the last of a stream, one of which says that it is complete: what follows it are usage and comments
_COMPLETIONS = re.compile(r"/(?:completions|responses|messages)(?:\?|$)")


class HttpUpstream:
    """A model server that speaks HTTP.

    Args:
        base: Its address, such as http://127.0.0.1:8000; a path there comes before the client's.
        silence: Seconds without anything from the model after which an answer is given up; None for never.
        max_held: Bytes of requests that the server has not taken, beyond which no more are asked.

    Attributes:
        refused: How often a request was refused for that.
    """

    def __init__(self, base: str, *, silence: float | None = None, max_held: int = 1 << 28) -> None:
        self._base = base.rstrip("/")
        self.refused = 0
        self._held = ByteBudget(max_held)
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=silence)
        self._client: aiohttp.ClientSession | None = None

    @property
    def held(self) -> int:
        """Bytes of requests that the server has not taken."""
        return self._held.held

    async def open(self) -> None:
        """Get ready to ask."""
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar()
        )

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()

    async def ask(self, request: HttpRequest, sink: Sink) -> bytes:
        """Ask, send the head and the content of the answer, and return the trailer; cancelled, leave the server.

        Args:
            request: The client's.
            sink: Takes the tokens.
        """
        assert self._client is not None
        kept = [(field.name, field.value.decode("latin-1")) for field in passed_on(_raw(request), without=_OURS)]
        size = len(request.body)
        if not self._held.take(size):
            self.refused += 1
            return await _refuse(HTTPStatus.SERVICE_UNAVAILABLE, "the origin relay holds too many long requests", sink)
        try:
            response = await self._client.request(
                request.method,
                URL(self._base + request.target, encoded=True),
                headers=[*kept, ("accept-encoding", "identity")],
                data=io.BytesIO(request.body) if request.body else None,
                allow_redirects=False,
                skip_auto_headers=("content-type", "user-agent", "accept"),
            )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            status = HTTPStatus.GATEWAY_TIMEOUT if isinstance(error, TimeoutError) else HTTPStatus.BAD_GATEWAY
            return await _refuse(status, f"the model server cannot be asked: {_reason(error)}", sink)
        finally:
            self._held.take(-size)
        async with response:
            is_stream = response.content_type == "text/event-stream"
            is_longer = is_stream or "content-encoding" in response.headers
            head = HttpHead(
                status=response.status,
                reason=response.reason or "",
                fields=passed_on(response.raw_headers, without=_OF_ENCODED if is_longer else frozenset()),
                is_event_stream=is_stream,
            )
            await send(sink, head.SerializeToString())
            try:
                said_end = await (self._send_events(response, sink) if is_stream else self._send_pieces(response, sink))
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                return encode_outcome(Outcome.BROKEN, f"the model server broke off: {_reason(error)}")
        if not said_end and response.status == HTTPStatus.OK and _COMPLETIONS.search(request.target):
            message = "the model server ended the stream without saying that it is complete"
            return encode_outcome(Outcome.BROKEN, message)
        return encode_outcome(Outcome.COMPLETE)

    async def _send_events(self, response: aiohttp.ClientResponse, sink: Sink) -> bool:
        """Send the events of a stream; return whether one of them says that the answer is complete, or failed."""
        events = EventSplitter()
        latest: deque[bytes] = deque(maxlen=_END_EVENTS)
        async for piece in response.content.iter_any():
            for event in events.feed(piece):
                latest.append(event)
                for start in range(0, len(event), MAX_EVENT):
                    await send(sink, event[start : start + MAX_EVENT])
        if rest := events.rest:
            await send(sink, rest)
        return any(_GOOD_END.search(event) for event in latest)

    async def _send_pieces(self, response: aiohttp.ClientResponse, sink: Sink) -> bool:
        async for piece in response.content.iter_chunked(PIECE):
            await send(sink, piece)
        return True


class EventSplitter:
    """Cuts an event stream after each event (WHATWG HTML, 9.2.6), without changing a byte."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Take some bytes and yield the events that they complete."""
        searched = max(len(self.rest) - 3, 0)
        data = self.rest + piece
        start = 0
        for end in _EVENT_END.finditer(data, searched):
            yield data[start : end.end()]
            start = end.end()
        self.rest = data[start:]
        if len(self.rest) > MAX_EVENT:
            yield self.rest
            self.rest = b""


async def _refuse(status: HTTPStatus, message: str, sink: Sink) -> bytes:
    """Send an error of our own, in the form that OpenAI's clients read, and return the trailer.

    Args:
        status: Of HTTP.
        message: For the client.
        sink: Takes the tokens.
    """
    error = {"message": message, "type": "relay_error", "param": None, "code": "relay_error"}
    fields = [HttpField(name="content-type", value=b"application/json")]
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        fields.append(HttpField(name="retry-after", value=b"1"))
    await send(sink, HttpHead(status=status, fields=fields).SerializeToString())
    await send(sink, json.dumps({"error": error}).encode())
    return encode_outcome(Outcome.COMPLETE)


def _raw(request: HttpRequest) -> list[tuple[bytes, bytes]]:
    return [(field.name.encode("latin-1"), field.value) for field in request.fields]


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
