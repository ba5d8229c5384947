"""One answer as OpenAI words it, streamed or whole.

Rules of this file: each token is one write, at once. An answer that is cut off never looks finished.
"""

import secrets
import time
from collections.abc import Callable
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import Send

from eloquent.api.v1.token_service_pb2 import GenerateResponse
from eloquent.calls import chat
from eloquent.calls.chat_request import ChatRequest
from eloquent.nodes.token_server.model import Caller, Generation, Model

_CHUNK = "chat.completion.chunk"


class Completion:
    """An answer on its way.

    Args:
        asked: The request.
        answer: What the model makes of it.
        model: The model.
        caller: Who asks.

    Attributes:
        started: Whether the client has been sent anything.
    """

    def __init__(self, asked: ChatRequest, answer: Generation, model: Model, caller: Caller) -> None:
        self._asked = asked
        self._answer = answer
        self._model = model
        self._caller = caller
        self._head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": asked.model}
        self.started = False

    async def send(self, send: Send, produced: Callable[[], None]) -> None:
        """Send the answer.

        Args:
            send: ASGI's.
            produced: Called when all tokens are, which is before the client can know.
        """
        with self._model.stream(self._answer, self._caller):
            if self._asked.stream:
                await self._produce_events(send)
            else:
                text = await self._produce_text()
        produced()
        self.started = True
        if self._asked.stream:
            await send({"type": "http.response.body", "body": self._end() + chat.DONE})
        else:
            await JSONResponse(self._whole(text))({"type": "http"}, _nothing, send)

    async def _produce_events(self, send: Send) -> None:
        """Send the answer as events, one a token, up to the last token."""

        async def write(event: bytes) -> None:
            await send({"type": "http.response.body", "body": event, "more_body": True})

        async def write_token(token: GenerateResponse) -> None:
            own = {"index": token.index, "generated_at_ns": token.generated_at_ns}
            await write(self._chunk({"content": token.text}, eloquent=own))

        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        start = Response(headers=headers, media_type=chat.MEDIA_TYPE)
        start.raw_headers = [pair for pair in start.raw_headers if pair[0] != b"content-length"]
        self.started = True
        await send({"type": "http.response.start", "status": 200, "headers": start.raw_headers})
        await write(self._chunk({"role": "assistant", "content": ""}))
        await self._model.produce(self._answer, write_token)

    async def _produce_text(self) -> str:
        texts: list[str] = []

        async def keep(token: GenerateResponse) -> None:
            texts.append(token.text)

        await self._model.produce(self._answer, keep)
        return "".join(texts)

    def _end(self) -> bytes:
        """Return the events after the last token."""
        end = self._chunk({}, finish_reason=self._finish_reason())
        if self._asked.stream_options is not None and self._asked.stream_options.include_usage:
            end += chat.event(self._head | {"object": _CHUNK, "choices": [], "usage": self._usage()})
        return end

    def _whole(self, text: str) -> dict[str, Any]:
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": self._finish_reason()}
        return self._head | {"object": "chat.completion", "choices": [choice], "usage": self._usage()}

    def _chunk(self, delta: dict[str, str], *, finish_reason: str | None = None, **more: object) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return chat.event(self._head | {"object": _CHUNK, "choices": [choice]} | more)

    def _finish_reason(self) -> str:
        return "length" if self._answer.was_cut() else "stop"

    def _usage(self) -> dict[str, int]:
        prompt, completion = self._asked.words, self._answer.tokens
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


async def _nothing() -> dict[str, Any]:
    raise AssertionError("a response that is whole asks its client nothing")
