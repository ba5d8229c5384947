"""Prose: the bundled novel word by word, from a place that the prompt decides, round and round."""

import zlib
from collections.abc import Iterator
from functools import cache

from eloquent.content import book
from eloquent.nodes.sources.base import SourceToken


@cache
def _words() -> tuple[str, ...]:
    """The book's words, each with the space before it."""
    return tuple(f" {word}" for word in book.prose().split())


class BookSource:
    """Quotes the bundled book word by word, without end."""

    is_endless = True

    def tokens(self, prompt: str) -> Iterator[SourceToken]:
        """Yield words from a place that follows from the prompt, back to the first after the last."""
        words = _words()
        start = zlib.crc32(prompt.encode()) % len(words)
        for word in book.round_from(words, start):
            yield SourceToken(word)
