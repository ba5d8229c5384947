"""OpenAI's chat completions: one server-sent event for each token, 290 bytes of JSON around four bytes of text.

The fields and their order are those of OpenAI's own server in 2025, without `include_usage`; other servers, such as vLLM, leave
some of them out.
"""

import json
import string
from collections.abc import Iterator
from itertools import islice
from random import Random

from eloquent.content.book import passage

_LETTERS = string.ascii_letters + string.digits
_BLOCK, _REST = 16, 1  # the JSON of an obfuscated event has a multiple of 16 characters, and one
_MODELS = ("gpt-4o-2024-08-06", "gpt-4o-mini-2024-07-18", "gpt-4.1-2025-04-14", "gpt-4.1-mini-2025-04-14")
_MOST_TOKENS = 6  # in one event of a server that decodes several at once
_ROLE = '{"role":"assistant","content":"","refusal":null}'


class _Chunks:
    """Writes the events of one answer.

    Args:
        rng: Where identifiers are drawn from.
        obfuscate: Whether each event is padded by random characters.
    """

    def __init__(self, rng: Random, *, obfuscate: bool = False) -> None:
        self._rng = rng
        self._obfuscate = obfuscate
        self._head = (
            f'{{"id":"chatcmpl-{letters(rng, 29)}","object":"chat.completion.chunk",'
            f'"created":{1_764_000_000 + rng.randrange(10_000_000)},"model":"{rng.choice(_MODELS)}",'
            f'"service_tier":"default","system_fingerprint":"fp_{rng.getrandbits(40):010x}",'
            '"choices":[{"index":0,"delta":'
        )

    def event(self, delta: str) -> bytes:
        """Return the event of a delta.

        Args:
            delta: As JSON.
        """
        text = f'{self._head}{delta},"logprobs":null,"finish_reason":null}}]'
        if self._obfuscate:
            text += ',"obfuscation":"'
            text += letters(self._rng, (_REST - len(text) - len('"}')) % _BLOCK) + '"'
        return f"data: {text}}}\n\n".encode()


def plain(rng: Random) -> Iterator[bytes]:
    """Yield events of one token, as with `include_obfuscation` false."""
    return _content(_Chunks(rng), passage(rng))


def obfuscated(rng: Random) -> Iterator[bytes]:
    """Yield events of one token, padded by random characters, as OpenAI sends them unless asked not to.

    The padding hides how long a token is from who sees the sizes of encrypted packets.
    """
    return _content(_Chunks(rng, obfuscate=True), passage(rng))


def batched(rng: Random) -> Iterator[bytes]:
    """Yield events of several tokens, as servers send them that decode speculatively or in several steps at once."""
    return _content(_Chunks(rng), _joined(passage(rng), rng))


def tools(rng: Random) -> Iterator[bytes]:
    """Yield the events of a call of a tool, whose arguments hold a long text, a token each."""
    chunks = _Chunks(rng)
    function = '"type":"function","function":{"name":"write_file","arguments":""}'
    call = f'[{{"index":0,"id":"call_{letters(rng, 24)}",{function}}}]'
    yield chunks.event(f'{{"role":"assistant","content":null,"tool_calls":{call},"refusal":null}}')
    for part in _arguments(passage(rng)):
        arguments = json.dumps(part, ensure_ascii=False)
        yield chunks.event(f'{{"tool_calls":[{{"index":0,"function":{{"arguments":{arguments}}}}}]}}')


def letters(rng: Random, count: int) -> str:
    """Return random letters and digits."""
    return "".join(rng.choices(_LETTERS, k=count))


def _content(chunks: _Chunks, texts: Iterator[str]) -> Iterator[bytes]:
    yield chunks.event(_ROLE)
    for text in texts:
        yield chunks.event(f'{{"content":{json.dumps(text, ensure_ascii=False)}}}')


def _joined(texts: Iterator[str], rng: Random) -> Iterator[str]:
    while True:
        yield "".join(islice(texts, rng.randint(1, _MOST_TOKENS)))


def _arguments(texts: Iterator[str]) -> Iterator[str]:
    """Yield the arguments of the call, which are JSON themselves, in pieces."""
    yield from ('{"', "path", '":"', "chapter", ".txt", '","', "text", '":"')
    for text in texts:
        yield json.dumps(text, ensure_ascii=False)[1:-1]
