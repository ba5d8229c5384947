import pytest

from eloquent.report.run_data import load
from eloquent.report.story import facts, headline, milliseconds, pairs, self_tests, share, shortcomings, warnings

CLIENTS = tuple(f"c{number}" for number in range(1, 9))


def said(run):
    return headline(load(run.path)).replace("\N{NO-BREAK SPACE}", " ")


def test_the_headline_compares_eloquent_with_the_first_scheme(make_run):
    run = make_run(clients=CLIENTS)
    one = load(run.path).summary.schemes
    relative = one["eloquent"].relative_stall_ratio
    low, high = ((1 - end) * 100 for end in reversed(relative.ci95))
    assert said(run) == (
        f"Eloquent stalled {one['eloquent'].stall_ratio:.0%} of the time, TCP (gRPC) {one['grpc'].stall_ratio:.0%}: "
        f"{1 - relative.ratio:.0%} less [{low:.0f}..{high:.0f}] over 8 paired sessions."
    ).replace("%", " %")


def test_more_is_more_and_chance_is_chance(make_run):
    assert " % more [" in said(make_run("more", clients=CLIENTS, chances={"grpc": 0.1, "eloquent": 0.4}))
    assert "no clear difference [-" in said(make_run("even", clients=CLIENTS, chances={"grpc": 0.2, "eloquent": 0.2}))


def test_one_pair_has_no_interval(make_run):
    text = said(make_run(clients=("c1",)))
    assert "over 1 paired session, which is too few to say how sure that is" in text


def test_one_scheme_and_no_stalls_have_headlines_too(make_run):
    assert said(make_run("alone", chances={"kcp": 0.0})).startswith("KCP-style stalled 0 % of the time")
    assert said(make_run("calm", chances={"grpc": 0.0, "eloquent": 0.0})) == (
        "Eloquent stalled 0 % of the time, TCP (gRPC) 0 %."
    )


def test_without_eloquent_the_best_of_the_compared_is_meant(make_run):
    run = make_run(clients=CLIENTS, chances={"grpc": 0.3, "duplicate-2": 0.2, "kcp": 0.1})
    assert said(run).startswith("KCP-style stalled")


def test_the_small_run_is_partial(run):
    data = load(run.path)
    assert pairs(data, "grpc") == 1
    assert any("flatters" in line for line in shortcomings(data))


def test_a_whole_run_has_no_shortcomings(make_run):
    assert shortcomings(load(make_run().path)) == []


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ({"lateness": None}, "the rounds did not end as planned"),
        ({"options": {"clients": 3, "rounds": 1}}, "4 of 6 sessions asked for were logged"),
        ({"partial": True}, "ended before its time"),
    ],
)
def test_what_is_missing_is_told(make_run, made, expected):
    (line,) = shortcomings(load(make_run(made=made).path))
    assert expected in line


def test_how_the_run_was_made(make_run):
    data = load(make_run(made={"kernel": "6.1", "versions": {"grpcio": "1.2", "ryu": None}, "warnings": ["busy"]}).path)
    told = {
        fact.name: fact.value.replace("\N{NO-BREAK SPACE}", " ") for group in facts(data).values() for fact in group
    }
    assert told["carrier"] == "wire (no netem)"
    assert told["kernel"] == "6.1"
    assert told["session"] == "6 s"
    assert told["changes of a link's state late by"] == "0.4 ms at p99, 1 ms at most"
    assert told["processor time"] == "60.0 % busy, 2.0 % stolen by the hypervisor"
    assert told["loss measured by the link probes"] == "20.0 %"
    assert told["grpcio"] == "1.2"
    assert "ryu" not in told
    assert warnings(data) == ["busy"]
    assert self_tests(data)[0][:3] == ("c1", "400.4 ms", "400 ms")
    assert len(self_tests(data)) == 2


def test_numbers_are_as_exact_as_a_sentence_wants_them():
    assert [share(value).replace("\N{NO-BREAK SPACE}", " ") for value in (0.5278, 0.0761, 0.0, None)] == [
        "53 %",
        "7.6 %",
        "0 %",
        "-",
    ]
    assert [milliseconds(value) for value in (0.4004, 0.0004, None)] == ["400 ms", "0.4 ms", "-"]
