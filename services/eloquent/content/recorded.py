"""Items from a file of JSON Lines, one object a line.

An object with a `text` is a token, as in the recordings of the token server; any other, such as a `chat.completion.chunk`, is the
data of a server-sent event and goes as it stands.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random

from eloquent.content.book import round_from
from eloquent.errors import ConfigurationError


def replay(name: str, rng: Random) -> Iterator[bytes]:
    """Yield the items of a file from anywhere on, round and round.

    Args:
        name: The file.
        rng: Where the beginning is drawn from.

    Raises:
        ConfigurationError: The file cannot be read, or a line of it is no object.
    """
    items = read(name)
    return round_from(items, rng.randrange(len(items)))


@cache
def read(name: str) -> tuple[bytes, ...]:
    """Return the items of a file; it is read once.

    Args:
        name: The file.

    Raises:
        ConfigurationError: The file cannot be read or holds nothing, or a line of it is no object.
    """
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read the content {name}: {error}") from None
    lines = enumerate(text.split("\n"), start=1)  # other characters that Python calls line breaks are data
    items = tuple(_item(line, f"{name}:{number}") for number, line in lines if line.strip())
    if not items:
        raise ConfigurationError(f"{name} holds no content: write one JSON object a line")
    return items


def _item(line: str, where: str) -> bytes:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise ConfigurationError(f"{where}: no JSON: {error}") from None
    if not isinstance(value, dict):
        raise ConfigurationError(f"{where}: no JSON object, neither a token with its text nor the data of an event")
    if "text" not in value:
        return f"data: {line.strip()}\n\n".encode()
    if not isinstance(value["text"], str):
        raise ConfigurationError(f"{where}: the text of a token is a string")
    return value["text"].encode()
