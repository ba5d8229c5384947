"""What really travels in streams, byte by byte: the content of every token, as a model or its server writes it.

Rules of this part

- A stream is a pure function of its kind and seed, without end. Each seed begins at another place of the same text, and has
  identifiers of its own, as each answer of a server has.
- One item is what a server hands over at once: a token, an event, a message. A scheme sees bytes and never what they mean.
- Nothing is cut short or padded to a length: what an item costs follows from what it says.

A new kind is one function and one line of `_KINDS`.
"""

from collections.abc import Callable, Iterator
from random import Random

from eloquent.content import book, messages, openai, recorded
from eloquent.errors import ConfigurationError

_KINDS: dict[str, Callable[[Random], Iterator[bytes]]] = {
    "text": book.text,
    "openai": openai.plain,
    "openai-obfuscated": openai.obfuscated,
    "openai-batched": openai.batched,
    "tools": openai.tools,
    "grpc": messages.generated,
}
KINDS = tuple(_KINDS)
"""The kinds that have a name; any other is the name of a file of recorded items."""


def stream(kind: str, seed: int) -> Iterator[bytes]:
    """Yield the items of one stream, for ever.

    Args:
        kind: One of `KINDS`, or a file of JSON Lines (`recorded`).
        seed: Which stream.

    Raises:
        ConfigurationError: There is no such kind, or the file cannot be read.
    """
    rng = Random(f"eloquent content 1|{kind}|{seed}")
    if kind in _KINDS:
        return _KINDS[kind](rng)
    if kind.endswith(".jsonl"):
        return recorded.replay(kind, rng)
    raise ConfigurationError(
        f"'{kind}' is no content: choose from {', '.join(KINDS)}, or name a file that ends with .jsonl"
    )
