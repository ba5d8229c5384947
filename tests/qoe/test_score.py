import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.qoe.score import Expectation, andes_qoe, burden_ratio, stall_burden
from eloquent.qoe.session import measure

PACE = Expectation(ttft=1.0, token_time=0.1)


def test_a_reader_who_never_waits_has_a_qoe_of_one():
    assert andes_qoe(5.0, [6.0 + index / 10 for index in range(50)], PACE) == pytest.approx(1.0)
    assert andes_qoe(5.0, [5.2] * 50, PACE) == pytest.approx(1.0)  # sooner and all at once gains nothing


def test_qoe_by_hand():
    # Expected at 1.0, 1.1, 1.2; taken in at 1.0, 1.4, 1.5: waited 0.3 + 0.3 of 0.55 + 0.45 + 0.35.
    assert andes_qoe(0.0, [1.0, 1.4, 1.4], PACE) == pytest.approx(1 - 0.6 / 1.35)


@given(st.lists(st.integers(0, 30_000), min_size=2, max_size=80).map(sorted))
def test_qoe_is_the_ratio_of_two_areas(at_ms: list[int]):
    """The integrals themselves, of Andes's curves, for readers who are never early: tokens flow at the reader's pace."""
    rendered = [max(at / 1e3, 1.0 + index / 10) for index, at in enumerate(at_ms)]
    area = taken_in = waiting = 0.0
    for at, following in zip(rendered, [*rendered[1:], 1e6], strict=True):
        waiting += 1
        flowing = min(waiting * 0.1, following - at)  # seconds in which the curve rises
        area += flowing * (taken_in + flowing / 0.1 / 2)
        taken_in, waiting, last = taken_in + flowing / 0.1, waiting - flowing / 0.1, at + flowing
        area += (following - last) * taken_in if following < 1e6 else 0.0
    expected = len(rendered) ** 2 * 0.1 / 2 + len(rendered) * (last - 1.0 - len(rendered) * 0.1)
    assert andes_qoe(0.0, rendered, PACE) == pytest.approx(area / expected)


def test_everything_at_the_end_is_worth_little():
    scores = [andes_qoe(0.0, [late] * 3, PACE) for late in (1.0, 2.0, 10.0, 1000.0)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(1.0)
    assert 0 <= scores[-1] < 0.001


def test_a_stall_early_costs_more_than_late():
    steady = [1.0 + index / 10 for index in range(30)]
    early, late = ([at + 1.0 * (index >= place) for index, at in enumerate(steady)] for place in (3, 27))
    assert andes_qoe(0.0, early, PACE) < andes_qoe(0.0, late, PACE) < 1


def test_fewer_than_two_tokens_have_no_qoe():
    assert andes_qoe(0.0, [], PACE) is None
    assert andes_qoe(0.0, [9.0], PACE) is None
    assert andes_qoe(0.0, [0.5, 0.5], Expectation(ttft=1.0, token_time=0.0)) == 1.0


@given(st.lists(st.integers(0, 30_000), min_size=2, max_size=80).map(sorted))
def test_qoe_lies_between_0_and_1(at_ms: list[int]):
    score = andes_qoe(0.0, [at / 1e3 for at in at_ms], PACE)
    assert score is not None
    assert -1e-9 <= score <= 1 + 1e-9


@given(st.lists(st.integers(0, 30_000), min_size=2, max_size=80).map(sorted))
def test_an_exponent_of_one_is_the_stall_ratio(at_ms: list[int]):
    rendered = [at / 1e3 for at in at_ms]
    measures = measure(rendered, [None] * len(rendered))
    assert stall_burden(rendered, exponent=1) == pytest.approx(measures.stall_s)
    assert stall_burden(rendered, exponent=0) == measures.stalls
    if measures.stream_s:
        assert burden_ratio(rendered, exponent=1) == pytest.approx(measures.stall_s / measures.stream_s)


def test_one_long_stall_against_many_short_ones():
    one, four = [0.0, 2.0], [0.0, 0.5, 1.0, 1.5, 2.0]
    assert stall_burden(one, exponent=2) == pytest.approx(4 * stall_burden(four, exponent=2))  # 4^(2-1)
    assert stall_burden(one, exponent=0.5) == pytest.approx(stall_burden(four, exponent=0.5) / 2)  # 4^(0.5-1)
    assert stall_burden([0.0, 1.0], exponent=3) == stall_burden([0.0, 1.0], exponent=0.3) == 1.0
    assert stall_burden([0.0, 0.2], exponent=2) == 0.0


def test_what_has_no_length_has_no_ratio_and_nonsense_is_refused():
    assert burden_ratio([1.0, 1.0], exponent=2) is None
    with pytest.raises(ValueError, match="out of range"):
        stall_burden([0.0, 1.0], exponent=-1)
    with pytest.raises(ValueError, match="out of range"):
        stall_burden([0.0, 1.0], exponent=1, unit=0)
