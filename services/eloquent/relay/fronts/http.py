"""Offer a model server's HTTP API to the clients of this side, and carry each request to the origin relay.

Rules of this file
- What the client gets is what the server sent, byte for byte; nothing of it is understood here but where an event ends.
- An answer that is not whole never ends cleanly: an event stream gets an error event, and the connection is cut.
- While nothing comes, an event stream gets a comment now and then, so that nobody on the way takes it for dead.
- A client that leaves has its question withdrawn, so that the model stops.
- A client who asks for event ids (`Eloquent-Event-Ids: 1`) gets a line with an id at the end of each event, and may come back
  for the rest with the last of them (`Last-Event-ID`), to any edge of the origin relay; his question is not withdrawn at once.
"""

import asyncio
import json
import logging
import re
import socket
from collections.abc import Callable, Mapping
from http import HTTPStatus

from aiohttp import web
from prometheus_client import CollectorRegistry

from eloquent import telemetry
from eloquent.api.v1.exchange_pb2 import HttpField, HttpHead, HttpRequest, Outcome
from eloquent.errors import ConfigurationError, LocalProtocolError, RemoteProtocolError
from eloquent.protocol.limits import ByteBudget
from eloquent.relay.answers import EdgeAnswer
from eloquent.relay.exchange import ANSWER_ID_SIZE, MAX_HEAD, decode_head, passed_on
from eloquent.relay.front_accounts import ClientAccount, FrontAccounts
from eloquent.relay.uplink import Way

KEEP_ALIVE = 15.0  # seconds of silence after which an event stream gets a comment
_COMMENT = b": keep-alive\n\n"
_STATUS = {
    Outcome.REFUSED: 503,
    Outcome.STOPPING: 503,
    Outcome.GONE: 502,
}  # of answers that failed before they began, and may be asked for again
_FINAL_STATUS = {Outcome.INVALID: 400, Outcome.UNSUPPORTED: 501}  # of those that would fail again
_EVENT_ID = re.compile(rf"([0-9a-f]{{{2 * ANSWER_ID_SIZE}}})\.(\d{{1,15}})")  # of an answer, and index of a token there
_BLANK_LINE = re.compile(rb"(?:(?<=\n)(?:\r\n|\n|\r)|(?<=\r)(?:\r\n|\r))\Z")
_OURS = frozenset({b"host", b"content-length", b"expect", b"eloquent-event-ids"})
_STREAM_FIELDS = {"cache-control": "no-cache", "x-accel-buffering": "no", "incremental": "?1"}

_log = logging.getLogger(__name__)


class _Refusal(Exception):
    """An answer of our own, in the form that OpenAI's clients read.

    Args:
        status: Of HTTP.
        message: For the client.
        retry: Whether asking again would not ask the model twice.
    """

    def __init__(self, status: int, message: str, *, retry: bool = False) -> None:
        body = {"error": {"message": message, "type": "relay_error", "param": None, "code": "relay_error"}}
        headers = {"x-should-retry": str(retry).lower()}
        if retry and status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers["retry-after"] = "1"
        self.response = web.json_response(body, status=status, headers=headers)


class HttpFront:
    """An HTTP server, in front of the way to the origin relay.

    Args:
        uplink: The way.
        scheme_of: Tells by the header of a request the name of the scheme that carries its answer, or raises
            ConfigurationError.
        keep_alive: Seconds of silence after which an event stream gets a comment; None for never.
        max_request: Bytes of a request's content.
        max_held: Bytes of the requests that are not answered yet.
        metrics: What is counted of answers; None for where nobody asks.
    """

    def __init__(
        self,
        uplink: Way,
        *,
        scheme_of: Callable[[Mapping[str, str]], str],
        keep_alive: float | None = KEEP_ALIVE,
        max_request: int,
        max_held: int,
        metrics: telemetry.FrontMetrics | None = None,
    ) -> None:
        self._uplink = uplink
        self._held = ByteBudget(max_held)
        metrics = telemetry.FrontMetrics(CollectorRegistry()) if metrics is None else metrics
        self._accounts = FrontAccounts(metrics, time=asyncio.get_running_loop().time)
        metrics.held_requests.set_function(lambda: self._held.held)
        self._scheme_of = scheme_of
        self._keep_alive = keep_alive
        self._max_request = max_request
        self._draining = False
        self._server = web.Server(self._handle, handler_cancellation=True, auto_decompress=False, access_log=None)
        self._runner = web.ServerRunner(self._server)

    async def open(self, listener: socket.socket) -> None:
        """Serve clients on a socket that listens."""
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()

    async def drain(self, grace: float) -> None:
        """Refuse new requests and wait for those that run; cut what is left after the grace time, in seconds."""
        self._draining = True
        await self._server.shutdown(grace)
        await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._draining:
            return _Refusal(503, "the edge relay is shutting down", retry=True).response
        try:
            scheme = self._scheme_of(request.headers)
        except ConfigurationError as error:
            return _Refusal(400, str(error)).response
        answer, account = EdgeAnswer(self._uplink, scheme), self._accounts.begin(scheme)
        last = _EVENT_ID.fullmatch(request.headers.get("last-event-id", ""))
        try:
            if last is None:
                head, first = await self._ask(request, answer), None
            else:
                head, first = await self._go_on(answer, bytes.fromhex(last[1]), int(last[2]) + 1)
                answer.resumptions += 1
            return await self._pass_on(request, answer, account, head, first)
        except _Refusal as refusal:
            account.outcome = "refused"
            return refusal.response
        finally:
            answer.cancel()
            self._accounts.end(account, resumptions=answer.resumptions)

    async def _ask(self, request: web.BaseRequest, answer: EdgeAnswer) -> HttpHead:
        """Carry a request to the origin relay, and return the head of the answer.

        Raises:
            _Refusal: There is no answer.
        """
        asked = HttpRequest(
            method=request.method, target=request.raw_path, fields=passed_on(request.raw_headers, without=_OURS)
        )
        if not asked.target.startswith("/"):
            raise _Refusal(400, "the target of the request is not a path")
        if asked.ByteSize() > MAX_HEAD:
            raise _Refusal(431, "the header of the request is too long to be passed on")
        held = ByteBudget(self._max_request, self._held)
        try:
            asked.body = await _read(request, held)
            answer.begin(asked, is_resumable=_wants_ids(request))
            asked.ClearField("body")
            first = await answer.next()
            if isinstance(first, Outcome):
                message = first.message or "the origin relay ended the answer before it began"
                status = (_STATUS | _FINAL_STATUS).get(first.kind, 502)
                raise _Refusal(status, message, retry=first.kind in _STATUS)
            return decode_head(first)
        except LocalProtocolError as error:
            raise _Refusal(503, f"the edge relay cannot ask: {error}", retry=True) from error
        except RemoteProtocolError as error:
            raise _Refusal(502, str(error)) from error
        finally:
            held.take(-held.held)

    async def _go_on(self, answer: EdgeAnswer, answer_id: bytes, position: int) -> tuple[HttpHead, bytes | Outcome]:
        """Ask for the rest of an event stream; return a head for it, and its first token or its end.

        Raises:
            _Refusal: The origin relay does not have it any more, or cannot be asked.
        """
        try:
            answer.go_on(answer_id, position)
        except LocalProtocolError as error:
            raise _Refusal(503, f"the edge relay cannot ask: {error}", retry=True) from error
        first = await answer.next()
        if isinstance(first, Outcome) and first.kind == Outcome.GONE:
            raise _Refusal(410, first.message)
        kind = HttpField(name="content-type", value=b"text/event-stream; charset=utf-8")
        return HttpHead(status=200, fields=[kind], is_event_stream=True), first

    async def _pass_on(
        self,
        request: web.BaseRequest,
        answer: EdgeAnswer,
        account: ClientAccount,
        head: HttpHead,
        first: bytes | Outcome | None,
    ) -> web.StreamResponse:
        """Write an answer to its client.

        Args:
            request: The client's.
            answer: The answer.
            account: Where it is counted.
            head: Its head.
            first: What comes first, if that is known already.
        """
        response = _make_response(head)
        await response.prepare(request)
        if head.is_event_stream:
            account.is_event_stream = True
            with_ids = first is not None or _wants_ids(request)
            outcome = await self._events(response, answer, account, first, with_ids=with_ids)
        else:
            outcome = await self._pieces(response, answer)
        if outcome.kind == Outcome.COMPLETE:
            await response.write_eof()
            account.outcome = "ok"
        else:
            account.outcome = "broken"
            _log.warning("an answer was cut: %s", outcome.message)
            if head.is_event_stream:
                await response.write(_error_event(outcome))
            if request.transport is not None:
                request.transport.close()
        return response

    async def _events(
        self,
        response: web.StreamResponse,
        answer: EdgeAnswer,
        account: ClientAccount,
        event: bytes | Outcome | None,
        *,
        with_ids: bool,
    ) -> Outcome:
        """Write events as they come, and return how the stream ended."""
        while not isinstance(event, Outcome):
            if event is not None:
                number = answer.position - 1
                events = [event, *answer.take_ready()]
                account.take(events, answer.carrier)
                if with_ids:
                    events = [_with_id(data, f"{answer.id.hex()}.{at}") for at, data in enumerate(events, number)]
                await response.write(b"".join(events))
            try:
                async with asyncio.timeout(self._keep_alive):
                    event = await answer.next()
            except TimeoutError:
                self._accounts.metrics.comments.inc()
                await response.write(_COMMENT)
                event = None
        return event

    async def _pieces(self, response: web.StreamResponse, answer: EdgeAnswer) -> Outcome:
        """Write content as it comes, and return how it ended."""
        while not isinstance(piece := await answer.next(), Outcome):
            await response.write(b"".join([piece, *answer.take_ready()]))
        return piece


async def _read(request: web.BaseRequest, held: ByteBudget) -> bytes:
    """Return the content of a request.

    Args:
        request: The client's.
        held: What one request may hold, within what all may.

    Raises:
        _Refusal: It is too long, or there is no room for it now.
    """
    content = bytearray()
    async for piece in request.content.iter_any():
        if held.held + len(piece) > held.limit:
            raise _Refusal(413, f"the request is longer than {held.limit} bytes")
        if not held.take(len(piece)):
            raise _Refusal(503, "the edge relay holds too many long requests; try again later", retry=True)
        content += piece
    return bytes(content)


def _wants_ids(request: web.BaseRequest) -> bool:
    return request.headers.get("eloquent-event-ids") == "1"


def _with_id(event: bytes, event_id: str) -> bytes:
    """Add an id to an event, before the blank line that ends it; a piece that does not end one is left as it is."""
    end = _BLANK_LINE.search(event)
    if end is None:
        return event
    return event[: end.start()] + b"id: " + event_id.encode() + 2 * end[0]


def _make_response(head: HttpHead) -> web.StreamResponse:
    response = web.StreamResponse(status=head.status, reason=head.reason or None)
    for field in head.fields:
        response.headers.add(field.name, field.value.decode("utf-8", "surrogateescape"))
    if head.is_event_stream:
        for name, value in _STREAM_FIELDS.items():
            response.headers.setdefault(name, value)
    return response


def _error_event(outcome: Outcome) -> bytes:
    message = outcome.message or "the answer is not whole"
    error = {"error": {"message": message, "type": "relay_error", "param": None, "code": "stream_broken"}}
    return b"data: " + json.dumps(error).encode() + b"\n\n"
