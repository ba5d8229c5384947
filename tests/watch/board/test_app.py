"""The board's answers, from a real Prometheus; whom it refuses; and a chat from a real token server."""

import asyncio
import contextlib
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from eloquent import telemetry
from eloquent.watch.board.app import STATIC, make_app
from eloquent.watch.panels import TESTBED
from eloquent.watch.prometheus import Prometheus

pytestmark = pytest.mark.processes

QUESTION = {"client": "c1", "schemes": ["grpc", "sse"], "words": "Tell me a story.", "seconds": 2}


def test_the_page_loads_nothing_from_elsewhere_and_has_no_inline_script(board):
    page = board.get("/")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert links
    for link in links:
        assert board.get(f"/{link}").status_code == 200, link
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=", page.text)


def test_every_module_of_the_page_is_served_and_imports_what_is_there(board):
    for path in STATIC.glob("*.js"):
        served = board.get(f"/static/{path.name}")
        assert served.headers["content-type"].startswith("text/javascript")
        for name in re.findall(r'from "\./([^"]+)"', served.text):
            assert (STATIC / name).is_file(), f"{path.name} imports {name}"
        assert "innerHTML" not in served.text


def test_the_chart_library_has_its_licence_and_its_version():
    folder = STATIC / "vendor" / "uplot"
    assert "MIT" in (folder / "LICENSE").read_text()
    version = re.search(r"uPlot (\d+\.\d+\.\d+)", (folder / "README.md").read_text())
    assert version
    assert f"v{version[1]}" in (folder / "uPlot.esm.js").read_text()[:400]


def test_the_definitions_are_those_of_grafana(board):
    found = board.get("/api/panels").json()["dashboards"]
    assert [one["uid"] for one in found] == [one.uid for one in TESTBED]
    for one, dashboard in zip(found, TESTBED, strict=True):
        assert [panel["title"] for panel in one["panels"]] == [panel.title for panel in dashboard.panels]


@pytest.mark.parametrize("dashboard", TESTBED, ids=lambda dashboard: dashboard.title)
def test_every_panel_is_answered_whether_there_is_data_or_not(board, dashboard):
    answer = board.get("/api/values", params={"dashboard": dashboard.uid})
    assert answer.status_code == 200, answer.text
    assert [panel["panel"] for panel in answer.json()["panels"]] == list(range(len(dashboard.panels)))


def test_what_runs_is_told_with_what_it_warns_of(board, facts):
    (facts.folder / "manifest.json").write_text(json.dumps({"warnings": ["too <b>slow</b>"], "flaws": ["links late"]}))
    run = board.get("/api/run").json()
    assert run["clients"] == ["c1", "c2"]
    assert [scheme["label"] for scheme in run["schemes"]] == ["TCP (gRPC)", "TCP (HTTP SSE)", "Eloquent"]
    assert run["token_rate"] == pytest.approx(1 / facts.token_gap_s)
    assert run["seen"] == []
    assert run["load"] is False
    assert run["problem"] is None
    assert run["warnings"] == ["too <b>slow</b>"]
    assert run["flaws"] == {"the rounds": ["links late"]}


def test_without_prometheus_the_run_is_told_and_a_chat_goes_on(open_board):
    board = open_board(prometheus="http://127.0.0.1:1")
    run = board.get("/api/run")
    assert run.status_code == 200
    assert run.json()["clients"] == ["c1", "c2"]
    assert "Prometheus does not answer" in run.json()["problem"]
    assert (run.json()["alerts"], run.json()["seen"], run.json()["load"]) == ([], [], False)
    *_, last = events(board.post("/api/ask", json={**QUESTION, "schemes": ["grpc"]}))
    assert (last["event"], last["outcome"]) == ("ended", "ok")
    assert board.get("/api/values", params={"dashboard": TESTBED[0].uid}).status_code == 502


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"dashboard": "eloquent-stalls", "client": 'c1"} or up{job=~"'}, "there is no client"),
        ({"dashboard": "eloquent-stalls", "query": "up", "scheme": "x"}, "'x' is not a scheme"),
        ({"query": "up"}, "there is no dashboard"),
    ],
)
def test_promql_from_outside_is_refused(board, words, sentence):
    answer = board.get("/api/values", params=words)
    assert answer.status_code == 400
    assert sentence in answer.json()["error"]


@pytest.mark.parametrize(
    "path", ["/api/v1/query?query=up", "/api/query?query=up", "/static/../app.py", "/static/%2e%2e/app.py"]
)
def test_there_is_no_other_way_in(board, path):
    assert board.get(path).status_code == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "10.0.0.1"])
@pytest.mark.parametrize("path", ["/", "/api/run", "/static/board.js"])
def test_a_foreign_name_that_resolves_to_this_machine_is_refused(board, host, path):
    assert board.get(path, headers={"host": host}).status_code == 400


def test_localhost_by_its_names_is_served(board):
    for host in ("127.0.0.1", "127.0.0.1:18080", "localhost:8080"):
        assert board.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"content-type": "text/plain"},  # what a foreign form can send without being asked
    ],
)
def test_no_other_page_may_ask(board, headers):
    answer = board.post(
        "/api/ask", content=json.dumps(QUESTION), headers={"content-type": "application/json", **headers}
    )
    assert answer.status_code == 400
    assert "own page" in answer.json()["error"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"client": "c9"}, "there is no client 'c9'"),
        ({"schemes": ["duplicate-2"]}, "schemes of this run"),
        ({"schemes": ["grpc", "grpc"]}, "each once"),
        ({"schemes": []}, "schemes"),
        ({"words": ""}, "words"),
        ({"words": "a\nb"}, "words"),
        ({"seconds": 1e9}, "seconds"),
        ({"token_rate": 0}, "token_rate"),
        ({"token_rate": 1e6}, "token_rate"),
        ({"command": "sh"}, "command"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused_in_a_sentence(board, change, sentence):
    answer = board.post("/api/ask", json={**QUESTION, **change})
    assert answer.status_code == 400
    assert sentence in answer.json()["error"]


def test_a_question_without_end_is_refused(board):
    assert board.post("/api/ask", json={**QUESTION, "words": "x" * 5000}).status_code == 413


def events(answer):
    return [json.loads(event.removeprefix("data: ")) for event in answer.text.split("\n\n") if event]


def test_a_chat_may_have_another_rate_than_the_run(board):
    *rest, ended = events(board.post("/api/ask", json={**QUESTION, "schemes": ["grpc"], "token_rate": 25}))
    assert sum(event["event"] == "token" for event in rest) == 50  # 2 s
    assert ended["numbers"]["tokens"] == 50


def test_a_chat_brings_the_same_answer_by_each_scheme_and_its_numbers(board, registry):
    first, *rest = events(board.post("/api/ask", json=QUESTION))
    assert (first["event"], first["seconds"]) == ("asked", 2.0)
    text = {
        scheme: "".join(event["text"] for event in rest if event["event"] == "token" and event["scheme"] == scheme)
        for scheme in QUESTION["schemes"]
    }
    assert text["grpc"] == text["sse"]
    assert len(text["grpc"].split()) == 100  # 2 s at a token every 20 ms
    ended = {event["scheme"]: event for event in rest if event["event"] == "ended"}
    for scheme in QUESTION["schemes"]:
        assert ended[scheme]["outcome"] == "ok"
        assert ended[scheme]["numbers"]["tokens"] == 100
        labels = {"client": "c1", "scheme": scheme}
        assert registry.get_sample_value("eloquent_rendered_tokens_total", labels) == 100
        assert registry.get_sample_value("eloquent_active_streams", labels) == 0


def test_of_many_who_ask_at_once_three_are_answered_and_their_places_come_back(board):
    question = {**QUESTION, "schemes": ["grpc"]}
    for _ in range(2):
        answers = board.post_at_once("/api/ask", 12, json=question)
        assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 9


def test_a_page_that_leaves_before_its_chat_begins_keeps_no_place(facts, registry):
    async def scenario() -> list[int]:
        app = make_app(facts, Prometheus("http://127.0.0.1:1"), telemetry.ViewerMetrics(registry))
        body = json.dumps(QUESTION).encode()
        headers = {"host": "127.0.0.1", "content-type": "application/json", "content-length": str(len(body))}
        scope = {
            "type": "http",
            "method": "POST",
            "scheme": "http",
            "path": "/api/ask",
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        statuses = []

        async def receive() -> dict:
            await asyncio.sleep(0)
            return {"type": "http.request", "body": body}

        async def send(message: dict) -> None:
            statuses.append(message["status"])
            raise ConnectionResetError

        for _ in range(5):  # more than there are places
            with contextlib.suppress(OSError, ExceptionGroup):
                await app(scope, receive, send)
        return statuses

    assert asyncio.run(scenario()) == [200] * 5


def test_words_that_look_like_a_flag_are_words(board):
    *_, last = events(board.post("/api/ask", json={**QUESTION, "words": "--server=evil", "schemes": ["grpc"]}))
    assert (last["event"], last["outcome"]) == ("ended", "ok")


def test_a_scheme_that_fails_ends_its_own_side_alone(open_board, token_server):
    board = open_board(http=token_server[0])  # gRPC is spoken there
    told = events(board.post("/api/ask", json=QUESTION))
    ended = {event["scheme"]: event for event in told if event["event"] == "ended"}
    assert ended["grpc"]["outcome"] == "ok"
    assert ended["sse"]["outcome"] == "unavailable"
    assert ended["sse"]["numbers"]["stall_ratio"] is None


@pytest.fixture
def process(facts, prometheus, token_server, tmp_path, start_board):
    """A board of its own process, as the lab starts it; gives its URL and its process."""
    grpc, http = token_server
    path = tmp_path / "facts.json"
    path.write_text(facts.model_copy(update={"server": grpc, "http": http}).model_dump_json())
    with start_board(path, prometheus) as started:
        yield started


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_the_asker_dies_with_the_page_and_no_more_than_three_ask_at_once(process, wait_until):
    url, board = process
    question = {**QUESTION, "seconds": 60, "schemes": ["grpc"]}
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as page:
        streams = [page.stream("POST", "/api/ask", json=question) for _ in range(3)]
        answers = [stream.__enter__().iter_lines() for stream in streams]
        assert all(next(lines).startswith("data: ") for lines in answers)
        assert len(children(board.pid)) == 3
        assert page.post("/api/ask", json=question).status_code == 429
        for stream in streams:
            stream.__exit__(None, None, None)
        wait_until(lambda: not children(board.pid))
        assert page.get("/api/run").status_code == 200
    board.send_signal(signal.SIGTERM)
    assert board.wait(20) == 0


def test_a_run_that_cannot_be_read_is_one_sentence(tmp_path):
    words = ("--listen", "127.0.0.1:0", "--prometheus", "http://127.0.0.1:1", "--facts", str(tmp_path / "none.json"))
    ended = subprocess.run(
        [sys.executable, "-m", "eloquent.watch.board", *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert "cannot read what runs" in ended.stderr
    assert "Traceback" not in ended.stderr
