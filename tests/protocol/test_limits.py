from eloquent.protocol.limits import ByteBudget


def test_a_budget_bounds_its_own_and_all() -> None:
    total = ByteBudget(100)
    one, other = ByteBudget(80, total), ByteBudget(80, total)
    assert one.take(80)
    assert not one.take(1)
    assert not other.take(21)
    assert other.take(20)
    assert (one.held, other.held, total.held) == (80, 20, 100)
    assert one.take(-80)
    assert other.take(60)
    assert (one.held, other.held, total.held) == (0, 80, 80)
