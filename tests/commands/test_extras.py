"""A command whose extra is missing says what to install, and does nothing else."""

import sys

import pytest
from typer.testing import CliRunner

from eloquent.cli import app
from eloquent.commands import extras

REPORT, STUDY = ["report", "nowhere"], ["measure", "table", "nowhere"]
OF_TESTBED = [
    ["up"],
    ["status"],
    ["down"],
    ["exec", "c1", "true"],
    ["check-host"],
    ["fleet", "--dask", "local"],
    ["load"],
    ["load-capacity"],
    ["top"],
]
OF_SIM = [
    ["simulate"],
    ["reproduce", "--out", "nowhere"],
    ["agreement"],
    ["summary"],
    ["compare", "nowhere", "nowhere"],
    REPORT,
]
OF_MEASURE = [["measure", "run"], ["measure", "read", "nowhere"], ["measure", "qoe", "nowhere"], STUDY]
OF_MEASURE += [["measure", "mahimahi", "nowhere"]]


def told(words: list[str]) -> str:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


@pytest.mark.parametrize("words", OF_SIM, ids=" ".join)
def test_what_needs_the_simulator(words: list[str], monkeypatch: pytest.MonkeyPatch):
    for module in ("numpy", "matplotlib"):
        monkeypatch.setitem(sys.modules, module, None)
    wanted = "needs more than a bare install (matplotlib, numpy): pip install 'eloquent-testbed[sim]'"
    assert wanted in told(words)


@pytest.mark.parametrize("words", OF_MEASURE, ids=" ".join)
def test_what_needs_the_study(words: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "grpc", None)
    assert "(grpc): pip install 'eloquent-testbed[measure]'" in told(words)


@pytest.mark.parametrize("words", OF_TESTBED, ids=" ".join)
def test_what_needs_the_lab(words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "mininet", None)
        assert "run make testbed in a clone of the repository" in told(words)
    with monkeypatch.context() as patch:
        patch.setattr(extras, "TOPOLOGIES", tmp_path / "none")
        assert "run make testbed in a clone of the repository" in told(words)
    monkeypatch.setitem(sys.modules, "mininet", sys)
    monkeypatch.setitem(sys.modules, "locust", None)
    assert "(locust): pip install 'eloquent-testbed[testbed]'" in told(words)


def test_every_command_but_the_relays_is_among_these():
    listed = {words[0] for words in (*OF_SIM, *OF_MEASURE, *OF_TESTBED)}
    commands = {one.name or one.callback.__name__.replace("_", "-") for one in app.registered_commands}
    assert commands - {"origin", "edge", "key", "page-token", "doctor"} == listed - {"measure"}
    measure = {one.name or one.callback.__name__ for one in app.registered_groups[0].typer_instance.registered_commands}
    assert measure == {words[1] for words in OF_MEASURE}
