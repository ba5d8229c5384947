import pytest

from eloquent.errors import ConfigurationError
from eloquent.report.run_data import load


def test_only_sessions_that_ended_well_are_answers(run):
    data = load(run.path)
    assert len(data.logged) == 4
    assert {answer.row.session for answer in data.answers} == {
        "client1.eloquent.r1",
        "client2.eloquent.r1",
        "client1.grpc.r1",
    }
    assert len(data.probes["client1"]) == 6


def test_times_that_run_backwards_are_refused_in_a_sentence(make_run):
    path = make_run(clients=("c1",)).path
    log = path / "tokens" / "c1.csv"
    header, *lines = log.read_text().splitlines()
    log.write_text("\n".join([header, *reversed(lines)]) + "\n")
    with pytest.raises(ConfigurationError, match="make no sense: the clock ran backwards"):
        load(path)


def test_clients_stand_in_the_order_of_their_numbers(make_run):
    assert load(make_run(clients=("c10", "c2", "c1")).path).clients == ["c1", "c2", "c10"]


def test_a_note_that_is_not_there_is_none(run):
    data = load(run.path)
    assert data.note("options", "clients") is None
    assert data.note("links", "name") is None
