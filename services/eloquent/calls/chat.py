"""OpenAI's chat completions as the testbed asks and answers them; `chat_stream` reads the answers.

Rules of this file: what OpenAI has no word for stands in an object `eloquent`, which other clients ignore. The code of an
error is a gRPC status in lower case, as in all logs.
"""

import json
import os
from typing import Any

from eloquent.calls import sse

PATH = "/v1/chat/completions"
MODEL = "eloquent"  # of the testbed's own token server
MEDIA_TYPE = "text/event-stream; charset=utf-8"
KEY_VARIABLE = "UPSTREAM_KEY"  # of the environment, so that no command line and no record of a run shows it
DONE = sse.write_event(b"[DONE]")
# Line breaks to Python and to some clients that read line by line, but not to JSON nor to event streams.
_AMBIGUOUS = {ord(letter): f"\\u{ord(letter):04x}" for letter in "\x85\u2028\u2029"}


def question(prompt: str, *, token_gap_s: float, max_tokens: int = 0, first_token_delay_s: float = 0.0) -> bytes:
    """Write the body of a request for a streamed answer; `max_tokens` 0 sets no limit."""
    body: dict[str, Any] = {
        "model": MODEL,
        "stream": True,
        "messages": [{"role": "user", "content": prompt}],
        "eloquent": {"token_gap_s": token_gap_s, "first_token_delay_s": first_token_delay_s},
    }
    if max_tokens:
        body["max_tokens"] = max_tokens
    return json.dumps(body).encode()


def plain_question(prompt: str, *, model: str, max_tokens: int) -> bytes:
    """Write the body of a request for a streamed answer that any server of chat completions understands."""
    messages = [{"role": "user", "content": prompt}]
    return json.dumps({"model": model, "stream": True, "messages": messages, "max_tokens": max_tokens}).encode()


def plain_headers() -> dict[str, str]:
    """Return the headers by which a server that is not the testbed's own knows us: the key of UPSTREAM_KEY, if there is one."""
    key = os.environ.get(KEY_VARIABLE)
    return {"authorization": f"Bearer {key}"} if key else {}


def event(data: dict[str, Any]) -> bytes:
    """Write an event of the stream, in which no client can take a character of the text for the end of a line."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return sse.write_event(text.translate(_AMBIGUOUS).encode())


def error_body(message: str, *, kind: str, code: str, param: str | None = None) -> dict[str, Any]:
    """Return OpenAI's form of an error."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
