"""Bottlenecks that text over QUIC shares with the model of a TCP, and with itself: the bounds of docs/quic.md."""

import pytest

from eloquent.sim.quic.fairness import BROAD, NARROW, Case, Line, share, table

QUIC = "eloquent-quic"


@pytest.mark.parametrize(("line", "rate"), [(NARROW, 10.0), (BROAD, 50.0)])
def test_one_answer_leaves_most_to_a_tcp(line: Line, rate: float):
    shares = share(Case(QUIC, line, 1, 1, rate=rate, seconds=40.0))
    assert shares.tcp > 0.8
    assert shares.arrived > 0.8


@pytest.mark.parametrize("line", [NARROW, BROAD])
def test_thirty_answers_on_a_connection_and_a_tcp_leave_each_other_room(line: Line):
    shares = share(Case(QUIC, line, 1, 30, seconds=28.0))
    assert shares.tcp > 0.25
    assert shares.text > 0.05
    assert shares.arrived > 0.7


def test_two_hundred_answers_on_a_connection_do_not_shut_a_tcp_out():
    shares = share(Case(QUIC, NARROW, 1, 200, seconds=40.0))
    assert shares.tcp > 0.15


def test_thirty_connections_leave_a_tcp_a_quarter_where_there_is_room_for_their_text():
    shares = share(Case(QUIC, BROAD, 30, 1, seconds=28.0))
    assert shares.tcp > 0.25
    assert shares.least > 0.1 * shares.text
    assert shares.arrived > 0.9


@pytest.mark.parametrize("answers", [30, 200])
def test_answers_of_a_connection_fill_a_slow_line_and_not_its_queue(answers: int):
    shares = share(Case(QUIC, NARROW, 1, answers, tcp=False, seconds=20.0))
    assert shares.text > 0.8
    assert shares.wait_p95_s < 2.5  # of 4.7 that the queue could hold


def test_connections_share_a_line_that_is_too_slow_for_them():
    """Their handshakes alone are ten seconds of it; each used to begin anew after six, and two thirds never came to an end."""
    shares = share(Case(QUIC, NARROW, 30, 1, tcp=False, seconds=60.0))
    assert shares.text > 0.8
    assert shares.begun > 0.5


def test_the_table_has_a_row_for_each_case():
    cases = [Case(way, BROAD, 1, 1, tcp=False, seconds=18.0) for way in ("sealed", QUIC)]
    found = table(cases)
    assert [row[:5] for row in found.rows] == [("1 Mbit/s", way, 1, 1, "") for way in ("sealed", QUIC)]
    assert all(row[-1] > 0.95 for row in found.rows)
