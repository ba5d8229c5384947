"""Ask a model server for one streamed answer, and note when each token comes.

Rules of this file: a session has a connection to itself, opened for it, as in the paper's study (Eloquent §2.2). An event
with text is a token, whatever the server put in it. An answer that ends without the server's word that it is complete is
`data_loss`. Outcomes are `ok` or a gRPC status in lower case, as in all logs. Nothing is retried. Keys are never logged.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import httpx

from eloquent.api.v1.token_service_pb2 import GenerateRequest, GenerateResponse

_GENERATE = "/eloquent.api.v1.TokenService/Generate"
_OUTCOMES = {  # gRPC's own mapping of HTTP status codes (grpc/doc/http-grpc-status-mapping.md)
    400: "internal",
    401: "unauthenticated",
    403: "permission_denied",
    404: "unimplemented",
    429: "unavailable",
    502: "unavailable",
    503: "unavailable",
    504: "unavailable",
}

OnToken = Callable[[float | None], None]
"""Called at each token, with its time of generation in seconds of this machine's CLOCK_MONOTONIC where that is known."""


class Asker(Protocol):
    """Something that answers."""

    @property
    def scheme(self) -> str:
        """Name under which its sessions are logged."""

    def ask(self, on_token: OnToken) -> str:
        """Ask once; return the outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAiAsker:
    """Asks an OpenAI-compatible endpoint over server-sent events.

    Attributes:
        url: Base of the API, such as `http://127.0.0.1:8000/v1`.
        model: Name of the model.
        prompt: What to ask.
        key: API key, sent as a bearer token; empty sends none.
        patience: Seconds without a byte after which a session is given up.
    """

    url: str
    model: str
    prompt: str
    key: str = ""
    patience: float = 60.0

    @property
    def scheme(self) -> str:
        """The baseline of the testbed that this is."""
        return "sse"

    def ask(self, on_token: OnToken) -> str:
        """Ask once; return the outcome."""
        question = {"model": self.model, "stream": True, "messages": [{"role": "user", "content": self.prompt}]}
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        url = f"{self.url.rstrip('/')}/chat/completions"
        try:
            with (
                httpx.Client(timeout=self.patience, trust_env=False) as client,
                client.stream("POST", url, json=question, headers=headers) as answer,
            ):
                if not answer.is_success:
                    return _OUTCOMES.get(answer.status_code, "unknown")
                return _read_events(answer.iter_lines(), on_token)
        except httpx.TimeoutException:
            return "deadline_exceeded"
        except httpx.TransportError:
            return "unavailable"


def _read_events(lines: Iterator[str], on_token: OnToken) -> str:
    """Read the events of an answer (WHATWG HTML, 9.2: a `data` line each) up to `[DONE]`."""
    for line in lines:
        field, _, data = line.partition(":")
        if field != "data":
            continue
        if data.strip() == "[DONE]":
            return "ok"
        try:
            event = json.loads(data)
        except ValueError:
            return "data_loss"
        if not isinstance(event, dict) or "error" in event:
            return "internal"
        if _text(event):
            on_token(None)
    return "data_loss"


def _text(event: dict[str, Any]) -> str:
    """Return the text of an event: chat completions have it in `delta`, completions in `text`."""
    for choice in event.get("choices") or ():
        text = (choice.get("delta") or {}).get("content") or choice.get("text")
        if text:
            return str(text)
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcAsker:
    """Asks the testbed's token server, or an edge relay, over gRPC.

    Attributes:
        target: `HOST:PORT`.
        prompt: What to ask.
        patience: Seconds after which a session is given up.
        same_clock: Whether the server runs on this kernel, so that its times of generation can be used.
    """

    target: str
    prompt: str
    patience: float = 60.0
    same_clock: bool = False

    @property
    def scheme(self) -> str:
        """The baseline of the testbed that this is."""
        return "grpc"

    def ask(self, on_token: OnToken) -> str:
        """Ask once; return the outcome."""
        options = (("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
        with grpc.insecure_channel(self.target, options=options) as channel:
            generate: grpc.UnaryStreamMultiCallable[GenerateRequest, GenerateResponse] = channel.unary_stream(
                _GENERATE, GenerateRequest.SerializeToString, GenerateResponse.FromString
            )
            call = generate(GenerateRequest(prompt=self.prompt), timeout=self.patience)
            index = 0
            try:
                for token in call:
                    if token.index != index:
                        call.cancel()
                        return "data_loss"
                    on_token(token.generated_at_ns / 1e9 if self.same_clock else None)
                    index += 1
            except grpc.RpcError as error:
                code: grpc.StatusCode = error.code()
                return code.name.lower()
        return "ok"


@dataclass(frozen=True, slots=True)
class Answer:
    """One session.

    Attributes:
        requested_s: When it was asked for, in seconds of CLOCK_MONOTONIC.
        ended_s: When it was complete, or given up.
        outcome: `ok`, or a gRPC status in lower case.
        tokens: When each token came, and when it was generated, where that is known.
    """

    requested_s: float
    ended_s: float
    outcome: str
    tokens: tuple[tuple[float, float | None], ...]


def ask_once(asker: Asker, on_token: Callable[[float, float | None], None] | None = None) -> Answer:
    """Ask once and note the times.

    Args:
        asker: Whom to ask.
        on_token: Told of each token as it comes: when it came, and when it was generated.
    """
    tokens: list[tuple[float, float | None]] = []

    def note(generated_s: float | None) -> None:
        tokens.append((time.monotonic(), generated_s))
        if on_token is not None:
            on_token(*tokens[-1])

    requested_s = time.monotonic()
    outcome = asker.ask(note)
    return Answer(requested_s, time.monotonic(), outcome, tuple(tokens))
