import json

import pytest

from eloquent.report.summary import summarise

KEYS = """sessions tokens stall_ratio stall_ratio_ci95 stall_ratio_210 relative_stall_ratio stall_excess_ratio stalls
    redundancy_rate accounted wire_bytes_per_token late_ratio ttft_p50_s ttft_p95_s gap_p95_s gap_p99_s failed congestion_control"""


def test_the_summary_has_the_keys_that_the_design_names(run):
    summary = summarise(run.path)
    written = json.loads((run.path / "summary.json").read_text())
    assert set(written) == {
        "schemes",
        "rounds",
        "loss_rate",
        "scheduled_loss_rate",
        "load_lag_p99_s",
        "node_lag_p99_s",
        "concurrency",
    }
    assert written["scheduled_loss_rate"] == pytest.approx(0.25)
    assert list(written["schemes"]) == ["eloquent", "grpc", "duplicate-2"]
    assert all(set(figures) == set(KEYS.split()) for figures in written["schemes"].values())
    assert written["schemes"]["eloquent"]["stall_ratio"] == summary.schemes["eloquent"].stall_ratio
    assert written["schemes"]["eloquent"]["stall_ratio_ci95"] is None
    assert written["schemes"]["duplicate-2"]["stall_ratio"] is None


def test_a_summary_is_the_same_each_time(run):
    summarise(run.path)
    first = (run.path / "summary.json").read_bytes()
    summarise(run.path)
    assert (run.path / "summary.json").read_bytes() == first


def test_the_page_shows_the_table_under_the_name_of_the_run(run):
    summarise(run.path)
    page = (run.path / "summary.md").read_text()
    assert page.startswith("# Run small\n\n| scheme | sessions |")
    assert "| 30.0% |" in page
