"""The commands of the simulator."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from eloquent.cli import app
from eloquent.content import KINDS


def test_simulate_prints_the_figures_and_logs_the_sessions(tmp_path: Path):
    words = ["simulate", "--schemes", "eloquent,bound", "--sessions", "2", "--session", "3", "--workers", "1"]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "2 sessions, defaults" in result.output
    assert len((tmp_path / "sessions.csv").read_text().splitlines()) == 5
    assert len((tmp_path / "figures.csv").read_text().splitlines()) == 3


def test_instants_come_from_a_file(tmp_path: Path):
    (tmp_path / "tokens.txt").write_text("0\n0.1\n0.5\n")
    words = ["simulate", "--schemes", "eloquent", "--sessions", "1", "--workers", "1", "--scenario", "rtt=100ms"]
    result = CliRunner().invoke(app, [*words, "--tokens", str(tmp_path / "tokens.txt"), "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert ",ok,3," in (tmp_path / "sessions.csv").read_text()


@pytest.mark.parametrize("content", [*KINDS, "mine.jsonl"])
def test_simulate_streams_the_content_that_is_asked_for(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.jsonl").write_text('{"text": "tea"}\n{"text": "cake"}\n')
    words = ["simulate", "--schemes", "eloquent", "--sessions", "1", "--session", "2", "--workers", "1"]
    result = CliRunner().invoke(app, [*words, "--content", content, "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert f"content={content}" in result.output
    assert f",content={content},eloquent," in (tmp_path / "sessions.csv").read_text()


def test_each_session_begins_elsewhere_in_a_trace_unless_told_otherwise(tmp_path: Path):
    (tmp_path / "a, b (1).down").write_text("".join(f"{at}\n" for at in (0, 100, 900, 1000, 1100, 3000, 3100, 4000)))
    words = ["simulate", "--schemes", "eloquent", "--sessions", "5", "--session", "3", "--workers", "1"]
    for start, remark in (("", False), (",start=begin", True), (",start=random", False)):
        line = f"rtt=100ms loss=trace(file={tmp_path}/a, b (1).down,outage=300ms{start})"
        result = CliRunner().invoke(app, [*words, "--scenario", line, "--out", str(tmp_path)])
        assert result.exit_code == 0, result.output
        assert ("count as one" in result.output) is remark
        rows = [row.split(",") for row in (tmp_path / "sessions.csv").read_text().splitlines()]
        assert (len({row[rows[0].index("stall_s")] for row in rows[1:]}) > 1) is not remark


@pytest.mark.parametrize(
    "words", [["--session", "inf"], ["--session", "1e9"], ["--gap", "1e-9"], ["--session", "nan"], ["--gap", "inf"]]
)
def test_a_session_without_end_is_refused(words: list[str]):
    result = CliRunner().invoke(app, ["simulate", "--workers", "1", *words])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)


def test_what_cannot_be_simulated_is_told_in_a_sentence(tmp_path: Path):
    for words in (["--schemes", "grpc"], ["--phase", "odd"], ["--content", "x"], ["--tokens", str(tmp_path / "none")]):
        result = CliRunner().invoke(app, ["simulate", "--workers", "1", *words])
        assert result.exit_code == 1, words


@pytest.mark.processes
@pytest.mark.parametrize(
    "words",
    [
        "--help",
        "up --help",
        "up",
        "load",
        "status",
        "check-host --help",
        "report missing",
        "compare missing missing",
        "measure table missing",
        "reproduce --out missing --schemes pigeon",
    ],
)
def test_what_draws_nothing_does_not_load_matplotlib(tmp_path: Path, words: str):
    """It takes its time, and where the user has no home it warns before the sentence that matters."""
    with (tmp_path / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # so that `up` is refused whoever runs the test
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "eloquent.cli", *words.split()],
            env={**os.environ, "ELOQUENT_STATE": str(tmp_path), "HOME": str(tmp_path / "nowhere")},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "eloquent.cli" in loaded or "eloquent.commands" in loaded
    assert not any(name.partition(".")[0] == "matplotlib" for name in loaded)
    assert done.returncode == (0 if "--help" in words else 1)
    if "--help" not in words:
        said = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
        assert [line.partition(":")[0] for line in said] == ["error"], said
