"""Chat completions as they are asked, and as their events are written."""

import json

from eloquent.calls import chat
from eloquent.calls.chat_request import parse


def test_no_character_of_an_event_is_a_line_break_to_anybody():
    text = "".join(map(chr, range(0x3000))) + "\U0001f44b"
    data = chat.event({"choices": [{"delta": {"content": text}}]}).decode()
    assert data.endswith("\n\n")
    assert data.splitlines() == [data[:-2], ""]
    assert json.loads(data.removeprefix("data: "))["choices"][0]["delta"]["content"] == text


def test_a_question_is_a_request():
    asked = parse(chat.question("Hi", token_gap_s=0.2, max_tokens=3, first_token_delay_s=1))
    assert (asked.prompt, asked.max_tokens, asked.stream) == ("Hi", 3, True)
    assert (asked.eloquent.token_gap_s, asked.eloquent.first_token_delay_s) == (0.2, 1.0)


def test_a_plain_question_has_nothing_that_another_server_would_not_know():
    asked = chat.plain_question("Hi", model="tiny", max_tokens=3)
    assert parse(asked).prompt == "Hi"
    assert json.loads(asked).keys() == {"model", "stream", "messages", "max_tokens"}
