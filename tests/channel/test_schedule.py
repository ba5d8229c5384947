import math
from itertools import islice, pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.channel.loss import IndependentLoss, MarkovLoss, NoLoss
from eloquent.channel.schedule import Direction, Schedule

PAPER = MarkovLoss(stay_good=0.9, stay_bad=0.5, loss_in_bad=0.9, slot=0.1)
GOLDEN_CHANGES = [(1.2, 0.9), (1.6, 0.0), (2.5, 0.9), (2.6, 0.0), (3.5, 0.9), (3.7, 0.0)]
GOLDEN_DIGEST = "ddf17da3d3bcceba94d6cc42c719e4839f4ddf534523e0d014a9c3fcd3849a56"
OFFSETS = st.floats(min_value=0, max_value=300)


def schedule_of(model=PAPER, *, seed=1, link="client1", direction=Direction.DOWN):
    return Schedule(model, seed=seed, link=link, direction=direction)


# The mean over n slots of a chain with second eigenvalue x has the variance share (1 - share) (1 + x) / (1 - x) / n.
# At 5 sigma chance fails once in 1.7 million.
@pytest.mark.parametrize(("stay_good", "stay_bad", "loss"), [(0.9, 0.5, 0.15), (0.5, 0.5, 0.45), (0.9, 0.8, 0.30)])
def test_a_long_schedule_has_the_stationary_loss_of_theory(stay_good, stay_bad, loss):
    model = MarkovLoss(stay_good=stay_good, stay_bad=stay_bad, loss_in_bad=0.9, slot=0.1)
    slots, eigenvalue = 300_000, stay_good + stay_bad - 1
    sigma = 0.9 * math.sqrt(model.bad_share * (1 - model.bad_share) * (1 + eigenvalue) / (1 - eigenvalue) / slots)
    assert schedule_of(model).mean_loss(0, slots * 0.1) == pytest.approx(loss, abs=5 * sigma)
    assert 5 * sigma < 0.01


def test_the_schedule_of_a_seed_never_changes():
    """Golden values: a change here means that old runs can no longer be repeated."""
    schedule = schedule_of()
    assert list(islice(schedule.changes(), 6)) == GOLDEN_CHANGES
    assert schedule.digest(60.0) == GOLDEN_DIGEST


@given(st.lists(OFFSETS, max_size=20))
def test_a_schedule_is_the_same_in_whatever_order_it_is_asked(offsets):
    asked, other = schedule_of(), schedule_of()
    answers = {offset: asked.loss_at(offset) for offset in offsets}
    assert {offset: other.loss_at(offset) for offset in sorted(offsets, reverse=True)} == answers
    assert asked.digest(300) == other.digest(300) == schedule_of().digest(300)


@pytest.mark.parametrize(
    "other",
    [schedule_of(seed=2), schedule_of(link="client2"), schedule_of(direction=Direction.UP)],
    ids=["seed", "link", "direction"],
)
def test_seed_link_and_direction_each_give_another_schedule(other):
    """Independent: both are bad at once in a 36th of the slots. 5 sigma of 100,000 slots are 0.0034."""
    one = schedule_of()
    assert other.digest(60) != one.digest(60)
    both = sum(one.loss_at(slot / 10) > 0 and other.loss_at(slot / 10) > 0 for slot in range(100_000))
    assert both / 100_000 == pytest.approx(1 / 36, abs=0.0034)


@given(OFFSETS, OFFSETS)
def test_stretches_cover_the_window_without_a_hole_and_say_what_loss_at_says(one, other):
    begin, end = sorted((one, other))
    schedule = schedule_of()
    stretches = list(schedule.states(begin, end))
    if begin == end:
        assert stretches == []
        return
    assert (stretches[0].start_s, stretches[-1].end_s) == (begin, end)
    for stretch in stretches:
        assert schedule.loss_at(stretch.start_s) == stretch.loss
        assert schedule.loss_at(max(stretch.start_s, stretch.end_s - 0.001)) == stretch.loss
    for before, after in pairwise(stretches):
        assert before.end_s == after.start_s
        assert before.loss != after.loss


@given(OFFSETS)
def test_changes_continue_where_loss_at_stands(start):
    schedule = schedule_of()
    loss, changes = schedule.loss_at(start), list(islice(schedule.changes(start), 5))
    assert all(at > start - 1e-9 for at, _ in changes)
    for at, new in changes:
        assert new != loss
        assert schedule.loss_at(at) == new
        loss = new


def test_a_slot_begins_at_its_boundary_whatever_floating_point_says():
    """0.3 / 0.1 is 2.9999999999999996, and 3 x 0.1 is 0.30000000000000004: both mean slot 3."""
    flip_flop = MarkovLoss(stay_good=0.0, stay_bad=0.0, loss_in_bad=1.0, slot=0.1)
    schedule = schedule_of(flip_flop)
    first = schedule.loss_at(0.0)
    for slot in range(2000):
        expected = first if slot % 2 == 0 else 1 - first
        assert schedule.loss_at(slot / 10) == expected
        assert schedule.loss_at(slot * 0.1) == expected
        assert schedule.loss_at(slot / 10 + 0.0999) == expected
    assert [at for at, _ in islice(schedule.changes(0.3), 3)] == [0.4, 0.5, 0.6]


@pytest.mark.parametrize(
    "model",
    [
        NoLoss(),
        IndependentLoss(probability=0.2),
        MarkovLoss(stay_good=0.9, stay_bad=0.5, loss_in_good=0.3, loss_in_bad=0.3, slot=0.1),
    ],
)
def test_what_never_changes_is_one_stretch_for_ever(model):
    schedule = schedule_of(model)
    loss = model.stationary_loss
    assert list(schedule.changes()) == []
    assert [(part.start_s, part.end_s, part.loss) for part in schedule.states()] == [(0.0, math.inf, loss)]
    assert schedule.run_lengths(30.0) == [(loss, 30.0)]
    assert schedule.mean_loss(1.0, 2.0) == pytest.approx(loss)
    assert schedule.loss_at(1e9) == loss if model.slot is None else schedule.loss_at(10) == loss


def test_mean_loss_weighs_by_time():
    schedule = schedule_of()
    bad_from, bad_to = GOLDEN_CHANGES[0][0], GOLDEN_CHANGES[1][0]
    assert schedule.mean_loss(bad_from, bad_to) == pytest.approx(0.9)
    length = bad_to - bad_from
    assert schedule.mean_loss(bad_from - length / 2, bad_from + length / 2) == pytest.approx(0.45)
    with pytest.raises(ValueError, match="the window from 2 s to 2 s is empty"):
        schedule.mean_loss(2, 2)


def test_run_lengths_add_up_to_the_time_asked_for():
    schedule = schedule_of()
    runs = schedule.run_lengths(60.05)
    assert sum(seconds for _, seconds in runs) == pytest.approx(60.05)
    assert math.fsum(loss * seconds for loss, seconds in runs) / 60.05 == pytest.approx(schedule.mean_loss(0, 60.05))


def test_the_digest_tells_schedules_and_models_apart():
    digests = [
        schedule_of().digest(60),
        schedule_of().digest(61),
        schedule_of(seed=2).digest(60),
        schedule_of(IndependentLoss(probability=0.2)).digest(60),
        schedule_of(IndependentLoss(probability=0.3)).digest(60),
    ]
    assert len(set(digests)) == len(digests)


def test_one_decision_draws_one_number_and_follows_the_schedule():
    """In a bad slot 0.9 of the packets are lost: 5 sigma of 10,000 are 0.015; in a good slot none is."""
    schedule, rng = schedule_of(), Random(7)
    bad, good = GOLDEN_CHANGES[0][0], GOLDEN_CHANGES[1][0]
    lost = sum(schedule.is_lost(bad, rng) for _ in range(10_000))
    assert lost / 10_000 == pytest.approx(0.9, abs=0.015)
    assert not any(schedule.is_lost(good, rng) for _ in range(1000))
    counted = Random(7)
    for _ in range(11_000):
        counted.random()
    assert rng.random() == counted.random()


@pytest.mark.parametrize("offset", [-1.0, -1e-9, math.nan])
def test_before_the_epoch_there_is_no_schedule(offset):
    with pytest.raises(ValueError, match="lies before the epoch"):
        schedule_of().loss_at(offset)
