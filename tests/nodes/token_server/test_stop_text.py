import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.nodes.sources import SourceToken
from eloquent.nodes.token_server.stop_text import until_stop


def run(texts, stops):
    """Return the texts of the tokens that are left, and whether a stop was found."""
    tokens = until_stop((SourceToken(text, index / 10) for index, text in enumerate(texts)), stops)
    kept = []
    while True:
        try:
            kept.append(next(tokens).text)
        except StopIteration as end:
            return kept, end.value


@pytest.mark.parametrize(
    ("texts", "stops", "kept", "found"),
    [
        (["a", "b", "c"], [], ["a", "b", "c"], False),
        (["a", "b", "c"], ["b"], ["a"], True),
        (["a", "b", "c"], ["bc"], ["a"], True),
        (["one", " two", " three"], ["wo th"], ["one", " t"], True),
        (["one", " two"], ["two three"], ["one", " two"], False),
        (["ab", "ab", "c"], ["abc"], ["ab"], True),
        (["x", "y"], ["x"], [], True),
        (["a", "b"], ["b", "ab"], [], True),
        (["aaa"], ["aa", "a"], [], True),
        (["né", "\n\n", "x"], ["\n\n"], ["né"], True),
        ([], ["a"], [], False),
    ],
)
def test_an_answer_ends_before_the_first_stop(texts, stops, kept, found):
    assert run(texts, stops) == (kept, found)


WORDS = st.text("ab", max_size=4)


@given(st.lists(WORDS, max_size=12), st.lists(st.text("ab", min_size=1, max_size=5), max_size=4))
def test_it_is_what_one_finds_in_the_whole_text(texts, stops):
    text = "".join(texts)
    ends = [at for at in (text.find(stop) for stop in stops) if at >= 0]
    kept, found = run(texts, stops)
    assert found == bool(ends)
    assert "".join(kept) == (text[: min(ends)] if ends else text)
    assert all(whole.startswith(part) for whole, part in zip(texts, kept, strict=False))
    if not stops:
        assert kept == texts


def test_a_token_leaves_as_soon_as_it_cannot_belong_to_a_stop():
    taken = []

    def source():
        for text in ["a", "b", "b", "c"]:
            taken.append(text)
            yield SourceToken(text)

    tokens = until_stop(source(), ["bc"])
    assert next(tokens).text == "a"
    assert taken == ["a"]
    assert next(tokens).text == "b"
    assert taken == ["a", "b", "b"]


def test_a_text_without_end_is_not_searched_to_its_end():
    def forever():
        while True:
            yield SourceToken(" word")

    tokens = until_stop(forever(), ["word words", "x" * 256])
    assert [next(tokens).text for _ in range(100)] == [" word"] * 100
