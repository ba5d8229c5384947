import pytest

from eloquent.calls.answer import AnswerCheck, AnswerFailed, AnswerToken, one_line


def test_tokens_in_order_are_an_answer():
    check = AnswerCheck()
    for index in range(3):
        assert check.take(AnswerToken(index, "x", 0.0)).index == index
    check.finish()


def test_a_token_out_of_order_and_an_answer_without_any_are_data_loss():
    check = AnswerCheck()
    with pytest.raises(AnswerFailed, match="token 1 came in the place of 0") as caught:
        check.take(AnswerToken(1, "x", 0.0))
    assert caught.value.outcome == "data_loss"
    with pytest.raises(AnswerFailed, match="without a token") as caught:
        AnswerCheck().finish()
    assert caught.value.outcome == "data_loss"


def test_other_peoples_words_are_cut_and_have_no_control_characters():
    assert one_line("a\x1b[31m\n\u2028b\ud800") == "a [31m  b "
    assert one_line("x" * 1000) == "x" * 300 + "…"
