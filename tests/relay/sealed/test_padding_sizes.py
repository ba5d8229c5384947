"""Row 10: whether sizes tell two texts of as many tokens apart.

Method: two texts of 60 tokens, of short words and of long ones, are each streamed 20 times over a network that drops, repeats and
delays, with another seed each time. An onlooker who knows which session was which text for all but one counts the sizes of that
one's datagrams, per direction, and takes it for the text to whose mean histogram it is nearer (L1). Guessing is right 20 times of
40; 31 or more are right by chance less than once in 2000.
"""

import random
from collections import Counter
from typing import Any

import pytest

SHORT = ["a ", "I ", "of ", "to ", "in ", "it ", "is ", "be ", "as ", "at "]
LONG = ["understanding ", "nevertheless ", "communication ", "architecture ", "independence ", "considerably "]
SESSIONS = 20


def session(sealed: Any, words: list[str], seed: int, padding: dict[str, None]) -> Counter[Any]:
    draw = random.Random(seed)
    text = [draw.choice(words).encode() for _ in range(60)]
    talk = sealed.Talk(sealed.terrible(seed, until=1e9), answers={b"question": text}, **padding)
    talk.ask(b"question")
    talk.pair.run(until=60.0)
    assert talk.text(0) == b"".join(text)
    return Counter((side, len(data)) for side in "ab" for _, data in talk.pair.sent[side])


def mean(histograms: list[Counter[Any]]) -> dict[Any, float]:
    total: Counter[Any] = Counter()
    for histogram in histograms:
        total.update(histogram)
    return {size: count / len(histograms) for size, count in total.items()}


def distance(one: Any, other: Any) -> float:
    return sum(abs(one.get(size, 0) - other.get(size, 0)) for size in {*one, *other})


def guessed(texts: list[list[Counter[Any]]]) -> int:
    """How many sessions are taken for the right text."""
    right = 0
    for which, number in [(which, number) for which in (0, 1) for number in range(SESSIONS)]:
        known = [[h for i, h in enumerate(text) if (t, i) != (which, number)] for t, text in enumerate(texts)]
        near, far = (distance(texts[which][number], mean(known[text])) for text in (which, 1 - which))
        right += near < far
    return right


@pytest.mark.parametrize(
    ("padding", "least", "most"), [({}, 0, 30), ({"padding": None}, 38, 40)], ids=["padded", "bare"]
)
def test_row_10_sizes_tell_two_texts_apart_only_without_padding(
    sealed: Any, padding: dict[str, None], least: int, most: int
) -> None:
    texts = [
        [session(sealed, words, 1000 * which + number, padding) for number in range(SESSIONS)]
        for which, words in enumerate((SHORT, LONG))
    ]
    assert least <= guessed(texts) <= most
