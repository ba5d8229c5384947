from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.nodes.sources.counting import CountingSource, counting_prompt

PAPER = "Count to 80, with a comma between each number and no newlines. E.g., 1, 2, 3, ..."


def test_the_paper_s_prompt_is_answered_as_it_asks():
    texts = [token.text for token in CountingSource().tokens(PAPER)]
    assert texts[:5] == ["1", ",", " 2", ",", " 3"]
    assert len(texts) == 2 * 80 - 1
    assert "".join(texts) == ", ".join(str(number) for number in range(1, 81))


@pytest.mark.parametrize("prompt", ["count to 3", "  COUNT  to 3.", "Count to 3, please"])
def test_the_wording_may_vary(prompt):
    assert "".join(token.text for token in CountingSource().tokens(prompt)) == "1, 2, 3"


@pytest.mark.parametrize("prompt", ["", "Count", "Count to many", "Please count to 3", "Count to 0x"])
def test_other_prompts_are_not_counting_prompts(prompt):
    assert not CountingSource.answers(prompt)


def test_the_pace_is_left_to_the_request_and_large_numbers_cost_nothing():
    tokens = list(islice(CountingSource().tokens("Count to 999999999"), 3))
    assert [token.at for token in tokens] == [None, None, None]


@given(st.integers(1, 2000))
def test_a_prompt_is_worded_for_a_number_of_tokens(wanted):
    tokens = sum(1 for _ in CountingSource().tokens(counting_prompt(wanted)))
    assert tokens in {wanted - 1, wanted}
    assert tokens % 2 == 1
