import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import dpkt
import pytest
from typer.testing import CliRunner

from eloquent.addresses import format_address
from eloquent.calls.answer import AnswerFailed
from eloquent.calls.chat_stream import Kind
from eloquent.cli import app
from eloquent.errors import ConfigurationError
from eloquent.measure import capture
from eloquent.measure.findings import read_findings
from eloquent.measure.sessions import read_sessions
from eloquent.measure.study import Study, run
from eloquent.records.run_directory import RunDirectory

from .conftest import Story, http_server


class Talker:
    """Answers with three tokens, the first one of reasoning; fails at the second session."""

    scheme = "sse"

    def __init__(self) -> None:
        self.asked = 0

    def ask(self, on_token) -> None:
        self.asked += 1
        for number in range(3):
            on_token(Kind.TEXT if number else Kind.REASONING, float(number))
        if self.asked == 2:
            raise AnswerFailed("unavailable", "gone")


def study(**changes) -> Study:
    values = {"asker": Talker(), "sessions": 3, "pause": 0.0, "port": 1, "capture": False, "about": {"endpoint": "x"}}
    return Study(**(values | changes))


def test_a_study_leaves_a_run_directory(tmp_path: Path):
    ended = []
    directory = run(study(), tmp_path, "a", lambda number, answer: ended.append((number, answer.outcome)))
    assert ended == [(1, "ok"), (2, "unavailable"), (3, "ok")]
    assert [(row.session, row.outcome, row.tokens) for row in directory.sessions()] == [
        ("client.sse.r1", "ok", 3),
        ("client.sse.r2", "unavailable", 3),
        ("client.sse.r3", "ok", 3),
    ]
    tokens = list(directory.tokens())
    assert [(row.session, row.index, row.generated_s) for row in tokens[3:5]] == [
        ("client.sse.r2", 0, 0.0),
        ("client.sse.r2", 1, 1.0),
    ]
    assert [(row.session, row.index, row.kind) for row in directory.kinds()] == [
        (f"client.sse.r{number}", 0, "reasoning") for number in (1, 2, 3)
    ]
    manifest = directory.read_manifest()
    assert manifest.schemes == ("sse",)
    assert manifest.model_extra is not None
    assert manifest.model_extra["capture_refusal"] == "not asked for"
    assert manifest.model_extra["clock"]["wall_minus_monotonic_s"] > 0
    with pytest.raises(ConfigurationError, match="there is a run"):
        run(study(), tmp_path, "a", lambda number, answer: None)


class Caller:
    """Asks a server of its own, while somebody else talks to it too; each session on another connection."""

    scheme = "sse"

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.sockets: list[str] = []

    def ask(self, on_token) -> None:
        with socket.create_connection(self.address) as connection:
            self.sockets.append(format_address(connection.getsockname()[:2]))
            on_token(Kind.TEXT, None)
            on_token(Kind.TEXT, None)


@pytest.mark.processes
def test_a_study_notes_its_own_end_of_each_connection(tmp_path: Path):
    other = (
        "import socket, sys; c = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); print(flush=True); input()"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        words = [sys.executable, "-c", other, str(port)]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as browser:
            assert browser.stdout is not None
            browser.stdout.readline()
            caller = Caller(("127.0.0.1", port))
            directory = run(study(asker=caller, port=port), tmp_path, "a", lambda number, answer: None)
            browser.communicate(b"\n")
    noted = (directory.read_manifest().model_extra or {})["sockets"]
    assert noted == {f"client.sse.r{number}": one for number, one in enumerate(caller.sockets, start=1)}
    sessions = read_sessions(directory)
    assert [one.socket and format_address(one.socket) for one in sessions] == caller.sockets


def test_what_cannot_be_captured_is_said_and_the_sessions_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # no tcpdump there
    directory = run(study(capture=True), tmp_path, "a", lambda number, answer: None)
    assert len(list(directory.sessions())) == 3
    assert "not installed" in (directory.read_manifest().model_extra or {})["capture_refusal"]

    script = tmp_path / "tcpdump"
    script.write_text("#!/bin/sh\necho 'You do not have permission' >&2; exit 1\n")
    script.chmod(0o755)
    with capture.capturing(tmp_path / "x.pcap", port=1) as capturing:
        assert capturing.path is None
        assert capturing.refusal == "tcpdump cannot capture: You do not have permission"


def test_no_sessions_are_no_study(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="0 sessions"):
        run(study(sessions=0), tmp_path, "a", lambda number, answer: None)


def invoke(*words: str):
    return CliRunner().invoke(app, ["measure", *words], env={"COLUMNS": "250"})


def test_the_command_line_reads_captures_and_compares(lossy: Story, tmp_path: Path):
    for vantage in ("sender", "receiver"):
        (tmp_path / vantage).mkdir()
        answer = invoke("read", str(lossy.write(tmp_path / vantage / "walk.pcap", vantage)))
        assert answer.exit_code == 0, answer.output
        names = {path.name for path in (tmp_path / vantage).iterdir()}
        assert names == {
            "walk.pcap", "figure4.png", "figure4.svg", "loss-trace.txt", "scenario.yaml", "measurement.json"
        }  # fmt: skip
    answer = invoke("table", str(tmp_path / "sender"), str(tmp_path / "receiver"))
    assert answer.exit_code == 0, answer.output
    assert f"{len(lossy.lost) / len(lossy.sent) * 100:.1f}%" in answer.output


def chunk(**fields: object) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, **fields}]}).encode() + b"\n\n"


HI = chunk(delta={"content": "Hi\u2028"})
WHOLE = chunk(delta={"reasoning": "Hm"}) + HI + chunk(delta={"content": "!"}) + chunk(delta={}, finish_reason="stop")


def test_a_bad_event_fails_its_session_and_the_study_goes_on(tmp_path: Path):
    bad = {
        b'data: {"choices": null}\n\n': "data_loss",
        b'data: {"choices": [{"delta": "x"}]}\n\n': "data_loss",
        b"data: " + b"[" * 100_000 + b"\n\n": "data_loss",
        b'data: {"error": {"message": "[red]no GPU\\n[/nonsense]"}}\n\n': "internal",
        b"event: error\ndata: out of memory\n\n": "internal",
        chunk(delta={}, finish_reason="content_filter"): "aborted",
    }
    bodies = [b"data: [DONE]\n\n", *(HI + one + b"data: [DONE]\n\n" for one in bad), WHOLE]
    with http_server(200, *bodies) as (url, asked):
        answer = invoke(
            *("run", "--url", url, "--sessions", str(len(bodies)), "--pause", "0s", "--no-capture"),
            *("--runs", str(tmp_path), "--name", "a"),
        )
    assert answer.exit_code == 0, answer.output
    assert len(asked) == len(bodies)
    outcomes = ["data_loss", *bad.values(), "ok"]
    assert [row.outcome for row in RunDirectory(tmp_path / "a").sessions()] == outcomes
    assert re.search(r"session 5 of 8: internal, 1 tokens in .* s: \[red\]no GPU \[/nonsense\]\n", answer.output)
    assert "1 (+7 failed)" in answer.output
    assert "(1 of reasoning)" in answer.output
    found = read_findings(tmp_path / "a")
    assert (found.sessions, found.failed, found.tokens, found.reasoning_tokens) == (1, 7, 3, 1)
    assert found.ttft_kind == "reasoning"
    shown = invoke("qoe", str(tmp_path / "a"))
    assert "reasoning" in shown.output


def test_sessions_without_a_connection_leave_figures_and_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    tcpdump = tmp_path / "tcpdump"
    empty = tmp_path / "empty.pcap"
    with empty.open("wb") as file:
        dpkt.pcap.Writer(file)
    tcpdump.write_text(
        f'#!/bin/sh\nwhile [ "$1" != -w ]; do shift; done\ncp {empty} "$2"\necho listening on x >&2\nexec sleep 60\n'
    )
    tcpdump.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    words = ("run", "--url", f"http://127.0.0.1:{port}/v1", "--sessions", "1", "--runs", str(tmp_path), "--name", "a")
    answer = invoke(*words)
    assert answer.exit_code == 1, answer.output
    assert "no session succeeded" in answer.output
    assert "unavailable" in answer.output
    assert "0 (+1 failed)" in answer.output
    (warning,) = read_findings(tmp_path / "a").warnings
    assert "no TCP connection" in warning


def test_a_key_that_cannot_be_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOME_KEY", "sk-\u2028x")
    answer = invoke("run", "--url", "http://127.0.0.1:1/v1", "--key-variable", "SOME_KEY", "--runs", str(tmp_path))
    assert isinstance(answer.exception, SystemExit)
    assert answer.exit_code == 1
    assert not list(tmp_path.iterdir())


def test_the_command_line_shows_what_lies_beyond_stalls(tmp_path: Path):
    run(study(), tmp_path, "a", lambda number, answer: None)
    answer = invoke("qoe", str(tmp_path / "a"))
    assert answer.exit_code == 0, answer.output
    assert "1.000" in answer.output
    RunDirectory(tmp_path / "a").read_manifest()


def test_the_command_line_shows_mahimahi_traces(tmp_path: Path):
    (tmp_path / "x.down").write_text("0\n100\n2000\n")
    answer = invoke("mahimahi", str(tmp_path / "x.down"))
    assert answer.exit_code == 0, answer.output
    assert "1900 ms" in answer.output


@pytest.mark.parametrize(
    "words",
    [
        ("run",),
        ("run", "--url", "http://x/v1", "--grpc", "y:1"),
        ("run", "--url", "nonsense"),
        ("run", "--url", "http://[::1/v1"),
        ("run", "--url", "http://127.0.0.1:8000/v1/responses"),
        ("run", "--grpc", "x:port"),
        ("read", "/nonexistent.pcap"),
        ("read", "/nonexistent.pcap", "--vantage", "moon"),
        ("read", "/nonexistent.pcap", "--server", "example.org"),
        ("mahimahi", "/nonexistent"),
    ],
)
def test_mistakes_are_one_sentence(words: tuple[str, ...]):
    answer = invoke(*words)
    assert answer.exit_code == 1
    assert answer.exception is None or isinstance(answer.exception, SystemExit)
