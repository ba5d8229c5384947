"""How an answer is worded over HTTP: where it ends, what it says of itself."""

import asyncio
import json

import httpx
import pytest

from eloquent.nodes.sources import Library
from eloquent.nodes.token_server.http_frontend import USUAL_TOKENS
from eloquent.nodes.token_server.model import Limits

PATH = "/v1/chat/completions"


def ask(server, prompt="Tell me a story", *, limits=None, library=None, **fields):
    """Ask for an answer whole and streamed, which are the same; return text, reason of the end, and usage."""
    own = {"token_gap_s": 0} | fields.pop("eloquent", {})
    messages = fields.pop("messages", [{"role": "user", "content": prompt}])
    body = {"model": "m", "messages": messages, "eloquent": own} | fields

    async def run():
        async with server(http=True, limits=limits, library=library) as (port, _):
            url = f"http://127.0.0.1:{port.http}"
            async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client:
                whole = await client.post(PATH, json=body)
                events = await client.post(
                    PATH, json=body | {"stream": True, "stream_options": {"include_usage": True}}
                )
                return whole.json(), events.text

    whole, text = asyncio.run(run())
    events = [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: {")]
    choices = [choice for event in events for choice in event["choices"]]
    streamed = "".join(choice["delta"].get("content", "") for choice in choices)
    (choice,) = whole["choices"]
    assert streamed == choice["message"]["content"]
    assert choices[-1]["finish_reason"] == choice["finish_reason"]
    assert events[-1]["usage"] == whole["usage"]
    return streamed, choice["finish_reason"], whole["usage"]


def test_an_answer_without_a_limit_ends_by_itself(server):
    text, reason, usage = ask(server)
    assert reason == "stop"
    assert len(text.split()) == usage["completion_tokens"] == USUAL_TOKENS


def test_an_answer_with_a_limit_is_as_long_as_the_limit(server):
    _, reason, usage = ask(server, max_tokens=USUAL_TOKENS + 50)
    assert (reason, usage["completion_tokens"]) == ("length", USUAL_TOKENS + 50)


def test_an_answer_that_ends_by_itself_ends_nowhere_else(server, tmp_path):
    number = USUAL_TOKENS
    text, reason, usage = ask(server, f"Count to {number}")
    assert (text.endswith(f", {number}"), reason, usage["completion_tokens"]) == (True, "stop", 2 * number - 1)
    lines = [json.dumps({"at_s": 0, "text": "x"})] * (number + 1)
    (tmp_path / "long.jsonl").write_text("\n".join(lines))
    text, reason, _ = ask(server, library=Library(tmp_path), eloquent={"source": "recorded:long"})
    assert (len(text), reason) == (number + 1, "stop")


def test_the_server_s_own_limit_is_a_limit(server):
    _, reason, usage = ask(server, limits=Limits(tokens=7))
    assert (reason, usage["completion_tokens"]) == ("length", 7)


def test_over_grpc_an_answer_goes_on_until_the_server_s_limit(server, client):
    async def run():
        async with server(limits=Limits(tokens=USUAL_TOKENS + 100)) as (port, _), client(port) as asker:
            return len(await asker.answer("Tell me a story", gap=0))

    assert asyncio.run(run()) == USUAL_TOKENS + 100


@pytest.mark.parametrize(
    ("stop", "limit", "text", "reason"),
    [
        (", 4", None, "1, 2, 3", "stop"),
        ("3, 4", None, "1, 2, ", "stop"),
        (["9", "2,", "3"], None, "1, ", "stop"),
        ("1", None, "", "stop"),
        ("x", None, "1, 2, 3, 4, 5", "stop"),
        (", 4", 5, "1, 2, 3", "length"),
        (", 4", 6, "1, 2, 3,", "length"),
        (", 4", 7, "1, 2, 3", "stop"),
        (", 4", 8, "1, 2, 3", "stop"),
    ],
)
def test_a_stop_ends_the_answer_and_is_no_part_of_it(server, stop, limit, text, reason):
    assert ask(server, "Count to 5", stop=stop, max_tokens=limit)[:2] == (text, reason)


def test_the_usage_counts_all_messages(server):
    parts = [{"type": "text", "text": "Count to"}, {"type": "text", "text": " 2 please"}]
    messages = [
        {"role": "system", "content": "You count."},
        {"role": "user", "content": "Count to 1"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": parts},
    ]
    text, _, usage = ask(server, messages=messages)
    assert text == "1, 2"
    assert usage == {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
