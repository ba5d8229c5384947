"""Answers with recorded generation times: the pace of a real model, replayed."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from eloquent.errors import ConfigurationError
from eloquent.nodes.sources.base import SourceToken


class RecordedSource:
    """One recorded answer, whatever the prompt.

    Args:
        tokens: The answer; `at` of each is set and never decreases.
    """

    is_endless = False

    def __init__(self, tokens: Sequence[SourceToken]) -> None:
        self._tokens = tuple(tokens)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a recording: JSON Lines, each `{"at_s": seconds since the first-token delay, "text": the token}`.

        Raises:
            ConfigurationError: The file cannot be read, a line is no such object, its text cannot be sent, or its time is
                negative or before the line above.
        """
        try:
            lines = path.read_text(encoding="utf-8-sig").rstrip("\r\n").split("\n")  # a text may hold other separators
        except OSError as error:
            raise ConfigurationError(f"cannot read the recording {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"cannot read the recording {path}: {error}") from error
        tokens: list[SourceToken] = []
        for number, line in enumerate(lines, 1):
            try:
                token = _read_token(line)
            except (ValueError, TypeError, RecursionError) as error:
                raise ConfigurationError(f'{path}:{number}: not a line {{"at_s": …, "text": …}}: {error}') from error
            earliest = tokens[-1].at if tokens else 0.0
            if not (earliest or 0.0) <= (token.at or 0.0) < float("inf"):
                raise ConfigurationError(f"{path}:{number}: at_s {token.at} is before {earliest}, or never")
            tokens.append(token)
        return cls(tokens)

    def tokens(self, prompt: str) -> Iterator[SourceToken]:  # noqa: ARG002  (a Source answers a prompt; this one always alike)
        """Yield the recorded tokens."""
        yield from self._tokens


def _read_token(line: str) -> SourceToken:
    """Read one line.

    Raises:
        ValueError: It is no such object.
        TypeError: A value is of the wrong type.
    """
    record = json.loads(line)
    if not isinstance(record, dict) or not {"at_s", "text"} <= record.keys():
        raise ValueError("it has no at_s or no text")
    text, at_s = record["text"], record["at_s"]
    if not isinstance(text, str):
        raise TypeError(f"the text is {json.dumps(text)[:40]}")
    if isinstance(at_s, bool) or not isinstance(at_s, int | float):
        raise TypeError(f"at_s is {json.dumps(at_s)[:40]}")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("the text holds half a character (a surrogate), which cannot be sent")
    return SourceToken(text, float(at_s) if abs(at_s) < 1e9 else float("inf"))
