"""Requests for chat completions: what is read, what may be neglected, and what is refused by name."""

import json

import pytest

from eloquent.calls.chat_request import InvalidRequest, parse

MESSAGES = [{"role": "user", "content": "Hi there"}]
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]


def read(messages=MESSAGES, **fields):
    return parse(json.dumps({"model": "m", "messages": messages} | fields).encode())


def refusal(*words, **fields):
    with pytest.raises(InvalidRequest) as caught:
        read(*words, **fields)
    return caught.value


def test_the_prompt_is_what_the_user_said_last_and_all_words_count():
    parts = [{"type": "text", "text": "a b "}, {"type": "text", "text": "c"}]
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "first"},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "content": "it rains", "tool_call_id": "1"},
    ]
    assert (read(messages).prompt, read(messages).words) == ("a b c", 8)
    assert (read(messages[:1]).prompt, read(messages[:1]).words) == ("", 2)


@pytest.mark.parametrize(
    ("stop", "stops"), [(None, []), ([], []), ("a", ["a"]), (["a", "bc"], ["a", "bc"]), (["x"] * 4, ["x"] * 4)]
)
def test_a_stop_is_a_text_or_some(stop, stops):
    assert read(stop=stop).stop == stops


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0.2, "top_p": 0.9, "seed": 7, "user": "me", "metadata": {"a": "b"}, "store": False},
        {"frequency_penalty": 1, "presence_penalty": 1, "service_tier": "auto", "reasoning_effort": "low"},
        {"stream_options": {"include_usage": True, "include_obfuscation": False}, "parallel_tool_calls": True},
        {"tools": TOOLS},
        {"tools": TOOLS, "tool_choice": "auto"},
        {"tools": TOOLS, "tool_choice": "none"},
        {"tools": TOOLS, "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": TOOLS}}},
        {"functions": [], "function_call": "auto"},
        {"response_format": {"type": "text"}},
        {"logprobs": False, "top_logprobs": 0, "logit_bias": {}},
        {"n": 1, "best_of": 1, "modalities": ["text"], "audio": None, "guided_json": None},
        {"tool_choice": None, "response_format": None, "logprobs": None, "n": None, "modalities": None, "stop": None},
        {"max_tokens": None, "max_completion_tokens": None, "stream": None, "stream_options": None, "eloquent": None},
        {"top_k": 5, "min_p": 0.1, "ignore_eos": True, "min_tokens": 10},
    ],
    ids=",".join,
)
def test_what_changes_no_more_than_words_is_accepted(fields):
    assert read(**fields).prompt == "Hi there"


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("tool_choice", "required", "calls no tools"),
        ("tool_choice", {"type": "function", "function": {"name": "look_up"}}, "calls no tools"),
        ("tool_choice", {"type": "allowed_tools", "allowed_tools": {"mode": "required"}}, "calls no tools"),
        ("tool_choice", "sometimes", "calls no tools"),
        ("function_call", {"name": "look_up"}, "calls no functions"),
        ("response_format", {"type": "json_object"}, "plain text"),
        ("response_format", {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}, "plain text"),
        ("response_format", "json", "plain text"),
        ("logprobs", True, "probabilities"),
        ("top_logprobs", 5, "probabilities"),
        ("logit_bias", {"50256": -100}, "probabilities"),
        ("n", 2, "one answer"),
        ("modalities", ["text", "audio"], "text only"),
        ("audio", {"voice": "alloy", "format": "wav"}, "not speak"),
        ("web_search_options", {"search_context_size": "low"}, "not search"),
        ("best_of", 3, "one answer"),
        ("echo", True, "repeat"),
        ("guided_json", {"type": "object"}, "constrained"),
    ],
)
def test_what_would_make_the_answer_wrong_is_refused_by_name(field, value, reason):
    error = refusal(tools=TOOLS, **{field: value})
    assert error.param == field
    assert str(error).startswith(f"{field}: ")
    assert reason in str(error)


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"eloquent": {"token_gap": 0.1}}, "eloquent.token_gap", "no such field; 'eloquent' has token_gap_s, first_"),
        ({"eloquent": {"token_gap_s": "x"}}, "eloquent.token_gap_s", "valid number"),
        ({"eloquent": {"source": 5}}, "eloquent.source", "valid string"),
        ({"eloquent": "fast"}, "eloquent", "object"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"max_completion_tokens": "many"}, "max_completion_tokens", "valid integer"),
        ({"stream": "perhaps"}, "stream", "valid boolean"),
        ({"stream_options": {"include_usage": 7}}, "stream_options.include_usage", "boolean"),
        ({"stop": ""}, "stop[0]", "at least 1 character"),
        ({"stop": ["a", 5]}, "stop[1]", "valid string"),
        ({"stop": ["a"] * 5}, "stop", "at most 4"),
        ({"stop": 5}, "stop", "valid array"),
        ({"stop": "a" * 257}, "stop[0]", "at most 256"),
        ({"messages": []}, "messages", "at least 1"),
        ({"messages": "Hi"}, "messages", "array"),
        ({"messages": ["Hi"]}, "messages[0]", "object"),
        ({"messages": [{"content": "Hi"}]}, "messages[0].role", "required"),
        ({"messages": [*MESSAGES, {"role": "usr", "content": "Hi"}]}, "messages[1].role", "'user'"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "array"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]},
            "messages[0].content[0].type",
            "'text'",
        ),
        ({"model": None}, "model", "valid string"),
    ],
)
def test_a_mistake_is_refused_by_the_path_of_its_field(fields, param, message):
    error = refusal(**fields)
    assert error.param == param
    assert str(error).startswith(f"{param}: ")
    assert message in str(error)


@pytest.mark.parametrize(
    ("body", "message"),
    [(b"", "JSON"), (b"{", "JSON"), (b"[]", "object"), (b"\xff", "JSON"), (b'{"model": "\\ud800"}', "JSON")],
)
def test_what_is_no_object_has_no_field_to_blame(body, message):
    with pytest.raises(InvalidRequest, match=message) as caught:
        parse(body)
    assert caught.value.param is None
