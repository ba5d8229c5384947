"""Stream an answer by OpenAI's Python package, with both of its clients: `stream_openai.py BASE_URL`; prints it twice."""

import asyncio
import json
import sys
from typing import Any

import openai

ASKED: dict[str, Any] = {
    "model": "any",
    "messages": [{"role": "user", "content": "hello"}],
    "seed": 1,
    "temperature": 1.0,
    "max_tokens": 120,
    "stream": True,
    "stream_options": {"include_usage": True},
}


def tell(chunks: list[Any]) -> None:
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]
    print(json.dumps([text, reasons, chunks[-1].usage.completion_tokens, len(chunks)]), flush=True)


async def stream_asynchronously(base_url: str) -> None:
    async with openai.AsyncOpenAI(base_url=base_url, api_key="any", max_retries=0, timeout=60) as client:
        tell([chunk async for chunk in await client.chat.completions.create(**ASKED)])


if __name__ == "__main__":
    with openai.OpenAI(base_url=sys.argv[1], api_key="any", max_retries=0, timeout=60) as client:
        tell(list(client.chat.completions.create(**ASKED)))
    asyncio.run(stream_asynchronously(sys.argv[1]))
