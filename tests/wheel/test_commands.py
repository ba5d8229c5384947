"""The commands of a bare install: each is listed, and each runs or says in a sentence what it lacks."""

import re
import time

import pytest
from tests.wheel.conftest import Installation
from typer.main import get_command

from eloquent.cli import app

pytestmark = [pytest.mark.wheel, pytest.mark.timeout(1200)]  # the first to ask waits for the wheel


def test_each_command_is_listed(bare: Installation):
    done = bare.run("eloquent", "--help")
    assert done.returncode == 0, done.stderr
    listed = set(re.findall(r"^│ ([a-z][a-z-]*) ", done.stdout, re.MULTILINE))
    assert listed == {*get_command(app).commands}


def test_the_list_is_there_at_once(bare: Installation):
    bare.run("eloquent", "--help")  # compiles nothing from here on
    started = time.monotonic()
    bare.run("eloquent", "--help")
    assert time.monotonic() - started < 3, "it takes a quarter of a second unless something large is imported"


@pytest.mark.parametrize("words", ["simulate", "measure run", "up", "origin", "edge"])
def test_each_command_has_help(words: str, bare: Installation):
    done = bare.run("eloquent", *words.split(), "--help")
    assert done.returncode == 0, done.stderr
    assert f"eloquent {words} [OPTIONS]" in done.stdout


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("simulate", "pip install 'eloquent-testbed[sim]'"),
        ("report nowhere", "pip install 'eloquent-testbed[sim]'"),
        ("measure run", "pip install 'eloquent-testbed[measure]'"),
        ("up", "run make testbed in a clone of the repository"),
        ("status", "run make testbed in a clone of the repository"),
        ("check-host", "run make testbed in a clone of the repository"),
    ],
)
def test_a_command_that_lacks_something_says_what_to_install(words: str, remedy: str, bare: Installation):
    done = bare.run("eloquent", *words.split())
    assert done.returncode == 1
    assert done.stdout == ""
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("error: this command needs ")
    assert remedy in sentence
