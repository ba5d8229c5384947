"""Stream an answer by LangChain: `stream_langchain.py BASE_URL`; prints it."""

import json
import sys

from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI

model = ChatOpenAI(
    model="any",
    base_url=sys.argv[1],
    api_key="any",
    max_retries=0,
    timeout=60,
    seed=1,
    temperature=1.0,
    max_tokens=120,
    stream_usage=True,
)
chunks = list(model.stream([HumanMessage("hello")]))
whole = sum(chunks[1:], chunks[0])
reason, tokens = whole.response_metadata["finish_reason"], whole.usage_metadata["output_tokens"]
print(json.dumps(["".join(chunk.text for chunk in chunks), [reason], tokens, len(chunks)]))
