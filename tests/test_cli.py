"""The commands of the simulator."""

from pathlib import Path

from typer.testing import CliRunner

from eloquent.cli import app


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


def test_what_cannot_be_simulated_is_told_in_a_sentence(tmp_path: Path):
    for words in (["--schemes", "grpc"], ["--phase", "odd"], ["--tokens", str(tmp_path / "none")]):
        result = CliRunner().invoke(app, ["simulate", "--workers", "1", *words])
        assert result.exit_code == 1, words
