"""Prose: the first chapters of a public-domain novel, and how a model's tokenizer cuts it.

Tokenizers of today's models differ in their vocabularies and agree on the rules: a word takes the space before it along,
endings such as 's and punctuation stand apart, and a word that is long or rare falls into pieces. Here a word of more than
eight letters does. On average a token has 4.1 bytes, as English has with the vocabularies in use.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain, cycle, islice
from pathlib import Path
from random import Random
from typing import TypeVar

_BOOK = Path(__file__).with_name("alice.txt")
_HEADER_END = "\n---\n"  # parts the lines that say what the text is from the text
_TOKEN = re.compile(
    r"'(?:[sdmt]|ll|ve|re)\b"  # endings
    r"| ?[A-Za-z]{1,8}(?![A-Za-z])"  # a word
    r"| ?[A-Za-z]{5}|[A-Za-z]+"  # the pieces of a long one
    r"| ?[^\sA-Za-z]+"  # punctuation
    r"|\n\n|\s"
)

_Item = TypeVar("_Item")


@cache
def prose() -> str:
    """Return the text, its paragraphs parted by an empty line and not broken into lines."""
    _, _, text = _BOOK.read_text(encoding="utf-8").partition(_HEADER_END)
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


@cache
def tokens() -> tuple[str, ...]:
    """Return the text in tokens; joined they are the text."""
    return tuple(_TOKEN.findall(prose()))


def round_from(items: Sequence[_Item], place: int) -> Iterator[_Item]:
    """Yield items from a place on, and after the last again from the first, for ever."""
    return chain(islice(items, place, None), cycle(items))


def passage(rng: Random) -> Iterator[str]:
    """Yield tokens from anywhere in the text on."""
    return round_from(tokens(), rng.randrange(len(tokens())))


def text(rng: Random) -> Iterator[bytes]:
    """Yield tokens as bytes."""
    return (token.encode() for token in passage(rng))
