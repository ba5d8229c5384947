"""OpenAI's Python package against the token server: `ask_openai.py BASE_URL`."""

import asyncio
import sys

import openai

COUNT = [{"role": "user", "content": "Count to 5"}]
COUNTED = "1, 2, 3, 4, 5"
STRANGE = "one\u2028line \u0085 to\x0b all\x0c readers\u2029"
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def main(base_url: str) -> None:
    with openai.OpenAI(base_url=base_url, api_key="any", max_retries=0, timeout=60) as client:
        lists_models(client)
        streams(client)
        answers_whole(client)
        reads_every_character(client)
        is_told_what_is_wrong(client)
        leaves_early(client)
    asyncio.run(streams_asynchronously(base_url))


def lists_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["eloquent"]
    assert client.models.retrieve("eloquent").id == "eloquent"


def streams(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="eloquent",
        messages=COUNT,
        stream=True,
        stream_options={"include_usage": True},
        temperature=0.7,
        tools=[TOOL],
    )
    *chunks, last = stream
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == COUNTED
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert last.usage.completion_tokens == 9
    with client.chat.completions.stream(model="eloquent", messages=COUNT) as events:
        assert events.get_final_completion().choices[0].message.content == COUNTED


def answers_whole(client: openai.OpenAI) -> None:
    fast = {"eloquent": {"token_gap_s": 0}}
    whole = client.chat.completions.create(model="eloquent", messages=COUNT, extra_body=fast)
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == (COUNTED, "stop")
    cut = client.chat.completions.create(model="eloquent", messages=COUNT, max_tokens=3, extra_body=fast)
    assert (cut.choices[0].message.content, cut.choices[0].finish_reason) == ("1, 2", "length")
    stopped = client.chat.completions.create(model="eloquent", messages=COUNT, stop=[" 4"], extra_body=fast)
    assert (stopped.choices[0].message.content, stopped.choices[0].finish_reason) == ("1, 2, 3,", "stop")
    story = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Why?"}]},
    ]
    endless = client.chat.completions.create(model="eloquent", messages=story, extra_body=fast)  # and yet it ends
    assert endless.usage.completion_tokens == 200


def reads_every_character(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="eloquent", messages=COUNT, stream=True, extra_body={"eloquent": {"source": "recorded:strange"}}
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == STRANGE


def is_told_what_is_wrong(client: openai.OpenAI) -> None:
    for field, value in ("n", 2), ("response_format", {"type": "json_object"}):
        refusal = None
        try:
            client.chat.completions.create(model="eloquent", messages=COUNT, stream=True, **{field: value})
        except openai.BadRequestError as error:
            refusal = error
        assert refusal is not None
        assert refusal.param.startswith(field)
        assert field in str(refusal)


def leaves_early(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="eloquent", messages=[{"role": "user", "content": "Count to 9999"}], stream=True
    )
    for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    stream.close()


async def streams_asynchronously(base_url: str) -> None:
    async with openai.AsyncOpenAI(base_url=base_url, api_key="any", max_retries=0, timeout=60) as client:

        async def ask() -> str:
            stream = await client.chat.completions.create(model="eloquent", messages=COUNT, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        assert await asyncio.gather(*(ask() for _ in range(5))) == [COUNTED] * 5


if __name__ == "__main__":
    main(sys.argv[1])
