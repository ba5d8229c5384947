"""What a fragment does not share with the one before it, and the dictionary that both sides make of that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.protocol.history import DICTIONARY_SIZE, STATIC_DICTIONARY, Delta, History, Shape, difference, restore

EVENT = b'data: {"id":"chatcmpl-1234567890","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}\n\n'
FRAME = Shape(EVENT.index(b"%s"), len(EVENT) - EVENT.index(b"%s") - 2)


def history(*fragments: bytes) -> History:
    made = History()
    for fragment in fragments:
        made.append(fragment)
    return made


def test_of_events_only_the_middle_is_left() -> None:
    words = [b"Call", b" me", b" Ish", b"mael", b".", b" Some"]
    made = history(*(EVENT % word for word in words))
    assert [made.delta(index) for index in range(1, 6)] == [Delta(FRAME, word) for word in words[1:]]


def test_text_shares_nothing_worth_telling() -> None:
    made = history(b" the", b" there", b" the")
    assert [made.delta(index) for index in range(3)] == [
        Delta(Shape(0, 0), word) for word in (b" the", b" there", b" the")
    ]


def test_a_frame_that_changes_is_found_anew() -> None:
    later = EVENT.replace(b"567890", b"567891")
    made = history(*(EVENT % word for word in (b"a1", b"b2", b"c3")), *(later % word for word in (b"d4", b"e5", b"f6")))
    changed = made.delta(3)
    assert changed.shape.prefix < FRAME.prefix
    assert made.delta(5) == Delta(FRAME, b"f6")


def test_of_the_events_after_one_without_text_only_the_middle_is_left() -> None:
    """Servers begin with an event of the role, which shares less with the first word than words share with each other."""
    role = EVENT.replace(b'{"content":"%s"}', b'{"role":"assistant","content":"","refusal":null}')
    words = [b"Call", b" me", b" Ish", b"mael", b".", b" Some"]
    made = history(role, *(EVENT % word for word in words))
    assert [made.delta(index) for index in range(3, 7)] == [Delta(FRAME, word) for word in words[2:]]


@given(
    st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([b"aa", b"bbb", b""]).map(lambda word: EVENT % word)))
)
def test_what_is_told_restores_what_was(fragments: list[bytes]) -> None:
    made = history(*fragments)
    for index, fragment in enumerate(fragments):
        delta = made.delta(index)
        assert restore(made.data(index - 1), *delta) == fragment == made.data(index)
        assert delta.shape.prefix + delta.shape.suffix <= min(len(fragment), len(made.data(index - 1)))


@given(st.binary(max_size=50), st.binary(max_size=50), st.binary(max_size=50), st.binary(max_size=5))
def test_any_reference_will_do(head: bytes, tail: bytes, middle: bytes, other: bytes) -> None:
    delta = difference(head + other + tail, head + middle + tail)
    assert restore(head + other + tail, *delta) == head + middle + tail


def test_the_dictionary_is_what_stands_before() -> None:
    made = history(b"one", b"two", b"six")
    assert made.dictionary(0) == STATIC_DICTIONARY
    assert made.dictionary(2) == (STATIC_DICTIONARY + b"onetwo")[-DICTIONARY_SIZE:]
    assert len(STATIC_DICTIONARY) <= DICTIONARY_SIZE


def test_what_is_forgotten_changes_no_dictionary() -> None:
    words = [b"%d " % number for number in range(5000)]
    whole, short = history(*words), History()
    for number, word in enumerate(words):
        short.append(word)
        short.forget_below(number - 10)
        assert short.dictionary(number - 8 if number > 8 else 0) == whole.dictionary(number - 8 if number > 8 else 0)
    assert len(short._entries) <= 13
    assert len(short._middles) < 3 * DICTIONARY_SIZE
    assert 4990 in short
    assert 4980 not in short
    with pytest.raises(KeyError):
        short.data(4000)
