"""The benchmark of the protocol in virtual time, short: it does the same in each round, and says what that costs."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

BENCH = Path(__file__).parents[2] / "bench" / "endpoints.py"


def test_two_rounds_send_the_same_and_cost_something():
    words = (sys.executable, str(BENCH), "--streams", "1", "--rounds", "2", "--only", "sealed")
    rows = subprocess.check_output(words, text=True, timeout=120).splitlines()[2:]
    costs = {cells[1].strip(): float(cells[2]) for cells in (row.split("|") for row in rows)}
    assert [*costs] == [
        f"{how}, 1: {what}"
        for how in ("sealed", "sealed and lossy")
        for what in ("server, an event", "client, an event", "a datagram")
    ]
    assert min(costs.values()) > 0


@pytest.mark.parametrize("carrier", ["quic", "webtransport", "aioquic"])
def test_quic_is_measured_too_and_says_the_same_in_each_round(carrier: str):
    words = (sys.executable, str(BENCH), "--streams", "1", "--rounds", "2", "--only", carrier)
    rows = subprocess.check_output(words, text=True, timeout=200).splitlines()[2:]
    assert [row.split("|")[1].partition(":")[2].strip() for row in rows] == [
        "server, an event",
        "client, an event",
        "a datagram",
    ]
    assert min(float(row.split("|")[2]) for row in rows) > 0
