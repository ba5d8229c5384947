"""Answers with recorded generation times: the pace of a real model, replayed."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from eloquent.errors import ConfigurationError
from eloquent.nodes.sources.base import Token


class RecordedSource:
    """One recorded answer, whatever the prompt.

    Args:
        tokens: The answer; `at` of each is set and never decreases.
    """

    is_endless = False

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tuple(tokens)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a recording: JSON Lines, each `{"at_s": seconds since the first-token delay, "text": the token}`.

        Raises:
            ConfigurationError: A line is no such object, or its time is negative or before the line above.
        """
        tokens: list[Token] = []
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                record = json.loads(line)
                token = Token(str(record["text"]), float(record["at_s"]))
            except (ValueError, KeyError, TypeError) as error:
                raise ConfigurationError(f'{path}:{number}: not a line {{"at_s": …, "text": …}}: {error}') from error
            earliest = tokens[-1].at if tokens else 0.0
            if not (earliest or 0.0) <= (token.at or 0.0) < float("inf"):
                raise ConfigurationError(f"{path}:{number}: at_s {token.at} is before {earliest}")
            tokens.append(token)
        return cls(tokens)

    def tokens(self, prompt: str) -> Iterator[Token]:  # noqa: ARG002  (a Source answers a prompt; this one always alike)
        """Yield the recorded tokens."""
        yield from self._tokens
