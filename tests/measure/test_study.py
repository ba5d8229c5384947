import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from eloquent.addresses import format_address
from eloquent.cli import app
from eloquent.errors import ConfigurationError
from eloquent.measure import capture
from eloquent.measure.findings import read_sessions
from eloquent.measure.study import Study, run
from eloquent.records.run_directory import RunDirectory

from .conftest import Story


class Talker:
    """Answers with three tokens; fails at the second session."""

    scheme = "sse"

    def __init__(self) -> None:
        self.asked = 0

    def ask(self, on_token) -> str:
        self.asked += 1
        for number in range(3):
            on_token(float(number))
        return "unavailable" if self.asked == 2 else "ok"


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

    def ask(self, on_token) -> str:
        with socket.create_connection(self.address) as connection:
            self.sockets.append(format_address(connection.getsockname()[:2]))
            on_token(None)
            on_token(None)
        return "ok"


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
        ("run", "--grpc", "x:port"),
        ("read", "/nonexistent.pcap"),
        ("read", "/nonexistent.pcap", "--vantage", "moon"),
        ("mahimahi", "/nonexistent"),
    ],
)
def test_mistakes_are_one_sentence(words: tuple[str, ...]):
    answer = invoke(*words)
    assert answer.exit_code == 1
    assert answer.exception is None or isinstance(answer.exception, SystemExit)
