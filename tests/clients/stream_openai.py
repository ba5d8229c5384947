"""Stream an answer by OpenAI's Python package, with both of its clients: `stream_openai.py BASE_URL REQUEST`; prints it twice."""

import asyncio
import json
import sys
from typing import Any

import openai


def tell(chunks: list[Any]) -> None:
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]
    print(json.dumps([text, reasons, chunks[-1].usage.completion_tokens, len(chunks)]), flush=True)


async def stream_asynchronously(base_url: str, asked: dict[str, Any]) -> None:
    async with openai.AsyncOpenAI(base_url=base_url, api_key="any", max_retries=0, timeout=60) as client:
        tell([chunk async for chunk in await client.chat.completions.create(**asked)])


if __name__ == "__main__":
    url, request = sys.argv[1], json.loads(sys.argv[2])
    with openai.OpenAI(base_url=url, api_key="any", max_retries=0, timeout=60) as client:
        tell(list(client.chat.completions.create(**request)))
    asyncio.run(stream_asynchronously(url, request))
