"""What the lab writes of a run, and what the board makes of it."""

import json

import pytest

from eloquent.channel.scenario import parse_line
from eloquent.channel.schedule import Direction
from eloquent.errors import ConfigurationError
from eloquent.watch.facts import RunFacts


def test_what_was_written_is_read(facts, tmp_path):
    path = tmp_path / "facts.json"
    path.write_text(facts.model_dump_json())
    assert RunFacts.read(path) == facts


def test_what_cannot_be_read_is_a_sentence(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot read what runs"):
        RunFacts.read(tmp_path / "none.json")


def test_before_a_schedule_is_followed_there_are_no_states(facts):
    assert facts.link_states("c1", from_s=100.0, to_s=130.0) == []


def test_the_states_are_those_of_the_clients_schedule(facts):
    facts.schedule.write_text(json.dumps({"epoch_s": 100.0, "loss": None}))
    states = facts.link_states("c2", from_s=112.05, to_s=132.05)
    schedule = parse_line(facts.link).schedule(Direction.DOWN, seed=1, link="c2")
    assert states[0][0] == pytest.approx(0.0)
    assert states[-1][1] == pytest.approx(20.0)
    for start, end, loss in states:
        assert loss == schedule.loss_at(12.05 + (start + end) / 2)


def test_a_ride_changes_the_losses(facts):
    facts.schedule.write_text(json.dumps({"epoch_s": 0.0, "loss": "independent(probability=0.25)"}))
    assert facts.link_states("c1", from_s=5.0, to_s=7.0) == [(0.0, 2.0, 0.25)]


def test_a_run_without_a_manifest_warns_of_nothing(facts):
    assert facts.warnings == []
    assert facts.flaws == {}


def test_the_latest_load_test_that_is_over_is_judged_beside_the_rounds(facts):
    def end(folder, *, flaws, over=True):
        folder.mkdir(exist_ok=True)
        (folder / "manifest.json").write_text(json.dumps({"flaws": flaws}))
        if over:
            (folder / "summary.json").write_text("{}")

    end(facts.folder, flaws=["links late"])
    end(facts.folder / "load-2", flaws=["c1 lagged"])
    assert facts.flaws == {"the rounds": ["links late"], "the load test load-2": ["c1 lagged"]}
    end(facts.folder / "load-11", flaws=[], over=False)
    assert "the load test load-2" in facts.flaws
    end(facts.folder / "load-10", flaws=[])
    assert facts.flaws == {"the rounds": ["links late"]}
