"""What a token source is."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SourceToken:
    """One token of an answer.

    Attributes:
        text: As a reader sees it; the answer is the tokens joined without anything between.
        at: Seconds after the first-token delay at which it is produced; `None` leaves the pace to the request.
    """

    text: str
    at: float | None = None


class Source(Protocol):
    """Answers prompts: a pure function of the prompt, so that every scheme of a run carries the same text.

    Attributes:
        is_endless: Whether an answer goes on until the server ends it.
    """

    is_endless: bool

    def tokens(self, prompt: str) -> Iterator[SourceToken]:
        """Yield the answer's tokens, for ever where it is endless."""
        ...
