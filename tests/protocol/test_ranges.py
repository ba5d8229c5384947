from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from eloquent.protocol.ranges import RangeSet

BOUNDS = st.integers(0, 40)
OPERATIONS = st.lists(st.one_of(st.tuples(st.just("add"), BOUNDS, BOUNDS), st.tuples(st.just("cut"), BOUNDS, BOUNDS)))


@given(OPERATIONS)
def test_equals_a_set_of_int(operations: list[tuple[str, int, int]]) -> None:
    ranges, model = RangeSet(), set()
    for name, first, second in operations:
        if name == "add":
            ranges.add(first, second)
            model |= set(range(first, second))
        else:
            ranges.discard_below(first)
            model = {value for value in model if value >= first}
        assert {value for start, stop in ranges for value in range(start, stop)} == model
        assert [value in ranges for value in range(-1, 42)] == [value in model for value in range(-1, 42)]
        pairs = list(ranges)
        assert len(pairs) == len(ranges)
        assert all(start < stop for start, stop in pairs)
        assert all(left[1] < right[0] for left, right in pairwise(pairs))


def test_begins_with_ranges_in_any_order() -> None:
    assert list(RangeSet([(5, 7), (0, 2), (2, 3)])) == [(0, 3), (5, 7)]
    assert repr(RangeSet([(0, 2)])) == "RangeSet([(0, 2)])"
