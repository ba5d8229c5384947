"""`eloquent report` and `eloquent compare`, as one types them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from eloquent.calls.chat_stream import Kind
from eloquent.cli import app
from eloquent.measure.study import Study
from eloquent.measure.study import run as run_study
from eloquent.records.rows import SessionRow, TokenRow
from eloquent.records.run_directory import RunDirectory


@pytest.fixture
def make_run(tmp_path: Path):
    def make(name: str, *, gap: float = 0.3) -> Path:
        run = RunDirectory.create(tmp_path, name)
        line = "name=still rtt=100ms"
        links = [
            {"name": f"c{number}", "schedule": {way: {"digest": way, "stretches": []} for way in ("down", "up")}}
            for number in range(8)
        ]
        scenario = {"name": "still", "line": line}
        run.write_manifest({"run": name, "scenario": scenario, "seed": 1, "schemes": ["eloquent"], "links": links})
        for number in range(8):
            client = f"c{number}"
            session = f"{client}.eloquent.r1"
            with run.token_writer(client) as tokens, run.session_writer(client) as sessions:
                at = 1.0
                for index in range(20):
                    at += gap + number / 1000 if index % 4 == 3 else 0.1
                    tokens.write(TokenRow(session, index, None, at))
                sessions.write(SessionRow(session, client, "eloquent", 1, 0.9, at, "ok", 20))
        return run.path

    return make


def test_report_writes_the_page_and_prints_where(make_run):
    path = make_run("a")
    result = CliRunner().invoke(app, ["report", str(path)])
    assert result.exit_code == 0, result.output
    assert result.output.strip() == str(path / "report.html")
    assert (path / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_compare_fails_on_a_difference_only_where_asked(make_run):
    first, second = str(make_run("a")), str(make_run("b", gap=0.9))
    assert CliRunner().invoke(app, ["compare", first, first, "--fail-on-difference"]).exit_code == 0
    result = CliRunner().invoke(app, ["compare", first, second])
    assert result.exit_code == 0, result.output
    assert "beyond noise" in result.output
    assert CliRunner().invoke(app, ["compare", first, second, "--fail-on-difference"]).exit_code == 1


def test_what_is_no_run_is_told_in_a_sentence(make_run, tmp_path: Path):
    path = make_run("a")
    for words in (["report", str(tmp_path)], ["compare", str(path), str(tmp_path)]):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 1
        assert "is not a run" in " ".join(result.stderr.split())
        assert "Traceback" not in result.output


def test_runs_without_a_common_scheme_are_refused(make_run):
    first, second = make_run("a"), make_run("b")
    manifest = json.loads((second / "manifest.json").read_text())
    (second / "manifest.json").write_text(json.dumps(manifest | {"schemes": ["kcp"]}))
    for log in (second / "sessions").iterdir():
        log.unlink()
    for log in (second / "tokens").iterdir():
        log.unlink()
    result = CliRunner().invoke(app, ["compare", str(first), str(second)])
    assert result.exit_code == 1
    assert "no scheme in common" in " ".join(result.stderr.split())


@pytest.mark.parametrize("tokens", [1, 2, 30])
def test_a_measurement_of_a_real_network_has_a_report_too(tmp_path: Path, tokens: int):
    class Talker:
        scheme = "sse"

        def ask(self, on_token) -> None:
            for _ in range(tokens):
                on_token(Kind.TEXT, None)

    about = {"endpoint": "http://198.51.100.7/v1", "model": "m"}
    study = Study(asker=Talker(), sessions=4, pause=0.0, port=1, capture=False, about=about)
    run = run_study(study, tmp_path, "walk", lambda number, answer: None)
    result = CliRunner().invoke(app, ["report", str(run.path)])
    assert result.exit_code == 0, result.output
    page = (run.path / "report.html").read_text()
    assert "http://198.51.100.7/v1" in page
    assert "TCP (HTTP SSE)" in page
