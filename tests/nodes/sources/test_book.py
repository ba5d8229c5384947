from itertools import islice

from eloquent.nodes.sources.book import BookSource


def test_the_answer_follows_from_the_prompt_alone():
    first, again, other = ([t.text for t in islice(BookSource().tokens(p), 50)] for p in ("tea?", "tea?", "cake?"))
    assert first == again
    assert first != other


def test_tokens_are_words_with_the_space_before_them():
    tokens = list(islice(BookSource().tokens("hello"), 200))
    assert all(token.text.startswith(" ") and " " not in token.text[1:] for token in tokens)
    assert all(token.at is None for token in tokens)


def test_the_book_starts_again_after_its_end():
    words = [token.text for token in islice(BookSource().tokens("round"), 25_000)]
    length = words.index(words[0], 1)
    while words[length : 2 * length] != words[:length]:
        length = words.index(words[0], length + 1)
    assert length > 10_000
    assert " Rabbit" in words
    assert " Author:" not in words
