"""End an answer where its text says one of the given stops, which may begin in one token and end in a later one.

Rules of this file: the stop itself is no part of the answer. A source's tokens are known before they are due, so that looking ahead
for the rest of a stop makes no token late.
"""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace

from eloquent.nodes.sources import SourceToken


def until_stop(tokens: Iterable[SourceToken], stops: Sequence[str]) -> Generator[SourceToken, None, bool]:
    """Yield tokens up to the first stop; the one in which it begins is cut before it, or left out if nothing remains.

    Args:
        tokens: The answer.
        stops: Texts that end it, none of them empty.

    Returns:
        Whether a stop was found.
    """
    held: list[SourceToken] = []  # those whose text may belong to a stop
    for token in tokens:
        held.append(token)
        text = "".join(one.text for one in held)
        if found := [at for at in (text.find(stop) for stop in stops) if at >= 0]:
            yield from _before(min(found), held)
            return True
        begun = max((_begun(text, stop) for stop in stops), default=0)
        free = len(text) - begun
        while held and len(held[0].text) <= free:
            free -= len(held[0].text)
            yield held.pop(0)
    yield from held
    return False


def _before(end: int, tokens: Iterable[SourceToken]) -> Generator[SourceToken, None, None]:
    """Yield tokens as far as the first so many characters go."""
    for token in tokens:
        if end <= 0:
            return
        yield replace(token, text=token.text[:end])
        end -= len(token.text)


def _begun(text: str, stop: str) -> int:
    """Return how many characters at the end of the text may be the beginning of a stop."""
    most = min(len(text), len(stop) - 1)
    return next((length for length in range(most, 0, -1) if text.endswith(stop[:length])), 0)
