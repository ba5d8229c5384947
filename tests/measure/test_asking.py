"""Askers against small servers of their own on the loopback interface."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest

from eloquent.api.v1.token_service_pb2 import GenerateRequest, GenerateResponse
from eloquent.calls.chat_stream import Kind
from eloquent.errors import ConfigurationError
from eloquent.measure.asking import GrpcAsker, OpenAiAsker, ask_once, chat_url

from .conftest import http_server

TOKENS = ["1", ",", " 2"]


def event(data: object) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


def text(words: str) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": words}, "finish_reason": None}]})


ROLE = event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
STOP = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
DONE = b"data: [DONE]\n\n"
WHOLE = b": hello\n\n" + ROLE + b"".join(map(text, TOKENS)) + STOP + DONE


def test_events_with_text_are_tokens():
    with http_server(200, WHOLE) as (url, asked):
        answer = ask_once(OpenAiAsker(url=url, model="m", prompt="Count", key="secret"))
    assert (answer.outcome, len(answer.tokens)) == ("ok", 3)
    times = [token.rendered_s for token in answer.tokens]
    assert [answer.requested_s, *times, answer.ended_s] == sorted([answer.requested_s, *times, answer.ended_s])
    assert {(token.generated_s, token.kind) for token in answer.tokens} == {(None, Kind.TEXT)}
    assert asked == [
        {
            "path": "/v1/chat/completions",
            "key": "Bearer secret",
            "model": "m",
            "stream": True,
            "messages": [{"role": "user", "content": "Count"}],
        }
    ]
    assert "secret" not in repr(answer)


@pytest.mark.parametrize(
    ("status", "body", "outcome", "message", "tokens"),
    [
        (200, b"", "data_loss", "without a token", 0),
        (200, DONE, "data_loss", "without a token", 0),
        (200, ROLE + STOP + DONE, "data_loss", "without a token", 0),
        (200, text("1"), "data_loss", "without a finish_reason or", 1),
        (200, text("1") + b"data: {broken\n\n", "data_loss", "no event of a chat completion: {broken", 1),
        (200, text("1") + event({"choices": None}) + DONE, "data_loss", "choices: ", 1),
        (200, text("1") + event({"choices": [{"delta": "2"}]}) + DONE, "data_loss", "choices.0.delta: ", 1),
        (200, text("1") + event({"error": {"message": "no \x1b[1m GPU"}}) + DONE, "internal", "no  [1m GPU", 1),
        (200, text("1") + b"event: error\ndata: no GPU\n\n" + DONE, "internal", "no GPU", 1),
        (200, text("1") + b"data: " + b"x" * 5_000_000, "resource_exhausted", "longer than", 1),
        (200, text("1") + b"data: " + b"[" * 90_000 + b"\n\n" + DONE, "data_loss", "no event of", 1),
        (400, b'{"error": {"message": "no such model", "code": "model_not_found"}}', "internal", "no such model", 0),
        (401, b"", "unauthenticated", "401", 0),
        (429, b"x" * 1_000_000, "unavailable", "429", 0),
        (418, b"[" * 60_000, "unknown", "418", 0),
        (307, b"", "unknown", "307", 0),
    ],
)
def test_what_goes_wrong_is_an_outcome(status: int, body: bytes, outcome: str, message: str, tokens: int):
    with http_server(status, body) as (url, _):
        answer = ask_once(OpenAiAsker(url=url, model="m", prompt="Count"))
    assert (answer.outcome, len(answer.tokens)) == (outcome, tokens)
    assert message in answer.message


@pytest.mark.parametrize("body", [WHOLE, WHOLE.removesuffix(DONE), WHOLE.replace(STOP, b"")])
def test_an_end_is_a_finish_reason_or_done_whatever_becomes_of_the_connection(body: bytes):
    promised_more = str(len(body) + 1)
    with http_server(200, body, content_length=promised_more) as (url, _):
        assert ask_once(OpenAiAsker(url=url, model="m", prompt="Count")).outcome == "ok"
    with http_server(200, text("1"), content_length=promised_more) as (url, _):
        assert ask_once(OpenAiAsker(url=url, model="m", prompt="Count")).outcome == "unavailable"


def test_a_body_that_cannot_be_decompressed_is_an_outcome():
    with http_server(200, WHOLE, content_encoding="gzip") as (url, _):
        assert ask_once(OpenAiAsker(url=url, model="m", prompt="Count")).outcome == "unavailable"


@pytest.mark.parametrize(
    ("body", "goes_on", "outcome"),
    [
        (text("1"), b": still there\n\n", "deadline_exceeded"),
        (text("1"), text("2"), "deadline_exceeded"),
        (text("1") + STOP, b": still there\n\n", "ok"),
        (b"", DONE, "data_loss"),
    ],
)
def test_a_server_that_never_ends_costs_one_session_its_patience(body: bytes, goes_on: bytes, outcome: str):
    with http_server(200, body, goes_on=goes_on) as (url, _):
        answer = ask_once(OpenAiAsker(url=url, model="m", prompt="Count", timeout_s=0.5))
    assert answer.outcome == outcome
    assert answer.ended_s - answer.requested_s < 30


def test_what_a_token_is_a_piece_of_is_noted():
    def delta(**fields: object) -> bytes:
        return event({"choices": [{"index": 0, "delta": fields}]})

    call = {"index": 0, "function": {"name": "f", "arguments": "{}"}}
    body = delta(reasoning_content="Hm") + text("1") + delta(tool_calls=[call]) + STOP
    with http_server(200, body) as (url, _):
        answer = ask_once(OpenAiAsker(url=url, model="m", prompt="Count"))
    assert answer.outcome == "ok"
    assert [token.kind for token in answer.tokens] == [Kind.REASONING, Kind.TEXT, Kind.TOOL_CALL]


@pytest.mark.parametrize(
    ("base", "sentence"),
    [
        ("http://h/v1/responses", "is the Responses API"),
        ("http://h/v1/chat/completions/", "is more than the base of the API"),
        ("http://h/v1/completions", "is more than the base of the API"),
        ("http://h:99999/v1", "is not an address"),
        ("http://h:0/v1", "is not an address"),
        ("http://[::1/v1", "is not an address"),
        ("ftp://h/v1", "is not an address"),
        ("h:80/v1", "is not an address"),
        ("", "is not an address"),
    ],
)
def test_what_is_no_base_of_an_api_is_refused(base: str, sentence: str):
    with pytest.raises(ConfigurationError, match=sentence):
        chat_url(base)


def test_the_questions_go_below_the_base():
    assert str(chat_url("http://[::1]:8000/v1/")) == "http://[::1]:8000/v1/chat/completions"
    assert str(chat_url("https://h/x?api-version=2")) == "https://h/x/chat/completions?api-version=2"


def test_nobody_there():
    assert ask_once(OpenAiAsker(url="http://127.0.0.1:1/v1", model="m", prompt="Count")).outcome == "unavailable"
    assert ask_once(GrpcAsker(target="127.0.0.1:1", prompt="Count", timeout_s=5.0)).outcome == "unavailable"


@contextmanager
def grpc_server(indices: list[int]) -> Iterator[str]:
    def generate(request: GenerateRequest, context: grpc.ServicerContext) -> Iterator[GenerateResponse]:
        for index in indices:
            yield GenerateResponse(index=index, text=request.prompt, generated_at_ns=index * 10**9)

    handler = grpc.unary_stream_rpc_method_handler(
        generate, GenerateRequest.FromString, GenerateResponse.SerializeToString
    )
    service = grpc.method_handlers_generic_handler("eloquent.api.v1.TokenService", {"Generate": handler})
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool, handlers=(service,))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(None).wait()


def test_the_token_server_is_asked_over_grpc():
    with grpc_server([0, 1, 2]) as target:
        answer = ask_once(GrpcAsker(target=target, prompt="Count", same_clock=True))
        assert [token.generated_s for token in answer.tokens] == [0.0, 1.0, 2.0]
        assert answer.outcome == "ok"
        answer = ask_once(GrpcAsker(target=target, prompt="Count"))
        assert {token.generated_s for token in answer.tokens} == {None}


@pytest.mark.parametrize(("indices", "message"), [([0, 2], "token 2 came in the place of 1"), ([], "without a token")])
def test_what_is_no_answer_over_grpc_is_data_loss(indices: list[int], message: str):
    with grpc_server(indices) as target:
        answer = ask_once(GrpcAsker(target=target, prompt="Count"))
    assert answer.outcome == "data_loss"
    assert message in answer.message
