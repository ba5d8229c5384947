"""The prompt of the paper's measurement study (Eloquent §2.2), whose answer follows from the prompt."""

import re
from collections.abc import Iterator
from itertools import islice

from eloquent.content import messages
from eloquent.nodes.sources.base import SourceToken

_PROMPT = re.compile(r"\s*count\s+to\s+(\d{1,9})\b", re.IGNORECASE)


def counting_prompt(tokens: int) -> str:
    """Word the paper's prompt so that its answer has the wanted number of tokens, or one less when that is even.

    Args:
        tokens: At least 1.
    """
    return f"Count to {(tokens + 1) // 2}, with a comma between each number and no newlines. E.g., 1, 2, 3, ..."


class CountingSource:
    """Counts to N: "1", ",", " 2", "," and so on, N numbers and N - 1 commas."""

    is_endless = False

    @staticmethod
    def answers(prompt: str) -> bool:
        """Return whether the prompt asks to count."""
        return _PROMPT.match(prompt) is not None

    def tokens(self, prompt: str) -> Iterator[SourceToken]:
        """Yield the numbers and the commas between them.

        Raises:
            ValueError: The prompt does not ask to count.
        """
        match = _PROMPT.match(prompt)
        if match is None:
            raise ValueError("not a counting prompt")
        for text in islice(messages.counting(), max(0, 2 * int(match[1]) - 1)):
            yield SourceToken(text)
