"""The benchmark of MPTCP, short: the kernel's connection uses both links of a client, and is told apart from TCP."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.namespaces

BENCH = Path(__file__).parents[2] / "bench" / "mptcp.py"


@pytest.mark.usefixtures("needs_root")
def test_both_links_carry_a_connection() -> None:
    words = (sys.executable, str(BENCH), "--json", "--clients", "2", "--seconds", "6", "--second", "clean")
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert all(min(shares) > 0 for shares in found["bytes_by_link"])
    assert all(sum(shares) >= 60 * 250 for shares in found["bytes_by_link"])
    assert {len(ratios) for ratios in found["stall_ratios"].values()} == {2}
