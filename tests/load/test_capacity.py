"""The search for the largest sustainable load, on machines whose limit is known."""

import pytest

from eloquent.load.capacity import Bounds, Step, markdown, search


def step(streams: int, **changes: object) -> Step:
    values = {
        "scheme": "grpc",
        "streams": streams,
        "tokens_per_s": 10.0 * streams,
        "lag_p99_s": 0.002,
        "node_lag_p99_s": 0.003,
        "lost": 0,
        "lateness_p99_s": 0.001,
        "failed": 0,
        "is_partial": False,
        "stall_ratio": 0.5,
        "busiest": ("the token server", 0.4),
        "processors": 1.0,
        "stolen": 0.01,
        "mean_streams": streams - 0.5,
        "bounds": Bounds(lag_s=0.02, lateness_s=0.005, stolen=0.05, processors=1.7),
    }
    return Step(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", [1, 7, 8, 9, 50, 99, 150, 200, 1000])
def test_the_search_comes_close_to_the_limit_from_below(limit):
    steps = list(search(lambda streams: step(streams, failed=int(streams > limit)), first=8, most=200))
    found = max((one.streams for one in steps if not one.refusals), default=0)
    assert found <= min(limit, 200)
    assert found * 1.25 >= min(limit, 200) or found + 1 >= limit
    assert len(steps) <= 10


def test_a_machine_that_carries_nothing_is_told_so():
    steps = list(search(lambda streams: step(streams, lag_p99_s=0.3), first=8, most=200))
    assert all(one.refusals for one in steps)
    assert steps[-1].streams == 1


def test_a_step_that_somebody_else_disturbed_is_run_again_but_not_for_ever():
    lags = {8: iter([0.3, 0.002]), 16: iter([0.3, 0.3, 0.3]), 12: iter([0.3, 0.019]), 14: iter([0.019])}
    steps = list(search(lambda streams: step(streams, lag_p99_s=next(lags[streams]), stolen=0.2), first=8, most=16))
    assert [(one.streams, one.was_disturbed) for one in steps] == [
        (8, True),
        (8, False),
        (16, True),
        (16, True),
        (16, True),
        (12, True),
        (12, False),
        (14, False),
    ]


def test_a_refused_step_that_nobody_disturbed_is_not_run_again():
    steps = list(search(lambda streams: step(streams, failed=int(streams > 8)), first=8, most=9))
    assert [one.streams for one in steps] == [8, 9]


@pytest.mark.parametrize(
    ("changes", "refusals"),
    [
        ({}, []),
        ({"failed": 2}, ["2 failed"]),
        ({"is_partial": True}, ["ended early"]),
        ({"lag_p99_s": 0.021}, ["lag 21 ms"]),
        ({"lag_p99_s": None}, ["lag"]),
        ({"node_lag_p99_s": 0.031}, ["relays lag 31 ms"]),
        ({"node_lag_p99_s": None}, []),
        ({"lost": 12}, ["12 packets lost in buffers and queues"]),
        ({"lateness_p99_s": 0.0061}, ["links late by 6.1 ms"]),
        ({"lateness_p99_s": None}, []),
        ({"processors": 1.71}, ["processors full"]),
    ],
)
def test_a_step_says_why_it_is_not_sustainable(changes, refusals):
    assert step(8, **changes).refusals == refusals


def test_the_table_names_what_was_carried_and_the_bottleneck():
    page = markdown([step(8), step(16), step(32, failed=1), step(8, scheme="sse", lag_p99_s=1.0)])
    assert (
        "- `grpc`: **16** streams, 160 tokens a second; the busiest process there is the token server (40% of a" in page
    )
    assert "- `sse`: none of the steps" in page
    assert "| grpc | 32 | 32 | 320 | 2.0 | 1.0 | 1 | 0.500 | the token server 40% | 1.00 | 1% | 1 failed |" in page
