"""The account of processor time in the manifest."""

import pytest

from eloquent.emulation.ledger import ProcessorTime


def test_shares_are_of_the_time_between():
    before = ProcessorTime(idle=100, stolen=10, total=200)
    after = ProcessorTime(idle=140, stolen=30, total=300)
    assert before.until(after) == {"busy": pytest.approx(0.4), "stolen": pytest.approx(0.2)}


def test_the_machines_own_account_grows():
    first, second = ProcessorTime.now(), ProcessorTime.now()
    assert 0 < first.idle <= second.idle
    assert first.total <= second.total
    assert all(0 <= share <= 1 for share in first.until(ProcessorTime.now()).values())
