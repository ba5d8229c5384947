"""OpenAI's chat completions as the testbed speaks them: the question, the chunks, and a reader of the event stream.

Rules of this file: what OpenAI has no word for stands in an object `eloquent`, which other clients ignore. An event
stream that ends without `[DONE]` has not ended well. The code of an error is a gRPC status in lower case, as in all logs.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, Field

from eloquent.calls.answer import AnswerFailed, Token

PATH = "/v1/chat/completions"
MEDIA_TYPE = "text/event-stream; charset=utf-8"
DONE = b"data: [DONE]\n\n"
# gRPC's mapping of HTTP's status codes (grpc/doc/http-grpc-status-mapping.md), for errors without a code of ours.
_OUTCOMES = {401: "unauthenticated", 403: "permission_denied", 404: "unimplemented", 400: "internal"}
_OUTCOMES |= dict.fromkeys((429, 502, 503, 504), "unavailable")
_CODE = re.compile(r"[a-z]+(_[a-z]+)*")


class Part(BaseModel):
    """A part of a message's content; only text is understood."""

    type: str
    text: str = ""


class Message(BaseModel):
    """A message of a conversation."""

    role: str
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        """The text, of all parts together."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content if part.type == "text")
        return self.content or ""


class StreamOptions(BaseModel):
    """What else the stream is to tell."""

    include_usage: bool = False


class Extension(BaseModel):
    """The testbed's own fields, the same as those of gRPC's `GenerateRequest`.

    Attributes:
        token_gap_s: Seconds between two tokens.
        first_token_delay_s: Seconds from the request to the first token.
        source: Name of the token source; when empty, the prompt decides.
    """

    token_gap_s: float | None = None
    first_token_delay_s: float | None = None
    source: str = ""


class ChatRequest(BaseModel):
    """What a client may ask; fields that are not named here are ignored."""

    model: str
    messages: list[Message] = Field(min_length=1)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_completion_tokens: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    n: int | None = Field(default=None, ge=1, le=1)
    eloquent: Extension = Extension()

    @property
    def prompt(self) -> str:
        """What the user said last."""
        return next((message.text for message in reversed(self.messages) if message.role == "user"), "")


def question(prompt: str, *, token_gap_s: float, max_tokens: int = 0, first_token_delay_s: float = 0.0) -> bytes:
    """Write the body of a request for a streamed answer; `max_tokens` 0 sets no limit."""
    body: dict[str, Any] = {
        "model": "eloquent",
        "stream": True,
        "messages": [{"role": "user", "content": prompt}],
        "eloquent": {"token_gap_s": token_gap_s, "first_token_delay_s": first_token_delay_s},
    }
    if max_tokens:
        body["max_tokens"] = max_tokens
    return json.dumps(body).encode()


def event(data: dict[str, Any]) -> bytes:
    """Write an event of the stream (WHATWG HTML, 9.2)."""
    return b"data: " + json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def error_body(message: str, *, kind: str, code: str, param: str | None = None) -> dict[str, Any]:
    """Return OpenAI's form of an error."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def refusal(status: int, body: bytes) -> AnswerFailed:
    """Read the answer to a request that was refused.

    Args:
        status: HTTP's.
        body: As it came.
    """
    try:
        error = json.loads(body)["error"]
        code, message = error.get("code"), str(error.get("message"))
    except (ValueError, KeyError, TypeError, AttributeError):
        code, message = None, f"HTTP status {status}"
    known = isinstance(code, str) and _CODE.fullmatch(code)
    return AnswerFailed(code if known else _OUTCOMES.get(status, "unknown"), message)


class ChunkReader:
    """Reads the events of one answer, as they come.

    Attributes:
        done: Whether the server said that the answer is complete.
    """

    def __init__(self) -> None:
        self.done = False
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Token]:
        """Take some bytes of the body and yield the tokens that they complete.

        Raises:
            AnswerFailed: The server reports an error, or this is no answer of the testbed's token server.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if not line.startswith(b"data:"):
                continue  # an event's end, a comment, or a field that we have no use for
            content = line[5:].strip()
            if content == b"[DONE]":
                self.done = True
            elif (token := _token(content)) is not None:
                yield token

    def finish(self) -> None:
        """Take the end of the body.

        Raises:
            AnswerFailed: The answer is not complete.
        """
        if not self.done:
            raise AnswerFailed("data_loss", "the answer ended without [DONE]")


def _token(content: bytes) -> Token | None:
    try:
        chunk = json.loads(content)
        if (error := chunk.get("error")) is not None:
            code = error.get("code")
            outcome = code if isinstance(code, str) and _CODE.fullmatch(code) else "internal"
            raise AnswerFailed(outcome, str(error.get("message")))
        if (extension := chunk.get("eloquent")) is None:
            return None  # the chunk that tells the role, the reason of the end, or the usage
        text = chunk["choices"][0]["delta"]["content"]
        return Token(int(extension["index"]), text, int(extension["generated_at_ns"]) / 1e9)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise AnswerFailed("data_loss", f"not a chunk of the token server: {error!r}") from error
