"""A log of lag holds a sample each `LAG_INTERVAL`, however often that is measured."""

from pathlib import Path

import pytest

from eloquent.nodes.common.lag import LagLog
from eloquent.records.rows import LAG_INTERVAL, LagRow, read_rows

SECONDS = 10.0


@pytest.mark.parametrize("gap", [LAG_INTERVAL / 20, LAG_INTERVAL, 2 * LAG_INTERVAL])
def test_samples_are_as_many_however_often_something_is_due(tmp_path: Path, gap: float) -> None:
    log = LagLog(tmp_path / "lag.csv")
    for number in range(round(SECONDS / gap)):
        due = number * gap
        log.note_due(due, 0.02 if due < SECONDS / 2 else 0.0)
    log.close()

    late = [row for row in read_rows(tmp_path / "lag.csv", LagRow) if row.lag_s >= 0.02]
    assert len(late) == pytest.approx(SECONDS / 2 / LAG_INTERVAL, abs=2)
