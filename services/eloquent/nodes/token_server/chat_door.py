"""The HTTP side of the token server: OpenAI's chat completions, streamed as server-sent events (docs/http.md).

Rules of this file: each token is one write, at once, on a socket without Nagle's delay. A client that leaves ends its
answer's production. A stream that is cut breaks the chunked encoding and never looks finished. Errors are OpenAI's JSON
objects, with a gRPC status in lower case as their code.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import uvicorn
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from eloquent.addresses import listen_on
from eloquent.api.v1.token_service_pb2 import GenerateResponse
from eloquent.calls import chat
from eloquent.errors import ConfigurationError
from eloquent.nodes.common.admission import Admission, Refused
from eloquent.nodes.token_server.model import Answer, Caller, Model, Question

_IDLE_TIME = 3600  # seconds that a connection may wait for its next request: a viewer keeps its own open
_FLUSH_TIME = 1  # seconds for the last bytes to leave after the last answer
_MAX_BODY = 8_000_000  # bytes of a request; the prompt's own limit is lower
_HTTP = {
    grpc.StatusCode.RESOURCE_EXHAUSTED: (429, "rate_limit_error"),
    grpc.StatusCode.UNAVAILABLE: (503, "server_error"),
}


class ChatDoor:
    """An HTTP server that offers chat completions, a list of models, and health.

    Args:
        model: What answers.
        admission: Who is let in.
    """

    def __init__(self, model: Model, admission: Admission) -> None:
        self._model = model
        self._admission = admission
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self.app = Starlette(
            routes=[
                Route(chat.PATH, self._complete, methods=["POST"]),
                Route("/v1/models", _models),
                Route("/health", _health),
            ],
            exception_handlers={HTTPException: _refuse_http},
        )

    async def open(self, address: str) -> int:
        """Listen and let clients in.

        Args:
            address: `HOST:PORT`; port 0 takes a free one.

        Returns:
            The port.

        Raises:
            ConfigurationError: The address is malformed or cannot be bound.
        """
        listener = listen_on(address)
        config = uvicorn.Config(
            self.app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_IDLE_TIME,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        return int(listener.getsockname()[1])

    async def drain(self, grace: float) -> None:
        """Refuse new streams, wait for those inside at most so many seconds, then stop serving and cut what is left."""
        await self._admission.drain(grace)
        if self._server is not None and self._serving is not None:
            self._server.config.timeout_graceful_shutdown = 0 if self._admission.active else _FLUSH_TIME
            self._server.should_exit = True
            await self._serving

    async def _complete(self, request: Request) -> Response:
        try:
            asked = chat.ChatRequest.model_validate_json(await _body(request))
            extension = asked.eloquent
            answer = self._model.answer(
                Question(
                    prompt=asked.prompt,
                    max_tokens=asked.max_completion_tokens or asked.max_tokens or 0,
                    source=extension.source,
                    token_gap=extension.token_gap_s,
                    first_token_delay=extension.first_token_delay_s,
                )
            )
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            return _invalid(first["msg"], ".".join(str(part) for part in first["loc"]) or None)
        except ConfigurationError as error:
            return _invalid(str(error))
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it
        stream = _Stream(asked, answer, self._model, _caller(request))
        return _Admitted(self._admission, stream.send_events if asked.stream else stream.send_whole)


@dataclass(slots=True)
class _Stream:
    """One answer as OpenAI words it."""

    asked: chat.ChatRequest
    answer: Answer
    model: Model
    caller: Caller
    head: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        identity = f"chatcmpl-{secrets.token_hex(12)}"
        self.head = {"id": identity, "created": int(time.time()), "model": self.asked.model}

    async def send_events(self, send: Send, produced: Callable[[], None]) -> None:
        """Send the answer as events, one a token; say when all are produced, which is before its client can know."""

        async def write(event: bytes) -> None:
            await send({"type": "http.response.body", "body": event, "more_body": True})

        async def write_token(token: GenerateResponse) -> None:
            own = {"index": token.index, "generated_at_ns": token.generated_at_ns}
            await write(self._chunk({"content": token.text}, eloquent=own))

        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        start = Response(headers=headers, media_type=chat.MEDIA_TYPE)
        start.raw_headers = [pair for pair in start.raw_headers if pair[0] != b"content-length"]
        with self.model.stream(self.answer, self.caller):
            await send({"type": "http.response.start", "status": 200, "headers": start.raw_headers})
            await write(self._chunk({"role": "assistant", "content": ""}))
            await self.model.produce(self.answer, write_token)
        produced()
        end = self._chunk({}, finish_reason=self._finish_reason())
        if self.asked.stream_options is not None and self.asked.stream_options.include_usage:
            end += chat.event(self.head | {"object": _CHUNK, "choices": [], "usage": self._usage()})
        await send({"type": "http.response.body", "body": end + chat.DONE})

    async def send_whole(self, send: Send, produced: Callable[[], None]) -> None:
        """Send the answer in one piece, when it is complete."""
        texts: list[str] = []

        async def keep(token: GenerateResponse) -> None:
            texts.append(token.text)

        with self.model.stream(self.answer, self.caller):
            await self.model.produce(self.answer, keep)
        produced()
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": "".join(texts)},
            "finish_reason": self._finish_reason(),
        }
        body = self.head | {"object": "chat.completion", "choices": [choice], "usage": self._usage()}
        await JSONResponse(body)({"type": "http"}, _nothing, send)

    def _chunk(self, delta: dict[str, str], *, finish_reason: str | None = None, **more: object) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return chat.event(self.head | {"object": _CHUNK, "choices": [choice]} | more)

    def _finish_reason(self) -> str:
        return "length" if self.answer.was_cut() else "stop"

    def _usage(self) -> dict[str, int]:
        """Count tokens; a prompt's are its words, for the model of the testbed has no tokenizer."""
        prompt, completion = len(self.asked.prompt.split()), self.answer.tokens
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


_CHUNK = "chat.completion.chunk"


class _Admitted(Response):
    """A response that is made inside: it counts as a stream until it is produced, and ends when its client leaves."""

    def __init__(self, admission: Admission, produce: Callable[[Send, Callable[[], None]], Awaitable[None]]) -> None:
        super().__init__()
        self._admission = admission
        self._produce = produce

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with ExitStack() as place:
                place.enter_context(self._admission.inside())
                await _while_connected(receive, self._produce(send, place.close))
        except Refused as refused:
            status, kind = _HTTP[refused.code]
            error = chat.error_body(str(refused), kind=kind, code=refused.code.name.lower())
            await JSONResponse(error, status, {"retry-after": "1"})(scope, receive, send)


async def _while_connected(receive: Receive, work: Awaitable[None]) -> None:
    """Do some work, and cancel it when the client leaves."""

    async def left() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    tasks = working, leaving = asyncio.ensure_future(work), asyncio.create_task(left())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    if not working.cancelled():
        working.result()  # raises what went wrong
    elif not leaving.done() or leaving.cancelled():
        raise asyncio.CancelledError


async def _body(request: Request) -> bytes:
    """Read a request's body.

    Raises:
        ConfigurationError: It is longer than this server takes.
        ClientDisconnect: The client has left.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MAX_BODY:
            raise ConfigurationError(f"the request is longer than {_MAX_BODY} bytes")
    return bytes(body)


def _caller(request: Request) -> Caller:
    assert request.client is not None  # uvicorn always names it for TCP
    host, port = request.client
    peer = f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"
    return Caller(peer, request.headers)


def _invalid(message: str, param: str | None = None) -> JSONResponse:
    code = grpc.StatusCode.INVALID_ARGUMENT.name.lower()
    return JSONResponse(chat.error_body(message, kind="invalid_request_error", code=code, param=param), 400)


async def _refuse_http(_: Request, error: Exception) -> Response:
    """Word as OpenAI does what Starlette refuses: an unknown path, or a wrong method."""
    assert isinstance(error, HTTPException)
    code = grpc.StatusCode.UNIMPLEMENTED.name.lower()
    body = chat.error_body(error.detail, kind="invalid_request_error", code=code)
    return JSONResponse(body, error.status_code, error.headers)


async def _models(_: Request) -> Response:
    model = {"id": "eloquent", "object": "model", "created": 0, "owned_by": "eloquent"}
    return JSONResponse({"object": "list", "data": [model]})


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _nothing() -> dict[str, Any]:
    raise AssertionError("a response that is whole asks its client nothing")


class _Server(uvicorn.Server):
    """Leaves the signals to the node."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
