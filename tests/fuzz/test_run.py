"""The fuzzer, shortly: the corpus of every target and some inputs made of it, and that it tells a fault where there is one."""

import importlib.util
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(
        sys.platform != "linux" or platform.machine() != "x86_64", reason="atheris has no wheel for this machine"
    ),
]
FRAGILE = """
def fragile(data):
    if data.startswith(b"!!"):
        raise IndexError("planted")

TARGETS = {"fragile": fragile}
"""


def run(runner: Path, found: Path, *, inputs: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(runner), "--inputs", f"{inputs}", "--found", str(found)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"fuzz_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def test_no_target_is_at_fault_in_a_short_run(tmp_path: Path) -> None:
    done = run(HERE / "run.py", tmp_path, inputs=400)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert {name for name, *_ in rows} == set(load(HERE / "targets.py").TARGETS)
    assert all(int(inputs) >= 400 for _, inputs, *_ in rows)


def test_a_fault_is_told_and_what_shows_it_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "tests" / "fuzz"
    (folder / "corpus").mkdir(parents=True)
    (folder / "corpus" / "fragile.hex").write_text("2161\n")
    (folder / "targets.py").write_text(FRAGILE)
    runner = Path(shutil.copy(HERE / "run.py", folder))
    done = run(runner, tmp_path, inputs=100_000)
    assert done.returncode == 1
    assert "IndexError: planted" in done.stderr
    (crash,) = (tmp_path / "fragile").glob("crash-*")
    again = [sys.executable, str(runner), "fragile", "--input", str(crash)]
    assert "planted" in subprocess.run(again, capture_output=True, text=True, check=False).stderr
