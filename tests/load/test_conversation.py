"""What users do: lengths, pauses and changes of mind as docs/load.md states them, and the same with the same seed."""

import math
import statistics
from itertools import islice
from pathlib import Path

import pytest

from eloquent.errors import ConfigurationError
from eloquent.load.conversation import (
    LEFT_SHARE,
    LONGEST_ANSWER,
    LONGEST_THOUGHT,
    MEAN_TURNS,
    SHORTEST_ANSWER,
    Turn,
    read_prompts,
    turns,
)

COUNT = 4000


def some(count: int = COUNT, *, seed: int = 1, user: int = 1, think_s: float = 4.0, tokens: int = 120) -> list[Turn]:
    found = turns(seed=seed, client="c1", user=user, prompts=("a", "b"), think_s=think_s, answer_tokens=tokens)
    return list(islice(found, count))


def test_a_user_is_a_function_of_seed_client_and_number():
    assert some(50) == some(50)
    assert some(50) != some(50, seed=2)
    assert some(50) != some(50, user=2)


def test_the_medians_are_those_asked_for():
    """4000 draws: the median of a lognormal lies within 8 % except with odds below 1e-6 (sigma / sqrt(n) is 1.6 %)."""
    found = some()
    assert math.isclose(statistics.median(turn.tokens for turn in found), 120, rel_tol=0.08)
    assert math.isclose(statistics.median(turn.think_s for turn in found), 4.0, rel_tol=0.08)


def test_nothing_is_absurdly_long_or_short():
    found = some()
    assert all(SHORTEST_ANSWER <= turn.tokens <= LONGEST_ANSWER for turn in found)
    assert all(0 < turn.think_s <= LONGEST_THOUGHT for turn in found)
    assert {turn.tokens for turn in some(tokens=1)} >= {1}


def test_one_answer_in_twenty_is_left_in_the_middle():
    """The count is binomial: five standard deviations either side are odds below 1e-6."""
    left = [turn for turn in some() if turn.leave_after is not None]
    spread = 5 * math.sqrt(COUNT * LEFT_SHARE * (1 - LEFT_SHARE))
    assert abs(len(left) - COUNT * LEFT_SHARE) < spread
    assert all(turn.leave_after is not None and 1 <= turn.leave_after < turn.tokens for turn in left)


def test_chats_have_four_turns_on_average():
    """1000 geometric chats: the mean is within 25 % except with odds below 1e-6."""
    found = some()
    assert math.isclose(COUNT / found[-1].chat, MEAN_TURNS, rel_tol=0.25)
    assert [turn.number for turn in found] == list(range(1, COUNT + 1))


def test_without_thinking_the_next_question_comes_at_once():
    assert {turn.think_s for turn in some(20, think_s=0.0)} == {0.0}


def test_a_question_is_a_line_whatever_python_calls_a_line_break(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("one\u2028question\x0b\x85\n\n  \nanother", encoding="utf-8")
    assert read_prompts(path) == ("one\u2028question\x0b\x85", "another")
    path.write_text("\n \n")
    with pytest.raises(ConfigurationError, match="holds no question"):
        read_prompts(path)
