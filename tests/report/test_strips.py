import pytest

from eloquent.report.run_data import load
from eloquent.report.strips import MOST_CLIENTS, bad_stretches, draw_strips, stalled_shares, window


def test_the_bad_states_are_the_manifests(make_run):
    data = load(make_run().path)
    assert list(bad_stretches(data, "c1")) == [(3.0, 3.5, 0.9)]
    assert list(bad_stretches(data, "nobody")) == []


def test_without_a_note_they_follow_from_scenario_and_seed(make_run):
    line = "name=x rtt=100ms loss=markov(stay_good=0.9,stay_bad=0.5,loss_in_bad=0.9,slot=100ms)"
    made = {"scenario": {"name": "x", "line": line}, "links": None}
    stretches = list(bad_stretches(load(make_run(made=made).path), "c1", 10.0))
    assert stretches
    assert {loss for _, _, loss in stretches} == {0.9}
    assert stretches[-1][1] <= 10.0
    assert list(bad_stretches(load(make_run("ride", made=made | {"epoch_s": None}).path), "c1")) == []


def test_a_stall_reaches_from_token_to_token(run):
    data = load(run.path)
    answers = [answer for answer in data.of("eloquent") if answer.row.client == "client1"]
    assert list(stalled_shares(answers)) == [pytest.approx((100.7, 101.0, 1.0))]


def test_of_many_sessions_the_stalled_share_is_shown(run):
    """client1 renders from 100.5 to 101.0 and stalls from 100.7 on; client2 renders from 100.7 to 101.2."""
    shares = list(stalled_shares(load(run.path).of("eloquent")))
    assert shares == [pytest.approx((100.7, 100.9, 0.5)), pytest.approx((100.9, 101.0, 0.5))] or (
        sum((end - begin) * share for begin, end, share in shares) == pytest.approx(0.15)
    )


def test_the_first_round_is_shown(make_run):
    start, end = window(load(make_run(rounds=2).path))
    assert (start, end) == (0.0, 20.0)
    assert window(load(make_run("one").path))[1] < 30


def test_each_client_has_a_strip_up_to_a_number(make_run):
    data = load(make_run(clients=tuple(f"c{number}" for number in range(1, 19)), tokens=5, chances={"grpc": 0.3}).path)
    strips = draw_strips(data)
    assert [strip.title for strip in strips] == [f"c{number}" for number in range(1, MOST_CLIENTS + 1)]
    assert "var(--bad)" not in strips[0].svg  # its five tokens are over before the link is bad
