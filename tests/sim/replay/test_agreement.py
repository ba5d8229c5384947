"""A run beside its replay."""

import csv
import re

import pytest
from typer.testing import CliRunner

from eloquent.cli import app
from eloquent.sim.replay.agreement import DisagreementError, compare
from eloquent.sim.replay.connections import read_connections

PAUSE = 2.0  # seconds that a lab has lost in each session: a stall of which the simulator knows nothing


@pytest.fixture
def like(make_lab_run):
    """The agreement of a lab that does what the simulator does."""
    run = make_lab_run()
    return compare(run.path, read_connections(run), repeats=2)


@pytest.fixture
def unlike(make_lab_run):
    """The agreement of a lab that freezes once a session."""
    run = make_lab_run(pause=PAUSE)
    return compare(run.path, read_connections(run), repeats=2)


def cells(agreement, measure: str) -> dict[str, object]:
    rows = [dict(zip(agreement.table().headings, row, strict=True)) for row in agreement.table().rows]
    return next(row for row in rows if row["measure"] == measure)


def test_a_lab_like_the_simulator_agrees(like):
    like.require(0.001)
    row = cells(like, "stall_ratio_210")
    assert (row["scheme"], row["model"], row["sessions"]) == ("eloquent", "eloquent", 4)
    assert row["lab"] == pytest.approx(row["simulator"], rel=0.001)
    assert row["low"] <= row["difference"] <= row["high"]
    late = cells(like, "late_ratio_390")
    assert late["lab"] == pytest.approx(late["simulator"], rel=0.001)
    assert late["low"] <= late["difference"] <= late["high"]
    assert cells(like, "gap_mean_s")["difference"] == pytest.approx(0, abs=0.001)


def test_a_lab_that_freezes_does_not(unlike):
    row = cells(unlike, "stall_ratio_210")
    assert row["low"] > 0.10
    assert min(cells(unlike, name)["low"] for name in ("late_ratio", "late_ratio_390")) > 0.10
    with pytest.raises(DisagreementError, match=r"by more than 10 %: eloquent by \+\d+\.\d %"):
        unlike.require(0.10)
    unlike.require(10.0)


def test_a_lab_without_stalls_has_nothing_to_compare(make_lab_run):
    run = make_lab_run(line="name=clean rtt=400ms")
    agreement = compare(run.path, read_connections(run), repeats=1)
    assert cells(agreement, "stall_ratio_210")["difference"] is None
    with pytest.raises(DisagreementError, match="eloquent by an unknown share"):
        agreement.require(0.10)


def test_the_files_hold_the_comparison_and_each_session(unlike):
    unlike.write()
    folder = unlike.run.path
    with (folder / "agreement.csv").open(encoding="utf-8") as file:
        measures = [row["measure"] for row in csv.DictReader(file)]
    assert measures[:2] == ["stall_ratio_210", "stall_ratio"]
    assert {"redundancy_rate", "late_ratio", "gap_p99_s", "gap_mean_s"} < set(measures)
    with (folder / "agreement-sessions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["session"] for row in rows] == [f"{name}.eloquent.r{turn}" for name in ("c1", "c2") for turn in (1, 2)]
    assert all(float(row["stall_ratio_210"]) > float(row["simulated_stall_ratio_210"]) for row in rows)
    page = (folder / "agreement.md").read_text(encoding="utf-8")
    for words in (
        "congestion control bbr",
        "50.0% busy, 1.0% taken by the hypervisor",
        "late by 0.70 ms at p99",
        "warning of the run: something was not as it should be",
        "2 sessions of eloquent failed in the lab",
    ):
        assert words in page


def test_a_comparison_is_a_function_of_its_run(like):
    again = compare(like.run.path, read_connections(like.run), repeats=2)
    assert again.table().to_csv() == like.table().to_csv()


def test_the_command_writes_compares_and_judges(make_lab_run):
    folder = str(make_lab_run(pause=PAUSE).path)
    words = ["agreement", folder, "--repeats", "1", "--workers", "1"]
    refused = CliRunner().invoke(app, words)
    assert refused.exit_code == 1
    assert re.search(r"error:.*eloquent by \+", " ".join(refused.output.split()))
    allowed = CliRunner().invoke(app, [*words, "--tolerance", "1000"])
    assert allowed.exit_code == 0, allowed.output
    assert "agreement.md" in allowed.output
