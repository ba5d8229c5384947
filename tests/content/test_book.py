"""The bundled book, and its tokens."""

from itertools import islice
from random import Random

from eloquent.content import book


def test_the_tokens_are_the_text():
    assert "".join(book.tokens()) == book.prose()
    assert book.prose().startswith("Alice was beginning")
    assert "Author:" not in book.prose()


def test_tokens_are_as_long_as_those_of_models():
    assert 3.8 < len(book.prose()) / len(book.tokens()) < 4.5
    assert list(islice(book.tokens(), 10)) == [
        *("Alice", " was", " begin", "ning", " to", " get", " very", " tired", " of", " sitting"),
    ]
    assert max(map(len, book.tokens())) <= 9


def test_a_minute_of_the_fastest_model_repeats_nothing_long():
    """What compression finds is what English repeats, and not the same page once more."""
    text = b"".join(islice(book.text(Random(1)), 200 * 60))
    places = range(0, len(text) - 60, 60)
    assert len({text[place : place + 60] for place in places}) == len(places)


def test_the_book_goes_round():
    items = list(islice(book.round_from("abc", 2), 5))
    assert items == ["c", "a", "b", "c", "a"]
