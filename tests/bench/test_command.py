"""The benchmark as a command: it prints and writes what it measures, and sets it against the baseline."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def bench(out: Path, *words: str) -> str:
    command = (sys.executable, "-m", "bench", "--rounds", "1", "--out", str(out), *words)
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=240, check=True).stdout


@pytest.mark.processes
def test_a_part_is_printed_and_written_as_text_and_json(tmp_path: Path):
    said = bench(tmp_path, "--parts", "relays", "--ways", "echo", "--streams", "2", "--seconds", "0.5")
    assert "| UDP echo, 2 |" in said
    assert said.strip() in (tmp_path / "bench.md").read_text()
    found = json.loads((tmp_path / "bench.json").read_text())
    assert {*found} == {"machine", "relays"}
    assert found["machine"]["core"] in {"pure", "compiled"}
    assert found["relays"]["UDP echo, 2"]["server"] > 0


def test_the_committed_baseline_has_what_the_command_measures():
    committed = json.loads((REPOSITORY / "bench" / "baseline.json").read_text())
    assert {*committed} >= {"machine", "relays", "protocol", "wire", "simulator"}


@pytest.mark.namespaces
@pytest.mark.usefixtures("needs_root")
def test_frames_on_the_wire_come_whole_and_after_their_time(tmp_path: Path):
    bench(tmp_path, "--parts", "wire", "--frames", "500")
    ((case, row),) = json.loads((tmp_path / "bench.json").read_text())["wire"].items()
    assert case == "500 frames/s"
    assert row["lost"] == 0
    assert row["late"] > row["median"] > -1  # ms; what comes out early does so by half a millisecond
    assert row["cost"] > 0
