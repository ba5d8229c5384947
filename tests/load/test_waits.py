"""Waits entered many at once. Locust changes the whole process, so it has one of its own."""

import subprocess
import sys

import pytest

from eloquent.load.job import THREADS_VARIABLE

pytestmark = pytest.mark.processes

SCRIPT = """
from random import Random
from locust import stats as locust
from eloquent.load.waits import Waits

draw = Random(1)
gaps = [draw.expovariate(5) for _ in range(1000)]
locust.time.time = lambda: 1000.0
one_by_one, at_once = locust.RequestStats(), locust.RequestStats()
waits = Waits()
for number, gap in enumerate(gaps):
    one_by_one.log_request("grpc", "gap", gap * 1e3, 1)
    waits.gaps.append(gap)
    if number == 0:
        one_by_one.log_request("grpc", "TTFT", gap * 1e3, 1)
        waits.first_tokens.append(gap)
    if number % 100 == 7:
        waits.tell(at_once, "grpc")
waits.tell(at_once, "grpc")
waits.tell(at_once, "grpc")

def plain(entry):
    return {**entry.serialize(), "total_response_time": round(entry.total_response_time, 6)}

pairs = [(at_once.entries[key], one_by_one.entries[key]) for key in at_once.entries]
for ours, theirs in [(at_once.total, one_by_one.total), *pairs]:
    assert plain(ours) == plain(theirs), (plain(ours), plain(theirs))
assert set(at_once.entries) == set(one_by_one.entries) == {("gap", "grpc"), ("TTFT", "grpc")}
assert not (waits.gaps or waits.first_tokens or waits.stalls)
"""


def test_locust_counts_the_same_as_if_it_had_been_told_one_by_one():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={"PATH": "/usr/bin:/bin", THREADS_VARIABLE: "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
