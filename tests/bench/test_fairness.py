"""The benchmark of fairness, short: the relays' sessions, sealed and over QUIC, beside the kernel's TCP at a real bottleneck."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.namespaces

BENCH = Path(__file__).parents[2] / "bench" / "fairness.py"
SECONDS = 12  # that each row takes; all run at once
RATES = {"64kbit": 64_000 / 8, "1mbit": 1_000_000 / 8}  # bytes a second


@pytest.mark.usefixtures("needs_root")
def test_text_and_a_tcp_leave_each_other_room():
    """Bounds that only a fault reaches: a tenth of the line for the TCP, and a fifth of the tokens in time."""
    rows = ("64kbit 1x1 cubic sealed", "1mbit 1x30 cubic sealed", "1mbit 30x1 cubic sealed", "1mbit 1x30 cubic quic")
    words = (sys.executable, str(BENCH), "--json", "--seconds", str(SECONDS), "--only")
    runs = [subprocess.Popen([*words, row], stdout=subprocess.PIPE, text=True) for row in rows]
    for run in runs:
        found, _ = run.communicate(timeout=120)
        assert run.returncode == 0
        row, outcome = json.loads(found)
        print(row, outcome)
        assert outcome["bulk"] > 0.1 * RATES[row["rate"]]
        assert outcome["least"] > 0
        assert outcome["arrived"] > 0.2
