"""A skip is told as one, and in CI as a failure."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
MODULE = 'import pytest\npytest.skip("no lab", allow_module_level=True)\n'


def verdict(folder: Path, suite: str, ci: dict[str, str]) -> str:
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
