"""Load tests of one lab, one after the other."""

from pathlib import Path

import pytest

from eloquent.emulation.loads import next_number


@pytest.mark.parametrize(
    ("there", "latest", "number"),
    [
        ((), 0, 1),
        (("load-1", "load-2"), 2, 3),
        (("load-2",), 2, 3),  # the first was deleted
        (("load-1",), 2, 3),  # the second was, and its sessions are still in the run's logs
        ((), 12, 13),
        (("load-9", "load-10"), 10, 11),
        (("load-3",), 0, 4),
        (("load-1", "load-old", "load-"), 1, 2),
    ],
)
def test_a_load_test_has_a_number_of_its_own_whatever_was_deleted(
    tmp_path: Path, there: tuple[str, ...], latest: int, number: int
):
    for name in there:
        (tmp_path / name).mkdir()
    assert next_number(tmp_path, latest) == number
