"""LangChain against the token server: `ask_langchain.py BASE_URL`."""

import asyncio
import sys

from langchain_core.messages import HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI

COUNTED = "1, 2, 3, 4, 5"
STRANGE = "one\u2028line \u0085 to\x0b all\x0c readers\u2029"


def main(base_url: str) -> None:
    def model(**fields: object) -> ChatOpenAI:
        return ChatOpenAI(model="eloquent", base_url=base_url, api_key="any", max_retries=0, timeout=60, **fields)

    question = [SystemMessage("Be brief."), HumanMessage("Count to 5")]
    chunks = list(model(stream_usage=True).stream(question))
    assert "".join(chunk.text for chunk in chunks) == COUNTED
    whole = sum(chunks[1:], chunks[0])
    assert whole.response_metadata["finish_reason"] == "stop"
    assert whole.usage_metadata["output_tokens"] == 9
    assert model().invoke(question).text == COUNTED
    assert model(max_tokens=3).invoke(question).text == "1, 2"
    assert model(stop=[" 4"]).invoke(question).text == "1, 2, 3,"
    strange = model(extra_body={"eloquent": {"source": "recorded:strange"}})
    assert "".join(chunk.text for chunk in strange.stream(question)) == STRANGE

    async def answer() -> str:
        return "".join([chunk.text async for chunk in model().astream(question)])

    assert asyncio.run(answer()) == COUNTED


if __name__ == "__main__":
    main(sys.argv[1])
