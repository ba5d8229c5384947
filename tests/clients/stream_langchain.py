"""Stream an answer by LangChain: `stream_langchain.py BASE_URL REQUEST`; prints it."""

import json
import sys

from langchain_openai import ChatOpenAI

asked = json.loads(sys.argv[2])
fields = {name: asked[name] for name in ("model", "seed", "temperature", "max_tokens")}
model = ChatOpenAI(base_url=sys.argv[1], api_key="any", max_retries=0, timeout=60, stream_usage=True, **fields)
chunks = list(model.stream(asked["messages"]))
whole = sum(chunks[1:], chunks[0])
reason, tokens = whole.response_metadata["finish_reason"], whole.usage_metadata["output_tokens"]
print(json.dumps(["".join(chunk.text for chunk in chunks), [reason], tokens, len(chunks)]))
