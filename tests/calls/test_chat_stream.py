"""Streamed answers of any server: what is a token, what is an end, what is a failure, and that nothing else comes of any bytes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.calls import chat
from eloquent.calls.answer import AnswerFailed, AnswerToken
from eloquent.calls.chat_stream import DeltaReader, Kind, TokenReader, refusal

DONE = "data: [DONE]\n\n"
NOTHING = object()


def event(data: object) -> str:
    return f"data: {json.dumps(data)}\n\n"


def choice(delta: object = NOTHING, finish_reason: object = NOTHING, **more: object) -> str:
    fields = {"delta": delta, "finish_reason": finish_reason, **more}
    return event({"choices": [{key: value for key, value in fields.items() if value is not NOTHING}]})


ROLE = choice({"role": "assistant", "content": ""}, None, index=0)
HI = choice({"content": "Hi"}, None, index=0)
STOP = choice({}, "stop", index=0)
USAGE = event({"choices": [], "usage": {"total_tokens": 3}})


def read(body: str) -> tuple[str, list[str]]:
    """Give the outcome, and the kinds of the tokens."""
    reader, kinds, failure = DeltaReader(), [], None
    try:
        kinds.extend(delta.kind.value for delta in reader.feed(body.encode()))
        reader.finish()
    except AnswerFailed as caught:
        failure = caught
    assert str(failure).isprintable()
    assert len(str(failure)) < 500
    assert reader.ended_well or failure
    return failure.outcome if failure else "ok", kinds


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (ROLE + HI + STOP + DONE, 1),
        (ROLE + HI + STOP + USAGE + DONE, 1),
        (ROLE + HI + STOP, 1),  # some servers say no [DONE]
        (ROLE + HI + STOP + USAGE, 1),
        (HI + DONE, 1),  # and some no finish_reason
        (choice({"content": "Hi"}, "stop"), 1),
        (HI + choice(None, "length"), 1),
        (HI + choice(finish_reason="tool_calls"), 1),
        (HI + choice({}, "eos_token"), 1),
        (HI + DONE + "data: {nonsense\n\n", 1),  # nobody reads on
        (": ping\n\n" + HI + "event: ping\ndata: {}\n\ndata:\n\n" + STOP, 1),
        (event({"error": None, "choices": [{"delta": {"content": "Hi"}}]}) + DONE, 1),
        (choice(text="Hi", index=0) + choice(text=" you", finish_reason="stop"), 2),
        (event({"usage": None, "choices": [{"text": "Hi"}], "object": "text_completion"}) + DONE, 1),
        ("event: message\n" + HI + STOP, 1),
        (choice({"content": "\u2028 \u0085 \x0b"}) + "data: \r" + DONE, 1),
        ('data: {"choices":\ndata: [{"delta": {"content": "two lines"}}]}\n\n' + DONE, 1),
        (choice({"content": "Hi \U0001f44b"}) + DONE, 1),
    ],
)
def test_an_answer_that_succeeds(body, tokens):
    assert read(body) == ("ok", ["text"] * tokens)


@pytest.mark.parametrize(
    ("body", "outcome", "tokens"),
    [
        ("", "data_loss", 0),
        (DONE, "data_loss", 0),
        (ROLE + STOP + DONE, "data_loss", 0),
        (USAGE + DONE, "data_loss", 0),
        (HI, "data_loss", 1),
        (ROLE + HI + USAGE, "data_loss", 1),
        (HI + "data: [DONE]\n", "data_loss", 1),  # cut before the event's end
        (event({"error": {"message": "m"}}) + DONE, "internal", 0),
        (ROLE + HI + event({"error": {"message": "m"}}) + STOP + DONE, "internal", 1),
        (HI + event({"error": {"message": "m", "code": 429}}) + DONE, "unavailable", 1),
        (HI + event({"error": {"message": "m", "code": "resource_exhausted"}}) + DONE, "resource_exhausted", 1),
        (HI + event({"error": {"message": "m", "code": "ok"}}) + DONE, "internal", 1),
        (HI + event({"error": {"message": "m", "code": "rate_limit_exceeded"}}) + DONE, "internal", 1),
        (HI + event({"error": {"message": "m", "code": []}}) + DONE, "internal", 1),
        (HI + event({"error": "boom"}) + DONE, "internal", 1),
        (HI + event({"error": {}}) + DONE, "internal", 1),
        (HI + event({"error": {"message": "m"}, "choices": None}) + DONE, "internal", 1),
        (HI + event({"object": "error", "message": "m", "code": 400}) + DONE, "internal", 1),
        (HI + event({"type": "error", "message": "m"}) + DONE, "internal", 1),
        (HI + "event: error\ndata: boom\n\n" + DONE, "internal", 1),
        (HI + "event: error\n" + DONE, "internal", 1),
        (HI + "event: error\n" + event({"message": "m"}) + DONE, "internal", 1),
        (HI + "event: error\n" + HI + DONE, "internal", 1),
        (HI + STOP + event({"error": {"message": "m"}}) + DONE, "internal", 1),
        (HI + choice({}, "error") + DONE, "internal", 1),
        (HI + choice({}, "content_filter") + DONE, "aborted", 1),
        (HI + choice({}, "abort") + DONE, "aborted", 1),
        (HI + choice({}, "nobody knows\n") + DONE, "unknown", 1),
        (HI + event({"choices": None}) + DONE, "data_loss", 1),
        (HI + event({"choices": {}}) + DONE, "data_loss", 1),
        (HI + event({"choices": [None]}) + DONE, "data_loss", 1),
        (HI + event({"choices": ["x"]}) + DONE, "data_loss", 1),
        (HI + choice("Hi") + DONE, "data_loss", 1),
        (HI + choice([]) + DONE, "data_loss", 1),
        (HI + choice({"content": 5}) + DONE, "data_loss", 1),
        (HI + choice({"content": {"text": "Hi"}}) + DONE, "data_loss", 1),
        (HI + choice({"tool_calls": "x"}) + DONE, "data_loss", 1),
        (HI + choice({"tool_calls": [None]}) + DONE, "data_loss", 1),
        (HI + choice({}, 5) + DONE, "data_loss", 1),
        (HI + choice(text=5) + DONE, "data_loss", 1),
        (HI + choice({"content": "x"}, index="0") + DONE, "data_loss", 1),
        (HI + choice({"content": "x"}, index=10**30) + DONE, "data_loss", 1),
        (HI + "data: {broken\n\n" + DONE, "data_loss", 1),
        (HI + "data: null\n\n" + DONE, "data_loss", 1),
        (HI + "data: 5\n\n" + DONE, "data_loss", 1),
        (HI + "data: []\n\n" + DONE, "data_loss", 1),
        (HI + 'data: "Hi"\n\n' + DONE, "data_loss", 1),
        (HI + event({"detail": "boom"}) + DONE, "data_loss", 1),
        (HI + event({"type": "response.output_text.delta", "delta": "x"}) + DONE, "data_loss", 1),
        (HI + "data: " + "[" * 100_000 + "\n\n" + DONE, "data_loss", 1),
        (HI + "data: " + '{"choices":' * 5_000 + "\n\n" + DONE, "data_loss", 1),
        (HI + "data: " + "9" * 10_000 + "\n\n" + DONE, "data_loss", 1),
        (HI + 'data: {"choices": [{"delta": {"content": "\\ud800"}}]}\n\n' + DONE, "data_loss", 1),
        (HI + "data: " + "x" * 5_000_000 + "\n\n" + DONE, "resource_exhausted", 1),
        (HI + choice({"content": "x"}, eloquent={}) + DONE, "ok", 2),
        (event({"choices": [], "eloquent": {"index": "0"}}) + DONE, "data_loss", 0),
    ],
)
def test_an_answer_that_fails(body, outcome, tokens):
    assert read(body) == (outcome, ["text"] * tokens)


def test_reasoning_and_tool_calls_are_tokens_of_their_own_kind():
    call = {"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}
    body = ROLE + choice({"reasoning_content": "Hm"}) + choice({"reasoning": "m", "content": ""}) + HI
    body += choice({"tool_calls": [call]}) + choice({"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]})
    body += choice({"function_call": {"arguments": "}"}}) + choice({"refusal": "No"})
    body += choice({"tool_calls": [], "reasoning": None}) + choice({"tool_calls": [{"function": {"arguments": ""}}]})
    body += choice({"reasoning": "both", "content": "text"}) + choice({}, "tool_calls")
    kinds = ["reasoning", "reasoning", "text", "tool call", "tool call", "tool call", "text", "text"]
    assert read(body) == ("ok", kinds)
    assert [*Kind] == ["text", "reasoning", "tool call"]


def test_of_several_choices_each_has_to_end_and_an_event_is_one_token():
    both = event({"choices": [{"index": 0, "delta": {"content": "a"}}, {"index": 1, "delta": {"content": "b"}}]})
    second = choice({"content": "c"}, index=1)
    assert read(both + second + STOP) == ("data_loss", ["text"] * 2)
    assert read(both + second + STOP + choice({}, "length", index=1)) == ("ok", ["text"] * 2)
    assert read(both + second + STOP + choice({}, "error", index=1)) == ("internal", ["text"] * 2)
    assert read(both + second + DONE) == ("ok", ["text"] * 2)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "stop", "error", "x", "\u2028"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "delta", "content", "text", "finish_reason", "index", "error", "tool_calls"]),
            inner,
            max_size=4,
        )
    ),
)


@given(st.lists(JSON, max_size=4), st.binary(max_size=30), st.integers(1, 50))
def test_of_any_events_comes_an_answer_or_a_failure(events, junk, size):
    body = b"".join(event(one).encode() for one in events) + junk + b"\n\n" + DONE.encode()
    reader, outcome = DeltaReader(), None
    try:
        for at in range(0, len(body), size):
            list(reader.feed(body[at : at + size]))
        reader.finish()
    except AnswerFailed as failure:
        outcome = failure.outcome
    assert outcome != "ok"
    assert outcome or reader.ended_well


@pytest.mark.parametrize("more", [DONE, HI, "data: what is no event\n\n", event({"error": {"message": "late"}})])
def test_what_comes_after_done_is_not_read_in_whatever_piece_it_comes(more):
    for pieces in ([HI + DONE + more], [HI + DONE, more], [*(HI + DONE + more)]):
        reader = DeltaReader()
        assert [delta.text for piece in pieces for delta in reader.feed(piece.encode())] == ["Hi"]
        reader.finish()


def stamped(index: int, text: str) -> bytes:
    own = {"index": index, "generated_at_ns": 1000 + index}
    return chat.event({"choices": [{"index": 0, "delta": {"content": text}}], "eloquent": own})


STRANGE = "\n\ndata: x \u2028 \u0085"
END = chat.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}) + chat.DONE
WHOLE = ROLE.encode() + stamped(0, "né") + b": a comment\n\n" + stamped(1, STRANGE) + stamped(2, "") + END
TOKENS = [AnswerToken(0, "né", 1e-6), AnswerToken(1, STRANGE, 1.001e-6), AnswerToken(2, "", 1.002e-6)]


@pytest.mark.parametrize("body", [WHOLE, WHOLE.replace(b"\n", b"\r\n")], ids=["LF", "CRLF"])
@pytest.mark.parametrize("size", [1, 2, 7, 100, 10_000])
def test_the_testbeds_tokens_come_however_the_bytes_are_cut(body, size):
    reader = TokenReader()
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    assert [token for piece in pieces for token in reader.feed(piece)] == TOKENS
    reader.finish()


@pytest.mark.parametrize("length", range(0, len(WHOLE) - len(END), 5))
def test_a_body_that_ends_early_is_no_answer(length):
    reader = TokenReader()
    list(reader.feed(WHOLE[:length]))
    with pytest.raises(AnswerFailed) as caught:
        reader.finish()
    assert caught.value.outcome == "data_loss"


def test_a_token_without_an_index_is_not_the_testbeds():
    with pytest.raises(AnswerFailed, match="not the testbed's token server") as caught:
        list(TokenReader().feed(HI.encode()))
    assert caught.value.outcome == "data_loss"


def test_tokens_of_other_servers_are_numbered_as_they_come_and_have_no_date():
    reader = TokenReader(is_plain=True)
    found = [token for piece in (ROLE.encode(), HI.encode(), HI.encode(), END) for token in reader.feed(piece)]
    assert [(token.index, token.text, token.generated_s) for token in found] == [(0, "Hi", None), (1, "Hi", None)]
    reader.finish()


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (429, json.dumps(chat.error_body("full", kind="x", code="resource_exhausted")).encode(), "resource_exhausted"),
        (429, b"", "unavailable"),
        (503, b"<html>", "unavailable"),
        (404, b"[]", "unimplemented"),
        (418, b'{"error": null}', "unknown"),
        (418, b'{"error": {"code": "ok"}}', "unknown"),
        (401, b'{"error": {"code": "invalid_api_key", "message": "no"}}', "unauthenticated"),
        (500, b"[" * 100_000, "unknown"),
    ],
)
def test_a_refusal_is_read_by_its_code_or_else_by_its_status(status, body, outcome):
    assert refusal(status, body).outcome == outcome
