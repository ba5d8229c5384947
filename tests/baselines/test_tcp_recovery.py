"""The states of Linux's TCP, and when it takes a reduction back."""

from typing import Any

import pytest

from eloquent.baselines.tcp_recovery import Recovery
from eloquent.baselines.tcp_window import CubicWindow, State

pytestmark = pytest.mark.pure


class CountingWindow(CubicWindow):
    def __init__(self) -> None:
        super().__init__()
        self.reductions = 0

    def reduce(self) -> None:
        super().reduce()
        self.reductions += 1


@pytest.fixture
def recovery() -> Recovery:
    return Recovery(CountingWindow())


def reductions(recovery: Recovery) -> int:
    assert isinstance(recovery.window, CountingWindow)
    return recovery.window.reductions


def lose(recovery: Recovery, **changed: Any) -> bool:
    return recovery.lost(**({"again": False, "acked": 0, "sent_to": 100, "sent_again": 0} | changed))


def time_out(recovery: Recovery, **changed: Any) -> None:
    values = {"acked": 0, "sent_to": 100, "in_flight": 0, "sent_again": 0, "timeouts": 0}
    recovery.timed_out(**(values | changed))
    recovery.sent_again()


def acknowledge(recovery: Recovery, acked: int, **changed: Any) -> bool:
    values = {"advanced": True, "sacked": False, "original": False, "sent_to": 100, "unsent": False}
    return recovery.acknowledged(acked=acked, **(values | changed))


def test_a_recovery_reduces_once_and_ends_with_what_had_been_sent(recovery: Recovery) -> None:
    assert lose(recovery)
    recovery.sent_again()
    assert not lose(recovery, sent_to=200)
    acknowledge(recovery, 99)
    assert (recovery.state, reductions(recovery)) == (State.RECOVERY, 1)
    acknowledge(recovery, 100)
    assert (recovery.state, recovery.window.size) == (State.OPEN, 7)


def test_a_timeout_during_a_recovery_reduces_no_further(recovery: Recovery) -> None:
    lose(recovery)
    time_out(recovery)
    assert (recovery.state, reductions(recovery), recovery.window.size) == (State.LOSS, 1, 1)


@pytest.mark.parametrize(("timeouts", "expected"), [(1, 1), (0, 2)])
def test_a_timeout_after_a_timeout_reduces_if_something_was_acknowledged_between(
    recovery: Recovery, timeouts: int, expected: int
) -> None:
    time_out(recovery)
    time_out(recovery, sent_to=150, timeouts=timeouts)
    assert (recovery.state, reductions(recovery), recovery.until) == (State.LOSS, expected, 150)


def test_a_lost_retransmission_turns_the_loss_state_into_a_recovery(recovery: Recovery) -> None:
    time_out(recovery)
    assert not lose(recovery)
    assert lose(recovery, again=True)
    assert (recovery.state, reductions(recovery)) == (State.RECOVERY, 2)


def test_repetitions_of_all_retransmissions_take_the_reduction_back(recovery: Recovery) -> None:
    lose(recovery)
    recovery.sent_again()
    recovery.sent_again()
    recovery.repeated(10)
    acknowledge(recovery, 50)
    assert recovery.state is State.RECOVERY
    recovery.repeated(20)
    acknowledge(recovery, 60)
    assert (recovery.state, recovery.window.size) == (State.OPEN, 10)


def test_retransmissions_under_way_may_be_needless_too(recovery: Recovery) -> None:
    lose(recovery, sent_again=1)
    recovery.sent_again()
    recovery.repeated(10)
    acknowledge(recovery, 50)
    assert recovery.state is State.RECOVERY


def test_what_was_repeated_before_the_reduction_does_not_count(recovery: Recovery) -> None:
    lose(recovery, acked=30)
    recovery.sent_again()
    recovery.repeated(30)
    acknowledge(recovery, 100)
    assert recovery.window.size == 7


def test_a_repetition_told_after_the_recovery_still_takes_the_reduction_back(recovery: Recovery) -> None:
    lose(recovery)
    recovery.sent_again()
    acknowledge(recovery, 100)
    assert recovery.window.size == 7
    recovery.repeated(10)
    acknowledge(recovery, 100, advanced=False)
    assert recovery.window.size == 10


def test_something_sent_once_before_a_timeout_arrives_so_the_timeout_was_needless(recovery: Recovery) -> None:
    time_out(recovery)
    assert recovery.window.size == 1
    assert acknowledge(recovery, 0, advanced=False, sacked=True, original=True)
    assert (recovery.state, recovery.window.size) == (State.OPEN, 10)


def test_a_timeout_during_a_recovery_is_not_doubted(recovery: Recovery) -> None:
    lose(recovery)
    time_out(recovery)
    assert not acknowledge(recovery, 0, advanced=False, sacked=True, original=True)
    assert (recovery.state, recovery.window.size) == (State.LOSS, 1)


@pytest.mark.parametrize(("unsent", "original"), [(True, True), (False, False)])
def test_after_the_first_acknowledgement_new_data_finds_out(
    recovery: Recovery, *, unsent: bool, original: bool
) -> None:
    """RFC 5682 §3.1, step 2b; without new data the timeout counts as needed."""
    time_out(recovery)
    acknowledge(recovery, 40, unsent=unsent)
    assert recovery.new_first is unsent
    assert acknowledge(recovery, 50, original=True, sent_to=140) is original


def test_new_data_that_arrives_beyond_the_gap_ends_the_doubt(recovery: Recovery) -> None:
    time_out(recovery)
    acknowledge(recovery, 0, advanced=False, sacked=True, sent_to=120)
    assert not acknowledge(recovery, 50, original=True, sent_to=120)


def test_a_timeout_while_new_data_goes_first_has_what_is_lost_sent_again(recovery: Recovery) -> None:
    time_out(recovery)
    acknowledge(recovery, 40, unsent=True)
    time_out(recovery)
    assert not recovery.new_first


def test_a_loss_that_a_probe_repaired_reduces_too(recovery: Recovery) -> None:
    recovery.probe_repaired()
    assert (recovery.state, recovery.window.size) == (State.OPEN, 7)


def test_a_rest_ends_a_recovery(recovery: Recovery) -> None:
    lose(recovery)
    recovery.rest()
    assert (recovery.state, recovery.window.size) == (State.OPEN, 7)
