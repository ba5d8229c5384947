from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.channel.loss import format_loss, parse_loss
from eloquent.channel.scenario import parse_line
from eloquent.channel.schedule import Direction, Schedule
from eloquent.channel.trace import TraceLoss, format_shares, parse_shares
from eloquent.errors import ConfigurationError


def schedule(model: TraceLoss, seed: int = 1) -> Schedule:
    return Schedule(model, seed=seed, link="c1", direction=Direction.DOWN)


def test_a_schedule_replays_the_trace_and_begins_anew():
    model = TraceLoss(slot=0.1, shares=(0.0, 1.0, 0.5, 0.0, 0.0))
    losses = schedule(model)
    assert [losses.loss_at(offset / 10) for offset in range(10)] == [0, 1, 0.5, 0, 0] * 2
    assert [stretch.start_s for stretch in islice(losses.states(), 5)] == [0, 0.1, 0.2, 0.3, 0.6]
    assert losses.mean_loss(0, 5) == pytest.approx(model.stationary_loss) == pytest.approx(0.3)


def test_a_random_start_is_a_rotation_that_the_seed_chooses():
    shares = tuple(number / 10 for number in range(10))
    model = TraceLoss(slot=0.1, shares=shares, start=True)
    seen = set()
    for seed in range(40):  # 40 draws of 10 starts: all the same with probability 1e-39
        losses = schedule(model, seed)
        first = round(losses.loss_at(0.0) * 10)
        assert [losses.loss_at(slot / 10) for slot in range(12)] == [((first + slot) % 10) / 10 for slot in range(12)]
        seen.add(first)
    assert len(seen) > 1
    assert [shares[state] for state in islice(model.states(Random(3)), 3)] == [
        shares[state] for state in islice(model.states(Random(3)), 3)
    ]


def test_a_trace_stands_in_a_scenario_line():
    model = TraceLoss(slot=0.02, shares=(0.0, 0.0, 1.0, 0.5), start=True)
    text = "trace(slot=20ms,shares=0*2;1;0.5,start=random)"
    assert format_loss(model) == text
    assert parse_loss(text) == model
    scenario = parse_line(f"rtt=400ms loss={text}")
    assert scenario.loss_down == model
    assert parse_line(scenario.to_line()) == scenario
    assert (model.best_loss, model.worst_loss) == (0.0, 1.0)


@given(st.lists(st.integers(0, 200), min_size=1, max_size=300))
def test_shares_survive_being_written(steps: list[int]):
    model = TraceLoss(slot=0.1, shares=tuple(step / 200 for step in steps))
    assert parse_shares(format_shares(model.shares)) == model.shares
    assert parse_loss(format_loss(model)) == model
    assert len(model.loss_by_state) <= 201


@pytest.mark.parametrize(
    "text", ["trace(slot=100ms,shares=)", "trace(slot=100ms,shares=2)", "trace(slot=0.5ms,shares=1)", "trace(slot=1s)"]
)
def test_a_bad_model_is_refused(text: str):
    with pytest.raises(ConfigurationError):
        parse_loss(text)


@pytest.mark.parametrize(
    "text", ["0*1000000000", "0*99999999999999", "1;0*5000000", "0*0", "0*-1", "inf", "nan", "0*٣", "1_0"]
)
def test_slots_take_no_memory_before_they_are_counted(text: str):
    with pytest.raises(ConfigurationError):
        parse_shares(text)
