"""The permutation test: exact where it can be worked out by hand, and right about chance where it cannot."""

import numpy as np
import pytest

from eloquent.report.permutation import DRAWN, LEVEL, Units, compare_groups, compare_pairs


def units(rng, count, measures=3, shift=0.0):
    below = rng.uniform(25, 35, (count, measures))
    return Units(above=below * rng.normal(0.4 + shift, 0.05, (count, measures)), below=below)


def test_a_run_does_not_differ_from_itself():
    one = units(np.random.default_rng(1), 8)
    for compared in (compare_pairs, compare_groups):
        outcome = compared(one, one)
        assert outcome.p == pytest.approx([1, 1, 1])
        assert np.all(outcome.low <= 0)
        assert np.all(outcome.high >= 0)


def test_a_constant_shift_of_pairs_has_the_least_p_there_is():
    first = units(np.random.default_rng(1), 6)
    outcome = compare_pairs(first, Units(first.above + 0.1 * first.below, first.below))
    assert outcome.p == pytest.approx([2 / 64] * 3)
    assert outcome.attainable == 1 / 32
    assert outcome.second - outcome.first == pytest.approx([0.1] * 3)
    assert outcome.high - outcome.low == pytest.approx([0, 0, 0], abs=1e-12)


def test_two_groups_far_apart_have_the_least_p_there_is():
    first, second = (units(np.random.default_rng(seed), 4, shift=shift) for seed, shift in ((1, 0), (2, 0.9)))
    outcome = compare_groups(first, second)
    assert outcome.p == pytest.approx([2 / 70] * 3)  # the real deal and its mirror image, of 70
    assert outcome.attainable == 1 / 70


def test_the_difference_is_that_of_ratios_of_sums():
    first = Units(np.array([[1.0], [2.0]]), np.array([[10.0], [10.0]]))
    second = Units(np.array([[4.0], [2.0]]), np.array([[20.0], [10.0]]))
    for compared in (compare_pairs, compare_groups):
        outcome = compared(first, second)
        assert (outcome.first[0], outcome.second[0]) == (0.15, 0.2)


def test_pairs_see_what_groups_do_not():
    """What both runs met alike is no noise between pairs."""
    rng = np.random.default_rng(3)
    first = units(rng, 10)
    second = Units(first.above + rng.normal(0.02, 0.005, first.above.shape) * first.below, first.below)
    assert compare_pairs(first, second).p.max() <= LEVEL < compare_groups(first, second).p.min()


def test_a_unit_without_the_measure_weighs_nothing():
    rng = np.random.default_rng(4)
    first, second = units(rng, 8), units(rng, 8)
    without = [Units(one.above.copy(), one.below.copy()) for one in (first, second)]
    without[0].above[3, 0] = without[0].below[3, 0] = 0
    outcome = compare_pairs(*without)
    kept = [place for place in range(8) if place != 3]
    expected = compare_pairs(*(Units(one.above[kept], one.below[kept]) for one in (first, second)))
    assert outcome.first[0] == pytest.approx(expected.first[0])
    assert outcome.low[0] == pytest.approx(expected.low[0])


def test_what_was_never_measured_is_not_a_number_and_harms_no_other_measure():
    rng = np.random.default_rng(5)
    first, second = units(rng, 7), units(rng, 7, shift=0.5)
    for one in (first, second):
        one.above[:, 1] = one.below[:, 1] = 0
    for compared in (compare_pairs, compare_groups):
        outcome = compared(first, second)
        assert np.isnan(outcome.first[1])
        assert outcome.p[0] <= LEVEL


@pytest.mark.parametrize("compared", [compare_pairs, compare_groups])
def test_many_units_are_drawn_from_a_fixed_seed(compared):
    rng = np.random.default_rng(6)
    first, second = units(rng, 16), units(rng, 16, shift=0.5)
    assert compared(first, second).p == pytest.approx(compared(first, second).p)
    assert 1 / (DRAWN + 1) <= compared(first, second).p.min() < 0.01


@pytest.mark.parametrize("compared", [compare_pairs, compare_groups])
def test_chance_makes_any_difference_at_all_in_one_table_of_twenty(compared):
    """Of 200 tables of 5 measures without a difference, 10 are expected to show one; 25 or more have a probability of 3e-5."""
    rng = np.random.default_rng(7)
    count = 7 if compared is compare_pairs else 5
    wrong = sum(compared(units(rng, count, 5), units(rng, count, 5)).p.min() <= LEVEL for _ in range(200))
    assert wrong < 25
