"""Askers against small servers of their own on the loopback interface."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import grpc
import pytest

from eloquent.api.v1.token_service_pb2 import GenerateRequest, GenerateResponse
from eloquent.measure.asking import GrpcAsker, OpenAiAsker, ask_once

TOKENS = ["1", ",", " 2"]


def event(text: str | None) -> str:
    return f"data: {json.dumps({'choices': [{'delta': {} if text is None else {'content': text}}]})}\n\n"


WHOLE = ": hello\n\n" + event(None) + "".join(map(event, TOKENS)) + "data: [DONE]\n\n"


@contextmanager
def http_server(status: int, body: str) -> Iterator[tuple[str, list[dict]]]:
    asked: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append({"path": self.path, "key": self.headers.get("Authorization"), **question})
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1", asked
        finally:
            server.shutdown()
            thread.join()


def test_events_with_text_are_tokens():
    with http_server(200, WHOLE) as (url, asked):
        answer = ask_once(OpenAiAsker(url=url, model="m", prompt="Count", key="secret"))
    assert (answer.outcome, len(answer.tokens)) == ("ok", 3)
    assert answer.requested_s <= answer.tokens[0][0] <= answer.tokens[-1][0] <= answer.ended_s
    assert {generated for _, generated in answer.tokens} == {None}
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
    ("status", "body", "outcome", "tokens"),
    [
        (200, event("1"), "data_loss", 1),  # cut before [DONE]: it never looks finished
        (200, event("1") + "data: {broken\n\n", "data_loss", 1),
        (200, 'data: {"error": {"message": "no"}}\n\n', "internal", 0),
        (401, "", "unauthenticated", 0),
        (429, "", "unavailable", 0),
        (418, "", "unknown", 0),
    ],
)
def test_what_goes_wrong_is_an_outcome(status: int, body: str, outcome: str, tokens: int):
    with http_server(status, body) as (url, _):
        answer = ask_once(OpenAiAsker(url=url, model="m", prompt="Count"))
    assert (answer.outcome, len(answer.tokens)) == (outcome, tokens)


def test_nobody_there():
    assert ask_once(OpenAiAsker(url="http://127.0.0.1:1/v1", model="m", prompt="Count")).outcome == "unavailable"
    assert ask_once(GrpcAsker(target="127.0.0.1:1", prompt="Count", patience=5.0)).outcome == "unavailable"


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
        assert [generated for _, generated in answer.tokens] == [0.0, 1.0, 2.0]
        assert answer.outcome == "ok"
        assert {generated for _, generated in ask_once(GrpcAsker(target=target, prompt="Count")).tokens} == {None}
    with grpc_server([0, 2]) as target:
        assert ask_once(GrpcAsker(target=target, prompt="Count")).outcome == "data_loss"
