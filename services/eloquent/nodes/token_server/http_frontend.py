"""The HTTP side of the token server: OpenAI's chat completions, streamed as server-sent events (docs/http.md).

Rules of this file: a client that leaves ends its answer's production. What the server itself cuts off at its end gets 503, or, if
it has begun, breaks the chunked encoding. Errors are OpenAI's JSON objects, with a gRPC status in lower case as their code.
"""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import grpc
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from eloquent import congestion
from eloquent.addresses import listen_on
from eloquent.calls import chat, chat_request
from eloquent.calls.chat_request import ChatRequest, InvalidRequest
from eloquent.nodes.token_server.completion import Completion
from eloquent.nodes.token_server.http_connection import ABORT, ACCOUNT, DESCRIPTOR, HttpConnection
from eloquent.nodes.token_server.model import Caller, Generation, GenerationParameters, InvalidParameter, Model
from eloquent.serving.admission import Admission, Refused

USUAL_TOKENS = 200  # of an answer whose request sets no limit: 20 s at the usual pace

_IDLE_TIME = 3600  # seconds that a connection may wait for its next request: a viewer keeps its own open
_FLUSH_TIME = 1  # seconds for the last bytes to leave after the last answer
_MAX_BODY = 8_000_000  # bytes of a request; the prompt's own limit is lower
_HTTP = {
    grpc.StatusCode.RESOURCE_EXHAUSTED: (429, "rate_limit_error"),
    grpc.StatusCode.UNAVAILABLE: (503, "server_error"),
}


class HttpFrontend:
    """An HTTP server that offers chat completions, models, and health.

    Args:
        model: What answers.
        admission: Who is let in.
        request_time: Seconds in which a request has to arrive.
    """

    def __init__(self, model: Model, admission: Admission, *, request_time: float) -> None:
        self._model = model
        self._admission = admission
        self._request_time = request_time
        self._closing = asyncio.Event()  # answers that still run are cut off
        self._serving: dict[_Server, asyncio.Task[None]] = {}  # one an address
        self.app = Starlette(
            routes=[
                Route(chat.PATH, self._complete, methods=["POST"]),
                Route("/v1/models", _models),
                Route("/v1/models/{name:path}", _one_model),
                Route("/health", self._health),
            ],
            exception_handlers={HTTPException: _refuse_http},
        )

    async def open(self, address: str, *, congestion_control: str = "") -> int:
        """Listen, at one more address if it does already, and let clients in.

        Args:
            address: `HOST:PORT`; port 0 takes a free one.
            congestion_control: Of the connections; empty for the machine's own.

        Returns:
            The port.

        Raises:
            ConfigurationError: The address is malformed or cannot be bound, or the kernel lacks the congestion control.
        """
        listener = listen_on(address)
        if congestion_control:
            congestion.set_control(listener, congestion_control)
        config = uvicorn.Config(
            self.app,
            http=partial(HttpConnection, request_time=self._request_time),  # type: ignore[arg-type]  # makes one
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_IDLE_TIME,
            timeout_graceful_shutdown=_FLUSH_TIME,
        )
        server = _Server(config)
        self._serving[server] = asyncio.create_task(server.serve(sockets=[listener]))
        return int(listener.getsockname()[1])

    async def drain(self, grace: float) -> None:
        """Refuse new streams, wait for those inside at most so many seconds, then cut what is left and stop serving."""
        await self._admission.drain(grace)
        self._closing.set()
        for server in self._serving:
            server.should_exit = True
        await asyncio.gather(*self._serving.values())

    async def _complete(self, request: Request) -> Response:
        try:
            asked = chat_request.parse(await _body(request))
            answer = self._begin(asked)
        except InvalidRequest as error:
            return _refusal(400, str(error), grpc.StatusCode.INVALID_ARGUMENT, error.param)
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it
        completion = Completion(asked, answer, self._model, _caller(request))
        return _Admitted(self._admission, completion, self._closing)

    def _begin(self, asked: ChatRequest) -> Generation:
        """Begin the answer to a request.

        Raises:
            InvalidRequest: The model does not take it.
        """
        own = asked.eloquent or chat_request.Extension()
        parameters = GenerationParameters(
            prompt=asked.prompt,
            max_tokens=asked.max_completion_tokens or asked.max_tokens or 0,
            usual_tokens=USUAL_TOKENS,
            stops=tuple(asked.stop),
            source=own.source,
            token_gap=own.token_gap_s,
            first_token_delay=own.first_token_delay_s,
        )
        try:
            return self._model.answer(parameters)
        except InvalidParameter as error:
            if error.field == "prompt":
                raise InvalidRequest(f"messages: the {error}", "messages") from error
            param = _param(error.field, asked)
            raise InvalidRequest(f"{param} {error.complaint}", param) from error

    async def _health(self, _: Request) -> Response:
        draining = self._admission.draining
        return JSONResponse({"status": "draining" if draining else "ok"}, 503 if draining else 200)


def _param(field: str, asked: ChatRequest) -> str:
    """Return what a request calls a field of a parameters."""
    if field == "max_tokens":
        return "max_completion_tokens" if asked.max_completion_tokens else field
    return f"eloquent.{field}" if field == "source" else f"eloquent.{field}_s"


class _Admitted(Response):
    """A response that is made inside: it counts as a stream until it is produced, and ends when its client leaves.

    Args:
        admission: Who is let in.
        completion: The answer.
        closing: Set when answers that still run are to be cut off.
    """

    def __init__(self, admission: Admission, completion: Completion, closing: asyncio.Event) -> None:
        super().__init__()
        self._admission = admission
        self._completion = completion
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with ExitStack() as place:
                place.enter_context(self._admission.inside())
                await _while_wanted(self._completion.send(send, place.close), receive, self._closing)
        except Refused as refused:
            if self._completion.started:
                scope["state"][ABORT]()
                return
            status, kind = _HTTP[refused.code]
            response = _refusal(status, str(refused), refused.code, kind=kind)
            response.headers["retry-after"] = "1"
            await response(scope, receive, send)


async def _while_wanted(work: Awaitable[None], receive: Receive, closing: asyncio.Event) -> None:
    """Do some work, and cancel it when the client leaves or the server ends.

    Raises:
        Refused: The server ends before the work has.
    """

    async def left() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    tasks = working, leaving, cut = (
        asyncio.ensure_future(work),
        asyncio.create_task(left()),
        asyncio.create_task(closing.wait()),
    )
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        was_cut = cut.done()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    if not working.cancelled():
        working.result()  # raises what went wrong
    elif was_cut:
        raise Refused(grpc.StatusCode.UNAVAILABLE, "this node is shutting down; the answer was not complete by then")
    elif not leaving.done() or leaving.cancelled():
        raise asyncio.CancelledError


async def _body(request: Request) -> bytes:
    """Read a request's body.

    Raises:
        InvalidRequest: It is longer than this server takes.
        ClientDisconnect: The client has left.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MAX_BODY:
            raise InvalidRequest(f"the request is longer than {_MAX_BODY} bytes")
    return bytes(body)


def _caller(request: Request) -> Caller:
    state = request.scope["state"]
    return Caller(request.headers, state[DESCRIPTOR]() if DESCRIPTOR in state else None, state.get(ACCOUNT))


def _refusal(
    status: int, message: str, code: grpc.StatusCode, param: str | None = None, *, kind: str = "invalid_request_error"
) -> JSONResponse:
    return JSONResponse(chat.error_body(message, kind=kind, code=code.name.lower(), param=param), status)


async def _refuse_http(_: Request, error: Exception) -> Response:
    """Word as OpenAI does what Starlette refuses: an unknown path, or a wrong method."""
    assert isinstance(error, HTTPException)
    response = _refusal(error.status_code, error.detail, grpc.StatusCode.UNIMPLEMENTED)
    response.headers.update(error.headers or {})
    return response


_DESCRIPTION = {"id": chat.MODEL, "object": "model", "created": 0, "owned_by": "eloquent"}


async def _models(_: Request) -> Response:
    return JSONResponse({"object": "list", "data": [_DESCRIPTION]})


async def _one_model(request: Request) -> Response:
    if (name := request.path_params["name"]) == chat.MODEL:
        return JSONResponse(_DESCRIPTION)
    return _refusal(404, f"there is no model '{name}', only '{chat.MODEL}'", grpc.StatusCode.NOT_FOUND, "model")


class _Server(uvicorn.Server):
    """Leaves the signals to the node."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
