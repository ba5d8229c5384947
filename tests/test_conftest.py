"""A skip is told as one, and in CI as a failure; who starts a process must say so; who asks for one mark gets its files alone."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.run_lanes import LANES, REPOSITORY

pytestmark = pytest.mark.processes

SUITE = """
import pytest

def test_that_runs():
    pass

def test_that_skips():
    pytest.skip("no root")

@pytest.mark.skip(reason="no browser")
def test_that_is_skipped():
    pass

@pytest.fixture
def needs_more():
    pytest.skip("no kernel")

def test_of_a_fixture_that_skips(needs_more):
    pass

@pytest.mark.xfail(strict=True)
def test_that_is_expected_to_fail():
    assert False
"""
STARTS = """
import subprocess, sys
import pytest

def start():
    subprocess.run([sys.executable, "-c", "pass"], check=True)

def test_that_starts():
    try:
        start()
    except Exception:  # which hides the failure from nobody: that of pytest is none
        pass

@pytest.fixture(scope="module")
def started():
    start()

def test_of_a_fixture_that_starts(started):
    pass

@pytest.mark.processes
def test_that_says_so():
    start()

def test_of_another_program():
    subprocess.run(["true"], check=True)
"""
MODULE = 'import pytest\npytest.skip("no lab", allow_module_level=True)\n'


def verdict(folder: Path, suite: str, ci: dict[str, str], *flags: str) -> str:
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    (folder / "test_suite.py").write_text(suite)
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-rfEs",
        "--rootdir",
        str(folder),
        *flags,
        str(folder),
    ]
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | ci
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False).stdout


@pytest.mark.parametrize(
    ("ci", "counts"),
    [({}, "1 passed, 3 skipped, 1 xfailed"), ({"CI": "true"}, "1 failed, 1 passed, 1 xfailed, 2 errors")],
)
def test_a_skip_in_ci_is_a_failure_that_says_why(tmp_path, ci, counts):
    said = verdict(tmp_path, SUITE, ci)
    assert counts in said
    if ci:
        for why in ("no root", "no browser", "no kernel"):
            assert f"a skip is a failure in CI: Skipped: {why}" in said


@pytest.mark.parametrize(("ci", "counts"), [({}, "1 skipped"), ({"CI": "true"}, "1 error")])
def test_a_file_that_skips_itself_is_one_too(tmp_path, ci, counts):
    said = verdict(tmp_path, MODULE, ci)
    assert counts in said
    assert "no lab" in said


def test_who_starts_a_process_says_so(tmp_path):
    said = verdict(tmp_path, STARTS, {})
    assert "1 failed, 2 passed" in said
    assert "1 error" in said
    assert "who starts a process has the mark `processes`" in said


def test_who_asks_for_one_mark_imports_no_file_without_it(tmp_path):
    (tmp_path / "test_other.py").write_text("raise RuntimeError\n")
    said = verdict(tmp_path, STARTS, {}, "-m", "processes")
    assert "1 passed, 3 deselected" in said
    assert "1 passed, 3 deselected" in verdict(tmp_path, STARTS, {}, "-m", "processes and not lab")
    assert "1 error" in verdict(tmp_path, STARTS, {}, "-m", "processes or lab")


def test_no_test_is_in_two_lanes(tmp_path):
    two = "import pytest\n\n@pytest.mark.{}\n@pytest.mark.{}\ndef test_it():\n    pass\n"
    assert "1 passed" in verdict(tmp_path, two.format("processes", "namespaces"), {})
    assert "1 passed" not in verdict(tmp_path, two.format("lab", "namespaces"), {})


def test_each_mark_has_a_lane_and_what_has_none_is_of_unit():
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"][
        "ini_options"
    ]
    marks = {mark.partition(":")[0] for mark in settings["markers"]} - {"pure"}
    commands = {lane.name: lane.command for lane in LANES if "pytest" in lane.command}
    asked = {name: command[command.index("-q") :][2] for name, command in commands.items()}
    assert marks == {expression.partition(" and ")[0] for name, expression in asked.items() if name != "unit"}
    assert marks == set(asked["unit"].removeprefix("not (").removesuffix(")").split(" or "))
