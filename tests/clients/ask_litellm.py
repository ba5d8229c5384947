"""LiteLLM against the token server, by both of its ways to an OpenAI-compatible server: `ask_litellm.py BASE_URL`."""

import asyncio
import sys

import litellm

COUNT = [{"role": "user", "content": "Count to 5"}]
COUNTED = "1, 2, 3, 4, 5"
STRANGE = "one\u2028line \u0085 to\x0b all\x0c readers\u2029"


def main(base_url: str) -> None:
    for provider in ("openai", "hosted_vllm"):
        where = {
            "model": f"{provider}/eloquent",
            "api_base": base_url,
            "api_key": "any",
            "num_retries": 0,
            "timeout": 60,
        }
        asks(where | {"messages": COUNT})
        is_told_what_is_wrong(where | {"messages": COUNT, "n": 2})


def asks(question: dict[str, object]) -> None:
    assert read(question, stream_options={"include_usage": True}) == COUNTED
    assert read(question, max_tokens=3) == "1, 2"
    assert read(question, stop=[" 4"]) == "1, 2, 3,"
    assert read(question, extra_body={"eloquent": {"source": "recorded:strange"}}) == STRANGE
    whole = litellm.completion(**question)
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == (COUNTED, "stop")
    assert whole.usage.completion_tokens == 9
    assert asyncio.run(read_asynchronously(question)) == COUNTED


def read(question: dict[str, object], **fields: object) -> str:
    chunks = litellm.completion(**question, stream=True, **fields)
    return "".join([chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices])


async def read_asynchronously(question: dict[str, object]) -> str:
    chunks = await litellm.acompletion(**question, stream=True)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])


def is_told_what_is_wrong(question: dict[str, object]) -> None:
    refusal = ""
    try:
        litellm.completion(**question)
    except litellm.BadRequestError as error:
        refusal = str(error)
    assert "n: this server gives one answer" in refusal


if __name__ == "__main__":
    main(sys.argv[1])
