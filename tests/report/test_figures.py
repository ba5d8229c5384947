import json

import pytest

from eloquent.channel.scenario import parse_line
from eloquent.channel.schedule import Direction
from eloquent.records.rows import SessionRow, TokenRow
from eloquent.records.run_directory import RunDirectory
from eloquent.report.figures import compute, scheme_of


def test_the_figures_of_a_run_worked_out_by_hand(run):
    """Gaps 100 100 300 and 200 200 100 ms over streams of 500 ms each: only the 300 ms are a stall."""
    figures = compute(run).schemes["eloquent"]
    assert (figures.sessions, figures.tokens, figures.stalls, figures.failed) == (2, 8, 1, 0)
    assert figures.stall_ratio == figures.stall_ratio_210 == pytest.approx(0.3)
    assert figures.stall_ratio_ci95 is None  # two sessions, 0 and 60 %, say next to nothing
    assert figures.stall_excess_ratio == pytest.approx(0.1)
    assert figures.redundancy_rate == pytest.approx(80 / 40)
    assert figures.accounted == 2
    assert figures.wire_bytes_per_token == pytest.approx(100)
    assert figures.late_ratio == 5 / 8  # delays of 250 250 250 450 and 450 550 650 650 ms
    assert (figures.ttft_p50_s, figures.ttft_p95_s) == (pytest.approx(0.6), pytest.approx(0.69))
    assert figures.gap_p95_s == pytest.approx(0.275)
    assert figures.gap_p99_s == pytest.approx(0.295)


def test_failed_and_unfinished_sessions_enter_no_figure(run):
    figures = compute(run).schemes["grpc"]
    assert (figures.sessions, figures.tokens, figures.stalls, figures.failed) == (1, 3, 1, 2)
    assert figures.stall_ratio == pytest.approx(0.5 / 0.6)
    assert figures.gap_p99_s < 1  # the failed session's gap is 4.4 s


def test_schemes_are_compared_with_the_first_over_pairs_of_one_client_and_round(run):
    """Only client1 has both: 0.5 of 0.6 s over 0.3 of 0.5 s."""
    schemes = compute(run).schemes
    assert schemes["eloquent"].relative_stall_ratio is None  # the baseline
    relative = schemes["grpc"].relative_stall_ratio
    assert (relative.baseline, relative.ci95) == ("eloquent", None)
    assert relative.ratio == pytest.approx((0.5 / 0.6) / (0.3 / 0.5))
    assert schemes["duplicate-2"].relative_stall_ratio is None


def test_what_was_not_measured_is_none(run):
    grpc, missing = (compute(run).schemes[name] for name in ("grpc", "duplicate-2"))
    assert (grpc.late_ratio, grpc.redundancy_rate, grpc.stall_ratio_ci95) == (None, None, None)
    assert (grpc.sessions, grpc.accounted) == (1, 0)
    assert grpc.wire_bytes_per_token == 200
    assert (missing.sessions, missing.tokens, missing.stalls, missing.failed) == (0, 0, 0, 0)
    assert (missing.stall_ratio, missing.ttft_p50_s, missing.gap_p95_s, missing.redundancy_rate) == (None,) * 4


def test_loss_and_lag_are_those_of_the_window_of_the_sessions(run):
    summary = compute(run)
    assert summary.loss_rate == pytest.approx(2 / 6)
    assert summary.scheduled_loss_rate == pytest.approx(0.25)
    assert summary.load_lag_p99_s == pytest.approx(0.00099)
    assert summary.node_lag_p99_s is None
    assert summary.unmeasured == ["the lag of relays and servers"]
    assert summary.rounds == 1


def test_the_downlink_is_asked_at_the_instants_of_the_probes(run):
    line = "rtt=400ms loss=markov(stay_good=0.5,stay_bad=0.5,loss_in_bad=0.9,slot=100ms)"
    manifest = run.read_manifest().model_dump(mode="json")
    scenario = {"name": "custom", "line": f"{line} loss_up=independent(probability=0.5)"}
    run.write_manifest({**manifest, "scenario": scenario})
    schedule = parse_line(line).schedule(Direction.DOWN, seed=1, link="client1")
    expected = [schedule.loss_at(at - 90.0) for at in range(100, 106)]
    assert 0 < sum(expected) < 6 * 0.9
    assert compute(run).scheduled_loss_rate == pytest.approx(sum(expected) / 6)


def test_a_run_that_never_started_has_no_figures(tmp_path, run):
    empty = RunDirectory.create(tmp_path / "runs", "empty")
    manifest = run.read_manifest().model_dump(mode="json")
    empty.write_manifest({**manifest, "run": "empty", "epoch_s": None})
    summary = compute(empty)
    assert (summary.rounds, summary.loss_rate, summary.scheduled_loss_rate, summary.load_lag_p99_s) == (
        0,
        None,
        None,
        None,
    )
    assert {figures.stall_ratio for figures in summary.schemes.values()} == {None}


def test_a_sessions_name_tells_its_scheme():
    assert scheme_of("client1.duplicate-2.r3") == "duplicate-2"
    assert scheme_of("odd") == "odd"


@pytest.mark.parametrize(("start", "is_one"), [("", True), (",start=random", False)])
def test_links_that_follow_one_trace_have_no_interval(run, start, is_one):
    manifest = json.loads((run.path / "manifest.json").read_text())
    line = f"rtt=100ms loss=trace(slot=1s,shares=0;1{start})"
    run.write_manifest(manifest | {"scenario": {"name": "custom", "line": line}})
    for number in range(4):
        client = f"c{number + 20}"
        with run.token_writer(client) as tokens, run.session_writer(client) as sessions:
            name = f"{client}.eloquent.r1"
            for index in range(5):
                tokens.write(TokenRow(name, index, None, 1.0 + index * (0.1 + number / 10)))
            sessions.write(SessionRow(name, client, "eloquent", 1, 0.9, 3.0, "ok", 5))
    figures = compute(run).schemes["eloquent"]
    assert figures.stall_ratio is not None
    assert (figures.stall_ratio_ci95 is None) is is_one
