"""Who is where at every stage of a shape."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.load.placement import Placement


def spread(numbers) -> int:
    return max(numbers) - min(numbers)


@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 100))
def test_schemes_and_hosts_have_as_many_users_but_for_one(hosts: int, schemes: int, number: int):
    counts = Placement([f"c{one}" for one in range(hosts)], [f"s{one}" for one in range(schemes)]).first(number)
    by_host = [sum(mine.values()) for mine in counts.values()]
    by_scheme = [sum(mine[scheme] for mine in counts.values()) for scheme in counts["c0"]]
    assert sum(by_host) == number
    assert spread(by_host) <= 1
    assert spread(by_scheme) <= 1


@pytest.mark.parametrize("hosts", range(1, 13))
@pytest.mark.parametrize("schemes", range(1, 7))
def test_every_host_has_all_schemes_also_where_their_numbers_have_a_common_divisor(hosts: int, schemes: int):
    counts = Placement([f"c{one}" for one in range(hosts)], [f"s{one}" for one in range(schemes)]).first(
        4 * hosts * schemes
    )
    assert all(1 <= count <= 7 for mine in counts.values() for count in mine.values())  # 4 each on average
