"""The event stream of chat completions: whole, in pieces, cut, and with errors."""

import json

import pytest

from eloquent.calls import chat
from eloquent.calls.answer import AnswerFailed, Token
from eloquent.calls.chat import ChatRequest, ChunkReader


def chunk(index: int, text: str) -> bytes:
    own = {"index": index, "generated_at_ns": 1000 + index}
    return chat.event({"choices": [{"index": 0, "delta": {"content": text}}], "eloquent": own})


ROLE = chat.event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
END = chat.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}) + chat.DONE
WHOLE = ROLE + chunk(0, "né") + b": a comment\n\n" + chunk(1, "\n\ndata: x") + END
TOKENS = [Token(0, "né", 1e-6), Token(1, "\n\ndata: x", 1.001e-6)]


@pytest.mark.parametrize("body", [WHOLE, WHOLE.replace(b"\n", b"\r\n")], ids=["LF", "CRLF"])
@pytest.mark.parametrize("size", [1, 2, 7, 100, 10_000])
def test_tokens_come_however_the_bytes_are_cut(body, size):
    reader = ChunkReader()
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    assert [token for piece in pieces for token in reader.feed(piece)] == TOKENS
    reader.finish()


@pytest.mark.parametrize("length", range(0, len(WHOLE) - len(b"\n\n"), 5))
def test_a_body_that_ends_early_is_no_answer(length):
    reader = ChunkReader()
    list(reader.feed(WHOLE[:length]))
    with pytest.raises(AnswerFailed) as caught:
        reader.finish()
    assert caught.value.outcome == "data_loss"


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (chat.event(chat.error_body("gone", kind="server_error", code="unavailable")), "unavailable"),
        (b'data: {"error": {"message": "m", "code": 7}}\n\n', "internal"),
        (b'data: {"error": {"message": "m", "code": "Not a status!"}}\n\n', "internal"),
        (b"data: nonsense\n\n", "data_loss"),
        (b"data: []\n\n", "data_loss"),
        (b'data: {"eloquent": {}}\n\n', "data_loss"),
        (b'data: {"eloquent": {"index": 0, "generated_at_ns": 0}, "choices": []}\n\n', "data_loss"),
    ],
)
def test_an_error_and_a_strange_event_end_the_reading(data, outcome):
    with pytest.raises(AnswerFailed) as caught:
        list(ChunkReader().feed(data))
    assert caught.value.outcome == outcome


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (429, json.dumps(chat.error_body("full", kind="x", code="resource_exhausted")).encode(), "resource_exhausted"),
        (429, b"", "unavailable"),
        (503, b"<html>", "unavailable"),
        (404, b"[]", "unimplemented"),
        (418, b'{"error": null}', "unknown"),
    ],
)
def test_a_refusal_is_read_by_its_code_or_else_by_its_status(status, body, outcome):
    assert chat.refusal(status, body).outcome == outcome


def test_a_question_is_a_request():
    asked = ChatRequest.model_validate_json(chat.question("Hi", token_gap_s=0.2, max_tokens=3, first_token_delay_s=1))
    assert (asked.prompt, asked.max_tokens, asked.stream) == ("Hi", 3, True)
    assert (asked.eloquent.token_gap_s, asked.eloquent.first_token_delay_s) == (0.2, 1.0)


def test_the_prompt_is_what_the_user_said_last():
    parts = [{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "text", "text": "b"}]
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "first"},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None},
    ]
    assert ChatRequest(model="m", messages=messages).prompt == "ab"
    assert ChatRequest(model="m", messages=messages[:1]).prompt == ""
