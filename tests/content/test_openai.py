"""OpenAI's events: read back by our own reader of event streams, and by JSON."""

import json
import re
from itertools import islice
from random import Random
from typing import Any

import pytest

from eloquent.calls.sse import EventReader
from eloquent.content import book, openai


def deltas(items: list[bytes]) -> list[dict[str, Any]]:
    """Read events as a client does."""
    events = [event for item in items for event in EventReader().feed(item)]
    assert len(events) == len(items)  # each item is one whole event
    return [json.loads(event.data)["choices"][0]["delta"] for event in events]


@pytest.mark.parametrize("kind", [openai.plain, openai.obfuscated, openai.batched])
def test_the_events_carry_the_text_after_the_role(kind):
    role, *rest = deltas(list(islice(kind(Random(4)), 300)))
    assert role == {"role": "assistant", "content": "", "refusal": None}
    assert "".join(delta["content"] for delta in rest) in book.prose() * 2


def test_an_event_of_one_token_has_about_290_bytes():
    items = list(islice(openai.plain(Random(1)), 1, 2000))
    assert 280 < sum(map(len, items)) / len(items) < 300


def test_all_events_of_a_stream_agree_but_for_their_deltas():
    first, *rest = (re.sub(rb'"delta":\{.*?\}', b"", item) for item in islice(openai.plain(Random(1)), 100))
    assert set(rest) == {first}


def test_obfuscation_hides_the_length_of_a_token_in_steps_of_16_characters():
    # As recorded from OpenAI: the JSON of every event has 16 n + 1 characters.
    items = list(islice(openai.obfuscated(Random(2)), 1000))
    sizes = {len(item) - len(b"data: \n\n") for item in items}
    assert {size % 16 for size in sizes} == {1}
    assert len(sizes) <= 4
    padding = [json.loads(item[len(b"data: ") :])["obfuscation"] for item in items]
    assert max(map(len, padding)) < 16
    assert len(set(padding)) > 500


def test_a_batched_event_has_several_tokens():
    sizes = [len(delta["content"]) for delta in deltas(list(islice(openai.batched(Random(1)), 500)))]
    assert 3 < sum(sizes) / len(sizes) / 4 < 4
    assert min(sizes[1:]) < 6


def test_a_call_of_a_tool_is_json_in_pieces():
    head, *rest = deltas(list(islice(openai.tools(Random(5)), 400)))
    assert head["tool_calls"][0]["function"] == {"name": "write_file", "arguments": ""}
    arguments = "".join(delta["tool_calls"][0]["function"]["arguments"] for delta in rest)
    written = json.loads(arguments + '"}')
    assert written["path"] == "chapter.txt"
    assert written["text"] in book.prose() * 2
