import pytest

from eloquent.errors import ConfigurationError
from eloquent.report.compare import MEASURES, Verdict, compare, same_schedules, what_differs
from eloquent.report.figures import compute
from eloquent.report.run_data import load

CLIENTS = tuple(f"c{number}" for number in range(1, 9))


def verdicts(comparison):
    return {(one.scheme, one.measure.name): one.verdict for one in comparison.differences}


def test_a_run_does_not_differ_from_itself(make_run):
    path = make_run(clients=CLIENTS).path
    comparison = compare(path, path)
    assert comparison.is_paired
    assert comparison.units == (8, 8)
    assert comparison.made == []
    assert len(comparison.differences) == 2 * len(MEASURES)
    assert set(verdicts(comparison).values()) == {Verdict.WITHIN}
    assert all(one.p == 1 and one.first == one.second for one in comparison.differences)


def test_runs_that_only_chance_tells_apart_are_within_noise(make_run):
    comparison = compare(make_run("a", clients=CLIENTS).path, make_run("b", clients=CLIENTS, seed=2).path)
    assert set(verdicts(comparison).values()) == {Verdict.WITHIN}


@pytest.mark.parametrize("schedule", ["same", "another"])
def test_a_shift_of_one_scheme_is_seen_in_it_alone(make_run, schedule):
    first = make_run("a", clients=CLIENTS).path
    second = make_run("b", clients=CLIENTS, seed=2, chances={"grpc": 0.3, "eloquent": 0.3}, schedule=schedule).path
    comparison = compare(first, second)
    assert comparison.is_paired == (schedule == "same")
    found = verdicts(comparison)
    assert found["eloquent", "stall ratio"] is Verdict.BEYOND
    assert found["grpc", "stall ratio"] is Verdict.WITHIN
    assert found["eloquent", "redundancy"] is Verdict.WITHIN
    shift = next(one for one in comparison.differences if (one.scheme, one.measure.name) == ("eloquent", "stall ratio"))
    low, high = shift.interval
    assert 0 < low < shift.second - shift.first < high


def test_the_values_are_those_of_the_summaries(make_run):
    run = make_run(clients=CLIENTS)
    summary = compute(run).schemes["eloquent"]
    values = {
        one.measure.name: one.first for one in compare(run.path, run.path).differences if one.scheme == "eloquent"
    }
    assert values["stall ratio"] == pytest.approx(summary.stall_ratio)
    assert values["at 210 ms"] == pytest.approx(summary.stall_ratio_210)
    assert values["late tokens"] == pytest.approx(summary.late_ratio)
    assert values["redundancy"] == pytest.approx(summary.redundancy_rate)
    assert values["bytes/token"] == pytest.approx(summary.wire_bytes_per_token)


def test_several_rounds_are_several_units(make_run):
    path = make_run(clients=("c1", "c2"), rounds=3).path
    comparison = compare(path, path)
    assert comparison.units == (6, 6)
    assert set(verdicts(comparison).values()) == {Verdict.WITHIN}


def test_too_few_sessions_are_not_comparable(make_run):
    path = make_run(clients=CLIENTS[:5]).path
    differences = compare(path, path).differences
    assert {(one.verdict, one.why) for one in differences} == {(Verdict.UNKNOWN, "too few sessions")}
    assert differences[0].first is not None
    alone = make_run("alone", clients=("c1",)).path
    assert {one.verdict for one in compare(alone, alone).differences} == {Verdict.UNKNOWN}


def test_a_scheme_with_failures_is_not_comparable_and_the_others_are(make_run):
    path = make_run(clients=CLIENTS).path
    log = path / "sessions" / "c1.csv"
    log.write_text(log.read_text().replace(",ok,", ",unavailable,", 1))  # the first line is grpc's
    found = compare(path, path).differences
    assert {(one.scheme, one.verdict) for one in found} == {("grpc", Verdict.UNKNOWN), ("eloquent", Verdict.WITHIN)}
    assert found[0].why == "it has failed sessions"


def test_what_was_not_measured_is_not_comparable(make_run):
    first, second = make_run("a", clients=CLIENTS).path, make_run("b", clients=CLIENTS).path
    (second / "streams" / "origin.csv").unlink()
    found = verdicts(compare(first, second))
    assert found["grpc", "redundancy"] is found["grpc", "bytes/token"] is Verdict.UNKNOWN
    assert found["grpc", "stall ratio"] is Verdict.WITHIN


def test_only_equal_schedules_of_the_same_clients_make_pairs(make_run):
    runs = {
        "one": make_run("one"),
        "same": make_run("same", seed=2),
        "other": make_run("other", schedule="other"),
        "more": make_run("more", clients=("c1", "c2", "c3")),
        "silent": make_run("silent", made={"links": None}),
    }
    one = load(runs["one"].path)
    assert {name for name, run in runs.items() if same_schedules(one, load(run.path))} == {"one", "same"}
    assert not same_schedules(load(runs["silent"].path), load(runs["silent"].path))


def test_what_differs_in_the_making_is_listed(make_run):
    made = {"kernel": "6.1", "carrier": {"name": "netem"}, "versions": {"grpcio": "1"}, "options": {"rounds": 2}}
    first, second = make_run("a"), make_run("b", made=made)
    found = {name: (ours, theirs) for name, ours, theirs in what_differs(load(first.path), load(second.path))}
    assert found["carrier"] == ("wire", "netem")
    assert found["kernel"] == ("None", "6.1")
    assert found["version of grpcio"] == ("-", "1")
    assert found["option rounds"] == ("1", "2")
    assert "run" not in found


def test_what_cannot_be_compared_is_refused_in_a_sentence(make_run, tmp_path):
    one, other = make_run("a").path, make_run("b", chances={"kcp": 0.1}).path
    with pytest.raises(ConfigurationError, match="no scheme in common: one has grpc, eloquent, the other kcp"):
        compare(one, other)
    with pytest.raises(ConfigurationError, match="is not a run"):
        compare(one, tmp_path)
    for path in (other / "sessions").iterdir():
        path.unlink()
    with pytest.raises(ConfigurationError, match="has no session that ended well"):
        compare(other, other)


def test_schemes_of_one_run_alone_are_named(make_run):
    first, second = make_run("a").path, make_run("b", chances={"grpc": 0.1, "kcp": 0.1}).path
    assert compare(first, second).left_out == ["eloquent", "kcp"]


def test_sessions_of_one_client_in_one_round_are_one_unit(make_run):
    """A load has many users behind a link; they are not independent of each other."""
    path = make_run(clients=CLIENTS).path
    for client in CLIENTS:
        for folder in ("sessions", "tokens"):
            log = path / folder / f"{client}.csv"
            header, *lines = log.read_text().splitlines()
            log.write_text("\n".join([header, *lines, *(line.replace(".r1,", ".l1u1t1,") for line in lines)]) + "\n")
    assert len(load(path).answers) == 4 * len(CLIENTS)
    assert compare(path, path).units == (8, 8)
