import pytest

from eloquent.report.plots import draw, measured_losses, variables
from eloquent.report.run_data import load


def test_a_whole_run_has_every_plot(make_run):
    plots = draw(load(make_run().path))
    assert [plot.name for plot in plots] == ["stall-ratio", "redundancy", "pairs", "gaps", "stalls", "loss"]
    assert all("var(--s1)" in plot.svg for plot in plots if plot.name != "loss")
    assert "TCP (gRPC) at the same time" in plots[2].caption


def test_what_was_not_measured_is_not_drawn(make_run):
    run = make_run(chances={"eloquent": 0.0})
    (run.path / "streams" / "origin.csv").unlink()
    for path in (run.path / "probes").iterdir():
        path.unlink()
    assert [plot.name for plot in draw(load(run.path))] == ["stall-ratio", "gaps"]


def test_the_loss_of_each_link_stands_beside_its_schedule(run):
    assert list(measured_losses(load(run.path))) == [("client1", pytest.approx(2 / 6), pytest.approx(0.25))]


def test_every_scheme_has_a_variable():
    assert variables(["grpc", "eloquent"]) == {"#d55e00": "var(--s0)", "#0072b2": "var(--s1)"}
