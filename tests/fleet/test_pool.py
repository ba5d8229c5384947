"""Runs of several labs become one, whose figures are those of all their sessions."""

import json

import pytest

from eloquent.channel.schedule import Direction
from eloquent.fleet.fleet import LabEnd
from eloquent.fleet.orders import deal
from eloquent.fleet.pool import judge, pool
from eloquent.load.options import parse_load_options
from eloquent.qoe.ratios import relative_ratio, share_interval
from eloquent.records.rows import LagRow, ProbeRow, SessionRow, StreamRow, TokenRow
from eloquent.records.run_directory import RunDirectory
from eloquent.report.compare import compare
from eloquent.report.figures import compute
from eloquent.report.html import write_report
from eloquent.report.run_data import load as load_run
from eloquent.report.summary import summarise
from eloquent.report.summary import to_json as summary_json

MADE = {"carrier": {"name": "wire", "why": "no netem"}, "kernel": "6.1", "lateness": {"p99_s": 0.001, "max_s": 0.002}}
SCHEMES = ("grpc", "eloquent")


def write_lab(order, folder, *, clock_s, lag_s=0.001, made=None, load=False):
    """Write what a lab leaves behind whose machine started `clock_s` seconds before the lab's schedules begin."""
    run = RunDirectory(folder / "load-1" if load else folder)
    run.path.mkdir(parents=True)
    scenario = order.options.scenario
    run.write_manifest(
        {
            "run": "20261130-000000",
            "scenario": {"name": scenario.name, "line": scenario.to_line()},
            "seed": order.options.seed,
            "schemes": list(SCHEMES),
            "epoch_s": clock_s,
            **({"measured_s": (clock_s + order.number, clock_s + 20 + order.number)} if load else {}),
            **MADE,
            **(made or {}),
        }
    )
    for number in range(order.options.first_client, order.options.first_client + order.options.clients):
        client = f"c{number}"
        schedule = scenario.schedule(Direction.DOWN, seed=order.options.seed, link=client)
        with run.session_writer(client) as sessions, run.token_writer(client) as tokens:
            for scheme in SCHEMES:
                name, at = f"{client}.{scheme}.r1", clock_s + 0.5
                for index in range(20):
                    at += 0.1 + (len(scheme) / 10 if (index * number + len(scheme)) % 7 == 3 else 0.0)
                    tokens.write(TokenRow(name, index, clock_s + index / 10, at))
                sessions.write(SessionRow(name, client, scheme, 1, clock_s, at, "ok", 20))
        with run.probe_writer(client) as probes:
            for sequence in range(20):
                sent = clock_s + sequence / 10
                is_lost = schedule.loss_at(sequence / 10) > 0.5
                probes.write(ProbeRow(sequence, sent, None if is_lost else sent + 0.2, None if is_lost else 0.4))
        with run.lag_writer(client) as lags:
            for sample in range(40):
                lags.write(LagRow(clock_s + sample / 20, lag_s))
    with run.stream_writer("origin") as streams:
        for row in list(run.sessions()):
            streams.write(StreamRow(row.session, row.client, row.scheme, 20, 400, 100, 20, 2000))


@pytest.fixture
def make_fleet(tmp_path):
    """Make labs, each lab with what is said of it, and one run of them."""

    def make(*, clients=6, load=None, failures=None, **said):
        labs = max(len(said), 1)
        orders = deal("run", labs=labs, clients=clients, values={"schemes": SCHEMES}, load=load)
        folder = tmp_path / "fleet"
        folder.mkdir()
        ended = []
        for order, words in zip(orders, said.values(), strict=True):
            failure = words.pop("failure", None)
            if failure is None:
                write_lab(order, folder / order.name, load=load is not None, **words)
            ended.append(
                judge(LabEnd(order, f"tcp://m{order.number}:1", f"m{order.number}", failure), folder / order.name)
            )
        pool(ended, RunDirectory(folder))
        return RunDirectory(folder), ended

    return make


def manifest_of(run):
    return json.loads((run.path / "manifest.json").read_text())


def test_the_figures_are_those_of_the_sessions_of_all_labs(make_fleet):
    run, labs = make_fleet(a={"clock_s": 1000.0}, b={"clock_s": 77.25}, c={"clock_s": 5e6})
    summary = compute(run)
    assert summary.is_valid
    measured = {
        scheme: [answer.measures for lab in labs for answer in load_run(lab.run.path).of(scheme)] for scheme in SCHEMES
    }
    for scheme, sessions in measured.items():
        figures = summary.schemes[scheme]
        sums = [one.stall_s for one in sessions], [one.stream_s for one in sessions]
        assert figures.sessions == len(sessions) == 6
        assert figures.tokens == 120
        assert figures.stall_ratio == pytest.approx(sum(sums[0]) / sum(sums[1]))
        assert figures.stall_ratio_ci95 == pytest.approx(share_interval(*sums))
        assert figures.redundancy_rate == pytest.approx(0.25)
        assert figures.ttft_p50_s == pytest.approx(0.6)
    pairs = [
        ((ours.stall_s, ours.stream_s), (base.stall_s, base.stream_s))
        for ours, base in zip(measured["eloquent"], measured["grpc"], strict=True)
    ]
    relative = summary.schemes["eloquent"].relative_stall_ratio
    ratio, interval = relative_ratio(pairs)
    assert relative.ratio == pytest.approx(ratio) != 1
    assert relative.ci95 == pytest.approx(interval)


def test_the_pooled_run_is_what_one_lab_with_all_clients_would_have_left(make_fleet, tmp_path):
    run, _ = make_fleet(a={"clock_s": 1000.0}, b={"clock_s": 77.25})
    whole = deal("run", labs=1, clients=6, values={"schemes": SCHEMES}, load=None)[0]
    write_lab(whole, tmp_path / "alone", clock_s=0.0)
    alone, together = flat(compute(RunDirectory(tmp_path / "alone"))), flat(compute(run))
    assert alone["loss_rate"] > 0
    assert together == pytest.approx(alone, rel=1e-6)


def flat(summary):
    """Give all numbers of a summary by the way to them."""
    found, ahead = {}, [("", summary_json(summary))]
    while ahead:
        way, value = ahead.pop()
        if isinstance(value, dict):
            ahead += [(f"{way}.{key}" if way else key, one) for key, one in value.items()]
        elif isinstance(value, tuple | list):
            ahead += [(f"{way}.{place}", one) for place, one in enumerate(value)]
        elif isinstance(value, int | float):
            found[way] = value
    return found


def test_what_is_not_valid_is_named_and_not_pooled(make_fleet):
    run, labs = make_fleet(a={"clock_s": 10.0}, b={"clock_s": 20.0, "lag_s": 0.07}, c={"clock_s": 30.0})
    assert [bool(lab.faults) for lab in labs] == [False, True, False]
    summary = summarise(run.path)
    assert {row.client for row in run.sessions()} == {"c1", "c2", "c5", "c6"}
    assert summary.is_valid  # the others kept up
    assert summary.load_lag_p99_s == pytest.approx(0.001)
    warning = manifest_of(run)["warnings"][0]
    assert warning.startswith("lab-2 on m2 (tcp://m2:1) is not pooled: it is not valid: 2 of 2 who render lagged")
    page = (run.path / "summary.md").read_text()
    assert page.index("lab-2 on m2") < page.index("| scheme |")
    report = write_report(run.path).read_text()
    assert "lab-2 on m2" in report
    assert "This run is not valid" in report  # said of the lab, whose own report is linked
    assert (run.path / "lab-2" / "report.html").exists()
    assert "8 of 12 sessions asked for were logged" in report


def test_a_lost_lab_is_named_and_the_rest_kept(make_fleet):
    run, _ = make_fleet(a={"clock_s": 10.0}, b={"failure": "its worker was lost"})
    assert compute(run).schemes["grpc"].sessions == 3
    told = manifest_of(run)
    assert told["warnings"] == ["lab-2 on m2 (tcp://m2:1) is not pooled: its worker was lost"]
    assert [lab["manifest"] for lab in told["labs"]] == ["lab-1/manifest.json", None]
    assert [lab["faults"] for lab in told["labs"]] == [[], ["its worker was lost"]]


def test_where_no_lab_is_left_nothing_was_measured(make_fleet):
    run, _ = make_fleet(a={"failure": "its worker was lost"}, b={"clock_s": 1.0, "lag_s": 1.0})
    summary = summarise(run.path)
    assert {(one.sessions, one.stall_ratio) for one in summary.schemes.values()} == {(0, None)}
    assert len(manifest_of(run)["warnings"]) == 2
    assert "nothing to compare" in write_report(run.path).read_text()


def test_a_lab_whose_rounds_never_began_is_not_pooled(make_fleet):
    _, labs = make_fleet(a={"clock_s": 10.0}, b={"clock_s": 20.0, "made": {"epoch_s": None}})
    assert labs[1].faults == ("its rounds did not begin",)


def test_records_that_make_no_sense_are_told(make_fleet, tmp_path):
    order = deal("run", labs=1, clients=1, values={}, load=None)[0]
    (tmp_path / "lab-1").mkdir()
    lab = judge(LabEnd(order, "tcp://m1:1", "m1", None), tmp_path / "lab-1")
    assert "is not a run" in lab.complaint()


def test_how_the_labs_were_made_is_told_where_they_are_alike_and_its_differences_are(make_fleet):
    run, _ = make_fleet(
        a={"clock_s": 10.0, "made": {"warnings": ["the controller was restarted"]}},
        b={"clock_s": 20.0, "made": {"kernel": "6.12", "lateness": {"p99_s": 0.004, "max_s": 0.1}}},
    )
    told = manifest_of(run)
    assert told["carrier"] == MADE["carrier"]
    assert "kernel" not in told
    assert told["lateness"] == {"p99_s": 0.004, "max_s": 0.1}
    assert told["warnings"] == [
        "the pooled labs differ in kernel: each tells its own",
        "lab-1: the controller was restarted",
    ]


def test_loads_are_pooled_over_the_time_in_which_all_users_were_there(make_fleet):
    load = parse_load_options(users=5, schemes=SCHEMES)
    run, labs = make_fleet(load=load, a={"clock_s": 10.0}, b={"clock_s": 500.0})
    assert [lab.faults for lab in labs] == [(), ()]
    told = manifest_of(run)
    assert told["load"]["users"] == 5
    assert told["measured_s"] == [2.0, 21.0]
    summary = compute(run)
    assert summary.schemes["grpc"].sessions == 6
    assert all(one.relative_stall_ratio is None for one in summary.schemes.values())  # no pairs in a load


def test_a_load_that_ended_early_is_not_pooled(make_fleet):
    load = parse_load_options(users=5, schemes=SCHEMES)
    _, labs = make_fleet(load=load, a={"clock_s": 10.0, "made": {"partial": True}}, b={"clock_s": 1.0})
    assert labs[0].faults == ("its load test ended early",)


def test_pooled_runs_compare(make_fleet):
    run, _ = make_fleet(a={"clock_s": 10.0}, b={"clock_s": 20.0})
    assert compare(run.path, run.path).differences
    assert load_run(run.path).clients == [f"c{number}" for number in range(1, 7)]
