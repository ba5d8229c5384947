from dataclasses import FrozenInstanceError
from itertools import islice, pairwise
from random import Random

import pytest

from eloquent.channel.loss import MODELS, IndependentLoss, MarkovLoss, NoLoss, format_loss, parse_loss
from eloquent.errors import ConfigurationError

PAPER = MarkovLoss(stay_good=0.9, stay_bad=0.5, loss_in_bad=0.9, slot=0.1)


@pytest.mark.parametrize(("stay_good", "stay_bad", "loss"), [(0.9, 0.5, 0.15), (0.5, 0.5, 0.45), (0.9, 0.8, 0.30)])
def test_the_papers_channels_lose_what_the_paper_says(stay_good, stay_bad, loss):
    model = MarkovLoss(stay_good=stay_good, stay_bad=stay_bad, loss_in_bad=0.9, slot=0.1)
    assert model.stationary_loss == pytest.approx(loss)


def test_read_as_probabilities_of_leaving_the_papers_numbers_would_lose_58_percent():
    leaving = MarkovLoss(stay_good=1 - 0.9, stay_bad=1 - 0.5, loss_in_bad=0.9, slot=0.1)
    assert leaving.stationary_loss == pytest.approx(0.58, abs=0.01)


def test_stays_last_as_long_as_the_paper_says():
    """1000 ms good, 200 ms bad. Lengths are geometric: over 10,000 stays, 5 sigma are 0.47 and 0.07 slots."""
    states = list(islice(PAPER.states(Random(1)), 120_000))
    starts = sum(after > before for before, after in pairwise(states))
    assert states.count(0) / starts == pytest.approx(10, abs=0.5)
    assert states.count(1) / starts == pytest.approx(2, abs=0.08)


def test_the_chain_starts_in_its_stationary_distribution():
    """A fixed start would give 0 or 1; 5 sigma of 20,000 draws of 1/6 are 0.013 (chance fails once in 1.7 million)."""
    starts = [next(PAPER.states(Random(f"start {number}"))) for number in range(20_000)]
    assert sum(starts) / len(starts) == pytest.approx(1 / 6, abs=0.0132)


def test_loss_in_the_good_state_counts():
    model = MarkovLoss(stay_good=0.9, stay_bad=0.5, loss_in_good=0.01, loss_in_bad=0.9, slot=0.1)
    assert model.stationary_loss == pytest.approx(0.15 + 0.01 * 5 / 6)
    assert (model.best_loss, model.worst_loss) == (0.01, 0.9)


def test_best_and_worst_do_not_depend_on_which_state_is_called_good():
    upside_down = MarkovLoss(stay_good=0.9, stay_bad=0.5, loss_in_good=0.9, loss_in_bad=0.0, slot=0.1)
    assert (upside_down.best_loss, upside_down.worst_loss) == (0.0, 0.9)


@pytest.mark.parametrize(("model", "loss"), [(NoLoss(), 0.0), (IndependentLoss(probability=0.2), 0.2)])
def test_models_of_one_state_never_change(model, loss):
    assert model.slot is None
    assert (model.stationary_loss, model.best_loss, model.worst_loss, model.loss_by_state) == (
        loss,
        loss,
        loss,
        (loss,),
    )
    assert list(islice(model.states(Random(1)), 5)) == [0] * 5


@pytest.mark.parametrize("model", [NoLoss(), IndependentLoss(probability=0.2), PAPER])
def test_a_slot_draws_one_number(model):
    drawn, counted = Random(5), Random(5)
    list(islice(model.states(drawn), 7))
    for _ in range(7):
        counted.random()
    assert drawn.random() == counted.random()


TRACE = "trace(slot=20ms,shares=0*3;0.5)"


@pytest.mark.parametrize("name", MODELS)
def test_models_are_frozen_and_hashable(name):
    text = {
        "none": "none",
        "independent": "independent(probability=0.2)",
        "markov": format_loss(PAPER),
        "trace": TRACE,
    }[name]
    model = parse_loss(text)
    assert format_loss(model) == text
    assert hash(model) == hash(parse_loss(text))
    with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
        model.slot = 1.0


def test_a_model_is_read_with_spaces_percent_and_empty_parentheses():
    text = " markov( stay_good = 90%, stay_bad=0.5 , loss_in_bad=0.9,slot=100ms ) "
    assert parse_loss(text) == PAPER
    assert parse_loss("none()") == NoLoss()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not a loss model: write none, or name(field=value,...) as in independent(probability=...)"),
        (
            "markov(",
            "'markov(' is not a loss model: write none, or name(field=value,...) as in independent(probability=...)",
        ),
        ("gilbert", "'gilbert' is not a known loss model: choose one of none, independent, markov, trace"),
        ("independent", "loss model independent lacks probability: write independent(probability=...)"),
        ("independent(0.2)", "loss model independent has no field '0.2': write independent(probability=...)"),
        ("none(probability=1)", "loss model none has no field 'probability': write none"),
        (
            "independent(probability=0.1,probability=0.2)",
            "loss model independent is given 'probability' twice: write independent(probability=...)",
        ),
        (
            "markov(p=0.9)",
            (
                "loss model markov has no field 'p': "
                "write markov(stay_good=...,stay_bad=...,loss_in_good=...,loss_in_bad=...,slot=...)"
            ),
        ),
        (
            "markov(stay_good=0.9,stay_bad=0.5)",
            (
                "loss model markov lacks loss_in_bad and slot: "
                "write markov(stay_good=...,stay_bad=...,loss_in_good=...,loss_in_bad=...,slot=...)"
            ),
        ),
        (
            "independent(probability=2)",
            (
                "loss model independent, probability: "
                "'2' is not a probability: write a number from 0 to 1, or a percentage such as 15%"
            ),
        ),
        (
            "markov(stay_good=0.9,stay_bad=0.5,loss_in_bad=0.9,slot=100)",
            "loss model markov, slot: '100' is not a duration: write a number and a unit, such as 400ms or 1.5s",
        ),
        (
            "markov(stay_good=1,stay_bad=0.5,loss_in_bad=0.9,slot=100ms)",
            "stay_good=1 would never leave its state: write a number below 1, or use independent()",
        ),
        (
            "markov(stay_good=0.9,stay_bad=0.5,loss_in_bad=0.9,slot=10us)",
            "slot=0.01ms is too short: a slot lasts at least 1ms",
        ),
    ],
)
def test_an_error_names_what_is_wrong_and_what_is_accepted(text, message):
    with pytest.raises(ConfigurationError) as raised:
        parse_loss(text)
    assert str(raised.value) == message


def test_a_model_made_in_code_is_checked_too():
    with pytest.raises(ConfigurationError, match=r"^probability=1\.5 is not a probability: it lies between 0 and 1$"):
        IndependentLoss(probability=1.5)
    with pytest.raises(ConfigurationError, match=r"^loss_in_bad=nan is not a probability: it lies between 0 and 1$"):
        MarkovLoss(stay_good=0.9, stay_bad=0.5, loss_in_bad=float("nan"), slot=0.1)
