"""Reads streamed answers: chat completions, and completions, of any server that speaks OpenAI's way (docs/http.md).

Rules of this file:

- An answer has succeeded when it brought a token and ended well. `finish_reason` and `[DONE]` both are an end; the end
  of the body, or of the connection, is none.
- An event that brings something to read in any of its choices is one token: text, or reasoning, or a piece of a tool call.
- Whatever is no such event fails the answer, with a sentence. So do errors, in whichever event they come, and a
  `finish_reason` that says that the answer is not whole.
- Outcomes are gRPC statuses in lower case, as in all logs, and an error is never `ok`, whatever its code says.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import grpc
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from eloquent.calls.answer import AnswerFailed, AnswerToken, one_line
from eloquent.calls.sse import EventReader, ServerSentEvent

_DONE = "[DONE]"
_SIGNS_OF_LIFE = {"ping", "keepalive", "keep-alive", "heartbeat"}  # event types without content
_FAILURES = {code.name.lower() for code in grpc.StatusCode} - {"ok"}
# gRPC's mapping of HTTP's status codes (grpc/doc/http-grpc-status-mapping.md), for errors without a code of ours.
_OUTCOMES = {401: "unauthenticated", 403: "permission_denied", 404: "unimplemented", 400: "internal"}
_OUTCOMES |= dict.fromkeys((429, 502, 503, 504), "unavailable")
# What servers call an end at which the answer is as long as it was to be: OpenAI's words, and those of TGI, Mistral, Anthropic.
_GOOD_ENDS = {"stop", "length", "tool_calls", "function_call"}
_GOOD_ENDS |= {"eos", "eos_token", "stop_sequence", "model_length", "end_turn", "max_tokens", "tool_use"}
# And an end before that: a filter cut it, the engine gave it up.
_BAD_ENDS = {"content_filter": "aborted", "abort": "aborted", "cancelled": "cancelled", "error": "internal"}
_BAD_ENDS |= {"insufficient_system_resource": "resource_exhausted"}
_MAX_CHOICES = 1024  # of an answer


class Kind(StrEnum):
    """What a token is a piece of."""

    TEXT = "text"
    REASONING = "reasoning"
    TOOL_CALL = "tool call"


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class _Function(_Strict):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _ToolCall(_Strict):
    function: _Function | None = None


class _Delta(_Strict):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None


class _Choice(_Strict):
    index: int = Field(default=0, ge=0, lt=_MAX_CHOICES)
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Stamp(_Strict):
    """What the testbed's token server says of a token."""

    index: int
    generated_at_ns: int


class _Chunk(_Strict):
    choices: list[_Choice] = []  # a chunk of the usage may have none
    eloquent: _Stamp | None = None


@dataclass(frozen=True, slots=True)
class ChoiceDelta:
    """A token of an answer.

    Attributes:
        kind: What it is a piece of.
        text: What it says; empty for a piece of a tool call.
        index: Its position in the answer, which the testbed's token server tells.
        generated_s: When the server made it, likewise, in seconds of its CLOCK_MONOTONIC.
    """

    kind: Kind
    text: str
    index: int | None = None
    generated_s: float | None = None


class DeltaReader:
    """Reads one answer, as it comes.

    Attributes:
        events: How many events have come.
        is_done: Whether the server said `[DONE]`; what comes after that is not read.
    """

    def __init__(self) -> None:
        self.events = 0
        self.is_done = False
        self._reader = EventReader()
        self._has_token = False
        self._open: set[int] = set()  # choices that have not finished
        self._has_finished = False

    @property
    def ended_well(self) -> bool:
        """Whether the answer is whole."""
        return self._has_token and (self.is_done or (self._has_finished and not self._open))

    def feed(self, data: bytes) -> Iterator[ChoiceDelta]:
        """Take some bytes of the body and yield the tokens that they complete.

        Raises:
            AnswerFailed: The server reports an error, or says something that is no part of an answer.
        """
        if self.is_done:
            return
        for event in self._reader.feed(data):
            self.events += 1
            if event.data.strip() == _DONE and event.type != "error":
                self.is_done = True
            elif event.type not in _SIGNS_OF_LIFE and event.data.strip():
                yield from self._take(_read_chunk(event))
            if self.is_done:
                return

    def finish(self) -> None:
        """Take the end of the body.

        Raises:
            AnswerFailed: The answer is not whole.
        """
        if not self._has_token:
            raise AnswerFailed("data_loss", "the answer ended without a token")
        if not self.ended_well:
            raise AnswerFailed("data_loss", "the answer ended without a finish_reason or [DONE]")

    def _take(self, chunk: _Chunk) -> Iterator[ChoiceDelta]:
        pieces = [_piece(choice) for choice in chunk.choices]
        kind, text = next((piece for piece in pieces if piece is not None), (Kind.TEXT, ""))
        if chunk.eloquent is not None:
            yield ChoiceDelta(kind, text, chunk.eloquent.index, chunk.eloquent.generated_at_ns / 1e9)
        elif any(pieces):
            yield ChoiceDelta(kind, text)
        self._has_token |= chunk.eloquent is not None or any(pieces)
        for choice in chunk.choices:
            self._open.add(choice.index)
            if choice.finish_reason:
                _require_good_end(choice.finish_reason)
                self._open.discard(choice.index)
                self._has_finished = True


class TokenReader:
    """Reads one answer, as it comes.

    Args:
        is_plain: Whether it comes from a server that numbers and dates no tokens; the testbed's own does.
    """

    def __init__(self, *, is_plain: bool = False) -> None:
        self._deltas = DeltaReader()
        self._is_plain = is_plain
        self._tokens = 0

    def feed(self, data: bytes) -> Iterator[AnswerToken]:
        """Take some bytes of the body and yield the tokens that they complete.

        Raises:
            AnswerFailed: The server reports an error, or this is no answer of the server that it should be.
        """
        for delta in self._deltas.feed(data):
            if self._is_plain:
                yield AnswerToken(self._tokens, delta.text, None)
                self._tokens += 1
                continue
            if delta.index is None or delta.generated_s is None:
                raise AnswerFailed("data_loss", "a token without its index: this is not the testbed's token server")
            yield AnswerToken(delta.index, delta.text, delta.generated_s)

    def finish(self) -> None:
        """Take the end of the body.

        Raises:
            AnswerFailed: The answer is not whole.
        """
        self._deltas.finish()


def refusal(status: int, body: bytes) -> AnswerFailed:
    """Read the answer to a request that was refused.

    Args:
        status: HTTP's.
        body: As it came.
    """
    try:
        said = from_json(body)
    except ValueError:
        said = None
    error = said.get("error") if isinstance(said, dict) else None
    if not error:
        return AnswerFailed(_OUTCOMES.get(status, "unknown"), f"HTTP status {status}")
    return _failure(error, otherwise=_OUTCOMES.get(status, "unknown"))


def _read_chunk(event: ServerSentEvent) -> _Chunk:
    try:
        said: Any = from_json(event.data, cache_strings="keys")  # what tokens say seldom comes again
    except ValueError:
        said = event.data
    is_object = isinstance(said, dict)
    if event.type == "error" or (is_object and _is_error(said)):
        own = said.get("error") if is_object else None
        raise _failure(said if own is None else own, otherwise="internal")
    if not is_object or not {"choices", "usage"} & {*said}:
        raise AnswerFailed("data_loss", f"no event of a chat completion: {one_line(event.data)}")
    try:
        return _Chunk.model_validate(said)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise AnswerFailed("data_loss", f"no event of a chat completion: {place}: {first['msg']}") from error


def _is_error(said: dict[str, Any]) -> bool:
    """Return whether an event is an error, by the words of OpenAI, of vLLM and LMDeploy (`object`), or of Anthropic (`type`)."""
    return said.get("error") is not None or "error" in {str(said.get("object")), str(said.get("type"))}


def _failure(error: Any, *, otherwise: str) -> AnswerFailed:
    """Read an error: OpenAI's object, or whatever else stands for it."""
    code, message = None, error
    if isinstance(error, dict):
        code, message = error.get("code"), error.get("message", error)
    if isinstance(code, str) and code in _FAILURES:
        outcome = code
    else:
        outcome = _OUTCOMES.get(code, otherwise) if isinstance(code, int) else otherwise
    return AnswerFailed(outcome, one_line(str(message)))


def _require_good_end(reason: str) -> None:
    if reason in _GOOD_ENDS:
        return
    raise AnswerFailed(_BAD_ENDS.get(reason, "unknown"), f"the answer ended by finish_reason '{one_line(reason)}'")


def _piece(choice: _Choice) -> tuple[Kind, str] | None:
    """Return what a choice brings to read: chat completions have it in `delta`, completions in `text`."""
    delta = choice.delta or _Delta()
    if text := delta.content or delta.refusal or choice.text:
        return Kind.TEXT, text
    if text := delta.reasoning_content or delta.reasoning:
        return Kind.REASONING, text
    functions = [delta.function_call, *(call.function for call in delta.tool_calls or ())]
    if any(function is not None and (function.name or function.arguments) for function in functions):
        return Kind.TOOL_CALL, ""
    return None
