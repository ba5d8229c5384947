"""The limit of §3.3: what is needed, against what is printed, and what an overflow costs."""

from itertools import product

import pytest

from eloquent.sim.paper.limit import Found, OutageCase, cases, examine, map_table, need_table, own_need, printed_need


def test_the_printed_formula_at_the_papers_own_setting():
    # G (T - 1) <= 2 RTT + L: at 100 ms between tokens and RTT 400 ms, T = 10 overflows from an outage of 100 ms on.
    assert printed_need(OutageCase(0.1, 0.4, 0.1)) == 11
    assert printed_need(OutageCase(0.1, 0.1, 0.2)) == 6
    assert own_need(OutageCase(0.1, 0.4, 0.5)) == 10


@pytest.mark.parametrize(("gap", "rtt", "outage"), [*product((0.05, 0.2), (0.1, 0.4), (0.1, 0.5))])
def test_a_packet_needs_the_tokens_of_the_outage_and_of_one_round_trip(gap: float, rtt: float, outage: float):
    found = examine(OutageCase(gap, rtt, outage))
    assert found.needed == own_need(found.case) < printed_need(found.case)
    assert found.needed <= found.needed_ack_loss <= printed_need(found.case)
    assert found.held_up_s == 0
    assert found.held_up_limited_s is None


def test_an_overflow_holds_tokens_up_only_if_the_outage_alone_fills_a_packet():
    """After a shorter outage the packet lacks tokens that others have brought before."""
    fits, harmless, harmful = (examine(OutageCase(0.1, 0.4, outage, 10)) for outage in (0.5, 0.8, 1.1))
    assert (fits.needed, fits.is_held_up) == (10, False)
    assert (harmless.needed, harmless.is_held_up) == (13, False)
    assert (harmful.needed, harmful.is_held_up) == (16, True)


def test_the_tables_divide_the_sweep_and_the_map():
    found = [Found(case, 3, 4, 0.0, 0.1 if case.limit else None) for case in cases()]
    assert len(need_table(found).rows) + len(map_table(found).rows) == len(found)
    assert {row[3] for row in map_table(found).rows} == {"no"}
