"""Processor limits of control groups: as files of both versions tell, and a real one."""

import subprocess
import sys
from pathlib import Path

import pytest

from eloquent.emulation.quota import throttled_s

SPIN = "import time\nend = time.monotonic() + 0.6\nwhile time.monotonic() < end: pass"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_version_2_counts_the_group_and_those_around_it(tmp_path: Path):
    write(tmp_path / "membership", "0::/system.slice/lab.scope\n")
    write(tmp_path / "groups/system.slice/lab.scope/cpu.stat", "usage_usec 9\nnr_throttled 3\nthrottled_usec 250000\n")
    write(tmp_path / "groups/system.slice/cpu.stat", "throttled_usec 1000000\n")
    write(tmp_path / "groups/cpu.stat", "usage_usec 5\n")
    assert throttled_s(tmp_path / "membership", tmp_path / "groups") == pytest.approx(1.25)


def test_version_1_counts_that_of_the_processor_and_no_other(tmp_path: Path):
    write(tmp_path / "membership", "4:memory:/lab\n3:cpuset:/lab\n2:cpu,cpuacct:/lab\n0::/\n")
    write(tmp_path / "groups/cpu,cpuacct/lab/cpu.stat", "nr_throttled 3\nthrottled_time 500000000\n")
    assert throttled_s(tmp_path / "membership", tmp_path / "groups") == pytest.approx(0.5)


def test_a_group_that_is_not_seen_from_here_has_stopped_nobody(tmp_path: Path):
    write(tmp_path / "membership", "1:cpu:/of/the/host\n0::/../else\n")
    assert throttled_s(tmp_path / "membership", tmp_path / "nowhere") == 0


@pytest.mark.processes
def test_a_process_that_its_group_stops_is_told_for_how_long(limited_group):
    limited_group.allow(0.1)
    enter = f"import os; open('{limited_group.processes}', 'w').write(str(os.getpid()))"
    tell = "from eloquent.emulation.quota import throttled_s; print(throttled_s())"
    words = [sys.executable, "-c", f"{enter}\n{SPIN}\n{tell}"]
    assert float(subprocess.run(words, capture_output=True, text=True, check=True).stdout) > 0.2
