"""Prose: the opening of a public-domain novel, from a place that the prompt decides, round and round."""

import re
import zlib
from collections.abc import Iterator
from functools import cache
from itertools import chain, cycle, islice
from pathlib import Path

from eloquent.nodes.sources.base import Token

_BOOK = Path(__file__).with_name("alice.txt")
_HEADER_END = "\n---\n"  # parts the lines that say what the text is from the text


@cache
def _words() -> tuple[str, ...]:
    """The book's words, each with the space before it."""
    _, _, text = _BOOK.read_text(encoding="utf-8").partition(_HEADER_END)
    return tuple(" " + word for word in re.split(r"\s+", text.strip()))


class BookSource:
    """Quotes the bundled book word by word, without end."""

    is_endless = True

    def tokens(self, prompt: str) -> Iterator[Token]:
        """Yield words from a place that follows from the prompt, back to the first after the last."""
        words = _words()
        start = zlib.crc32(prompt.encode()) % len(words)
        for word in chain(islice(words, start, None), cycle(words)):
            yield Token(word)
