import io
from dataclasses import replace

import pytest
from rich.console import Console

from eloquent.report import table
from eloquent.report.figures import RelativeStallRatio, compute
from eloquent.report.styles import label


@pytest.fixture
def rendered(run):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table.render(compute(run), title="paper-default"))
    return console.export_text()


def test_the_table_has_a_row_a_scheme_with_its_label(rendered):
    for name in ("eloquent", "grpc", "duplicate-2"):
        assert label(name) in rendered


@pytest.mark.parametrize("text", ["30.0%", "200.0%", "600", "690", "275", "295", "+2 failed", "paper-default"])
def test_figures_are_in_percent_and_milliseconds(rendered, text):
    assert text in rendered


def test_the_table_fits_into_80_columns(rendered):
    assert "…" not in rendered


def test_below_the_table_stands_whether_the_run_can_be_believed(rendered):
    assert "loss measured by the link probes: 33.3%; the schedule's own: 25.0%" in rendered
    assert "lag of those who render, p99, in ms: 1" in rendered
    assert "sessions whose redundancy is known: TCP (gRPC) 0 of 1\n" in rendered
    assert "failed sessions enter no figure, which flatters a scheme that has some: " in rendered


def test_the_interval_stands_below_its_ratio(run):
    summary = compute(run)
    figures = replace(summary.schemes["eloquent"], stall_ratio_ci95=(0.125, 0.41))
    page = table.markdown(replace(summary, schemes={"eloquent": figures}), title="x")
    assert "| 30.0% / 12.5–41.0% |" in page


def test_a_comparison_is_a_change_with_its_interval(run):
    summary = compute(run)
    relative = RelativeStallRatio(baseline="grpc", ratio=0.371, ci95=(0.302, 0.45))
    figures = replace(summary.schemes["eloquent"], relative_stall_ratio=relative)
    page = table.markdown(replace(summary, schemes={"eloquent": figures}), title="x")
    assert "- stall ratio of Eloquent against TCP (gRPC): -63% [-70, -55]\n" in page


def test_a_scheme_that_this_version_does_not_know_goes_by_its_name(run):
    manifest = run.read_manifest().model_dump(mode="json")
    run.write_manifest({**manifest, "schemes": ["from-the-future"]})
    assert "| from-the-future | 0 | 0 | - | 0 | - | - | - / - | - / - |" in table.markdown(compute(run), title="x")
