"""Ask a model server for one streamed answer, and note when each token comes.

Rules of this file: a session has a connection to itself, opened for it, as in the paper's study (Eloquent §2.2). It has
succeeded when it brought a token and the server said that it is complete; whatever else happens fails this session and
no other. Outcomes are `ok` or a gRPC status in lower case, as in all logs. Nothing is retried. Keys are never logged.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import grpc
import httpx

from eloquent.api.v1.token_service_pb2 import GenerateRequest, GenerateResponse
from eloquent.calls.answer import AnswerCheck, AnswerFailed, AnswerToken, one_line
from eloquent.calls.chat_stream import DeltaReader, Kind, refusal
from eloquent.calls.names import GENERATE
from eloquent.errors import ConfigurationError
from eloquent.records.rows import SUCCESS

_PATH = "/chat/completions"
_LONGEST_REFUSAL = 65536  # bytes read of it

OnToken = Callable[[Kind, float | None], None]
"""Called at each token: what it is a piece of, and when it was generated, in seconds of this machine's CLOCK_MONOTONIC."""


class Asker(Protocol):
    """Something that answers."""

    @property
    def scheme(self) -> str:
        """Name under which its sessions are logged."""

    def ask(self, on_token: OnToken) -> None:
        """Ask once, to the end of the answer.

        Raises:
            AnswerFailed: The answer did not come, or did not end well.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAiAsker:
    """Asks an OpenAI-compatible endpoint over server-sent events.

    Attributes:
        url: Base of the API, such as `http://127.0.0.1:8000/v1`, which `chat_url` takes.
        model: Name of the model.
        prompt: What to ask.
        key: API key, sent as a bearer token; empty sends none.
        timeout_s: Seconds after which a session is given up, at its next byte or when none comes for as long.
    """

    url: str
    model: str
    prompt: str
    key: str = ""
    timeout_s: float = 60.0

    @property
    def scheme(self) -> str:
        """The baseline of the testbed that this is."""
        return "sse"

    def ask(self, on_token: OnToken) -> None:
        """See `Asker`."""
        question = {"model": self.model, "stream": True, "messages": [{"role": "user", "content": self.prompt}]}
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        reader = DeltaReader()
        try:
            with (
                httpx.Client(timeout=self.timeout_s, trust_env=False) as client,
                client.stream("POST", chat_url(self.url), json=question, headers=headers) as answer,
            ):
                self._read(answer, reader, on_token)
        except httpx.RequestError as error:
            if not reader.ended_well:  # how the connection ends after the answer is nobody's loss
                is_late = isinstance(error, httpx.TimeoutException)
                outcome = "deadline_exceeded" if is_late else "unavailable"
                raise AnswerFailed(outcome, str(error) or repr(error)) from error
        reader.finish()

    def _read(self, answer: httpx.Response, reader: DeltaReader, on_token: OnToken) -> None:
        deadline = time.monotonic() + self.timeout_s
        refused = bytearray()
        for data in answer.iter_bytes():
            if answer.is_success:
                for delta in reader.feed(data):
                    on_token(delta.kind, None)
            else:
                refused += data
            if reader.is_done or len(refused) > _LONGEST_REFUSAL:
                break
            if time.monotonic() > deadline:
                if reader.ended_well:
                    break
                raise AnswerFailed("deadline_exceeded", f"no end after {self.timeout_s:g} s")
        if not answer.is_success:
            raise refusal(answer.status_code, bytes(refused))


def chat_url(base: str) -> httpx.URL:
    """Return where an API takes questions.

    Args:
        base: Base of the API, such as `http://127.0.0.1:8000/v1`.

    Raises:
        ConfigurationError: This is no base of an API.
    """
    try:
        url = httpx.URL(base)
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"'{base}' is not an address ({error}): write http://HOST:PORT/v1") from None
    path = url.path.rstrip("/")
    if url.scheme not in {"http", "https"} or not url.host or not (url.port is None or 0 < url.port < 65536):
        raise ConfigurationError(f"'{base}' is not an address: write http://HOST:PORT/v1")
    if path.endswith("/responses"):
        raise ConfigurationError(
            f"'{base}' is the Responses API, but chat completions are asked for: write http://HOST:PORT/v1"
        )
    if path.endswith("/completions"):
        raise ConfigurationError(f"'{base}' is more than the base of the API: leave out the path of the completions")
    return url.copy_with(path=path + _PATH)


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcAsker:
    """Asks the testbed's token server, or an edge relay, over gRPC.

    Attributes:
        target: `HOST:PORT`.
        prompt: What to ask.
        timeout_s: Seconds after which a session is given up.
        same_clock: Whether the server runs on this kernel, so that its times of generation can be used.
    """

    target: str
    prompt: str
    timeout_s: float = 60.0
    same_clock: bool = False

    @property
    def scheme(self) -> str:
        """The baseline of the testbed that this is."""
        return "grpc"

    def ask(self, on_token: OnToken) -> None:
        """See `Asker`."""
        options = (("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
        check = AnswerCheck()
        with grpc.insecure_channel(self.target, options=options) as channel:
            generate: grpc.UnaryStreamMultiCallable[GenerateRequest, GenerateResponse] = channel.unary_stream(
                GENERATE, GenerateRequest.SerializeToString, GenerateResponse.FromString
            )
            call = generate(GenerateRequest(prompt=self.prompt), timeout=self.timeout_s)
            try:
                for token in call:
                    made = check.take(AnswerToken(token.index, token.text, token.generated_at_ns / 1e9))
                    on_token(Kind.TEXT, made.generated_s if self.same_clock else None)
            except grpc.RpcError as error:
                code: grpc.StatusCode = error.code()
                raise AnswerFailed(code.name.lower(), error.details() or "") from error
            finally:
                call.cancel()
        check.finish()


@dataclass(frozen=True, slots=True)
class Arrival:
    """A token that came.

    Attributes:
        rendered_s: When, in seconds of CLOCK_MONOTONIC.
        generated_s: When the server made it, where that is known.
        kind: What it is a piece of.
    """

    rendered_s: float
    generated_s: float | None
    kind: Kind


@dataclass(frozen=True, slots=True)
class ObservedAnswer:
    """One session.

    Attributes:
        requested_s: When it was asked for, in seconds of CLOCK_MONOTONIC.
        ended_s: When it was complete, or given up.
        outcome: `ok`, or a gRPC status in lower case.
        message: What a person should know of a failure.
        tokens: Those that came.
    """

    requested_s: float
    ended_s: float
    outcome: str
    message: str
    tokens: tuple[Arrival, ...]


def ask_once(asker: Asker, on_token: Callable[[Arrival], None] | None = None) -> ObservedAnswer:
    """Ask once and note the times.

    Args:
        asker: Whom to ask.
        on_token: Told of each token as it comes.
    """
    tokens: list[Arrival] = []

    def note(kind: Kind, generated_s: float | None) -> None:
        tokens.append(Arrival(time.monotonic(), generated_s, kind))
        if on_token is not None:
            on_token(tokens[-1])

    outcome, message = SUCCESS, ""
    requested_s = time.monotonic()
    try:
        asker.ask(note)
    except AnswerFailed as failure:
        outcome, message = failure.outcome, one_line(str(failure))
    return ObservedAnswer(requested_s, time.monotonic(), outcome, message, tuple(tokens))
