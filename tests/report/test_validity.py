"""A run whose machine did not keep up is told, and compares nothing, wherever one looks at it."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from eloquent.records.rows import LagRow, RowWriter
from eloquent.records.run_directory import RunDirectory
from eloquent.report.compare import Verdict, compare
from eloquent.report.figures import compute
from eloquent.report.html import write_report
from eloquent.report.run_data import load
from eloquent.report.story import headline
from eloquent.report.summary import summarise
from eloquent.report.table import NOTHING_COMPARED, render
from eloquent.report.validity import flaws

GOOD = {
    "lateness": {"changes": 90, "p50_s": 0.0001, "p99_s": 0.0027, "max_s": 0.01},
    "processor": {"busy": 0.8, "stolen": 0.08},
    "processors": 2,
    "processors_used": {"Open vSwitch": 0.6, "the wire carrier": 0.4},
    "socket_losses": {},
}


@pytest.mark.parametrize(
    ("made", "lag", "words"),
    [
        (GOOD, 0.011, None),
        ({}, None, None),  # of an older or a foreign run, nothing is known
        (GOOD | {"lateness": {"p99_s": 0.0051}}, 0.011, "changed their state late, by 5.1 ms"),
        (
            GOOD | {"lateness": {"p99_s": 0.0071, "instants": 86, "late": {"worked": 0, "waited": 1, "slept": 3}}},
            0.011,
            "more than 5 ms (of 86 instants, 3 as the machine itself stood still: its hypervisor let others run, 1 as",
        ),
        (GOOD | {"lateness": {"p99_s": None}}, 0.011, None),  # a loss that never changes
        (GOOD, 0.070, "1 of 3 who render lagged by more than 20 ms at p99, c2 by 70 ms"),
        (GOOD | {"unmeasured": ["the lag of those who render"]}, None, "the lag of those who render was not measured"),
        (GOOD | {"processors_used": {"a": 0.9, "b": 0.9}}, 0.011, "used 1.80 of 2 processors"),
        (GOOD | {"processors_used": {"the origin relay": 0.97}}, 0.011, "the origin relay kept a whole processor busy"),
        (
            GOOD | {"threads": {"seconds": 40, "full": {"ovs-vswitchd": 2}, "starved": {"the wire carrier": 2}}},
            0.011,
            None,
        ),
        (
            GOOD | {"threads": {"seconds": 40, "full": {"ovs-vswitchd, thread pmd": 3}}},
            0.011,
            "40 s: ovs-vswitchd, thread pmd 3",
        ),
        (
            GOOD | {"threads": {"seconds": 40, "starved": {"a": 4, "b": 2, "c": 9, "d": 5, "e": 7}}},
            0.011,
            "40 s long had to wait for a processor: c 9, e 7, d 5, and 1 more",
        ),
        (
            GOOD | {"socket_losses": {"TCP of c1": 3, "origin": 0}},
            0.011,
            "full socket buffers, which no link has done: TCP of c1 3",
        ),
        (GOOD | {"device_drops": {"s2 of the lab": 3}}, 0.011, "in time, which no link has done: s2 of the lab 3"),
        (GOOD | {"throttled": {"for_s": 0.3, "of_s": 35.0}}, 0.011, None),
        (
            GOOD | {"throttled": {"for_s": 8.04, "of_s": 35.0}},
            0.011,
            "processor limit (such as of docker run --cpus) stopped the lab for 8.0 s of 35 s",
        ),
        (
            GOOD | {"queue_drops": {"of processor 0": 3}},
            0.011,
            "in the kernel's queues, which no link has done: of processor 0 3",
        ),
        (GOOD | {"processor": {"stolen": 0.2}}, 0.011, "the hypervisor took 20%"),
        (
            {
                "lateness": "x",
                "processor": [1],
                "processors_used": 3,
                "threads": 1,
                "socket_losses": None,
                "unmeasured": 1,
            },
            None,
            None,
        ),
    ],
)
def test_each_cause_is_named(made, lag, words):
    lags = {} if lag is None else {"c1": 0.001, "c2": lag, "c3": 0.002}
    found = flaws(made, lag_p99_s=lags)
    assert len(found) == (words is not None)
    assert words is None or words in found[0]


def test_a_relay_that_lags_is_named_beside_those_who_render():
    found = flaws(
        GOOD,
        lag_p99_s={"c1": 0.001},
        node_lag_p99_s={"the origin relay of origin": 0.0304, "the edge relay of c1": 0.02},
    )
    assert len(found) == 1
    assert found[0].startswith(
        "1 of 2 relays and servers lagged by more than 20 ms at p99, the origin relay of origin by 30 ms"
    )


@pytest.fixture
def starved(run) -> RunDirectory:
    """A run as `make up CLIENTS=50` leaves it on two processors: viewers late by 70 ms."""
    with run.lag_writer("client9") as lags:
        for number in range(500):
            lags.write(LagRow(100 + number / 100, 0.070))
    return run


def test_a_starved_run_compares_nothing_anywhere(starved: RunDirectory, tmp_path: Path):
    summary = summarise(starved.path)
    assert not summary.is_valid
    assert all(figures.relative_stall_ratio is None for figures in summary.schemes.values())
    written = json.loads((starved.path / "summary.json").read_text())
    assert all(figures["relative_stall_ratio"] is None for figures in written["schemes"].values())
    page = (starved.path / "summary.md").read_text()
    assert page.index("Not valid: 1 of 2 who render lagged by more than 20 ms at p99, client9 by 70 ms") < page.index(
        "| scheme |"
    )
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render(compute(starved)))
    shown = console.export_text()
    assert shown.startswith("not valid: 1 of 2 who render lagged by more than 20 ms at p99, client9 by 70 ms")
    for text in (page, shown):
        assert NOTHING_COMPARED in text
        assert "against" not in text
    assert headline(load(starved.path)).startswith("This run is not valid")
    report = write_report(starved.path).read_text()
    assert "client9 by 70 ms" in report
    assert "paired session" not in report
    assert "Comparisons with" not in report


def test_one_who_is_starved_is_not_averaged_away_with_the_others(run: RunDirectory):
    for number in range(10, 210):
        with run.lag_writer(f"client{number}") as lags:
            for sample in range(20):
                lags.write(LagRow(100 + sample / 4, 0.070 if number == 77 else 0.001))
    summary = compute(run)
    assert summary.load_lag_p99_s == pytest.approx(0.070)
    assert "client77 by 70 ms" in summary.flaws[0]


def test_what_a_node_did_not_log_of_its_lag_was_next_to_nothing(run: RunDirectory):
    """The window has 100 samples of 50 ms: two of 30 ms are more than one in a hundred, in one they would be hidden."""
    for host, late in (("origin", 2), ("c1", 1)):
        with RowWriter(run.node_lag_path("edge_relay", host), LagRow) as log:
            for second in range(90, 110):
                log.write(LagRow(second, 0.001))
            for sample in range(late):
                log.write(LagRow(102.5 + sample / 20, 0.030))
    summary = compute(run)
    assert summary.node_lag_p99_s == pytest.approx(0.030, rel=0.02)
    assert [flaw for flaw in summary.flaws if "the edge relay of origin by 30 ms" in flaw] == list(summary.flaws)
    assert "1 of 2" in summary.flaws[0]


def test_a_run_that_is_not_valid_is_not_compared_with_another(starved: RunDirectory):
    differences = compare(starved.path, starved.path).differences
    assert differences
    assert {one.verdict for one in differences} == {Verdict.UNKNOWN}
    assert "not valid: run A and run B" in {one.why for one in differences}


def test_a_valid_run_compares(run: RunDirectory):
    assert compute(run).is_valid
    assert compute(run).schemes["grpc"].relative_stall_ratio is not None
