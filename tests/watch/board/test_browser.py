"""Through the reader's own browser: what it asks goes on over its link, and that link can be cut."""

import asyncio
import json
import time
from collections.abc import Callable

import httpx
import pytest

from eloquent.calls import chat

pytestmark = pytest.mark.processes

WORDS = "Count to 30"
QUESTION = {
    "model": chat.MODEL,
    "stream": True,
    "messages": [{"role": "user", "content": WORDS}],
    "max_tokens": 30,
    "eloquent": {"token_gap_s": 0.01},
}


def tokens(text: str) -> list[str]:
    found = [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: {")]
    return [text for event in found if (text := event["choices"][0]["delta"].get("content"))]


def test_the_answer_is_the_model_servers_own(board, token_server):
    answer = board.post(chat.PATH, json=QUESTION)
    direct = httpx.post(f"http://{token_server[1]}{chat.PATH}", json=QUESTION, trust_env=False)
    assert answer.status_code == direct.status_code == 200
    assert answer.headers["content-type"] == direct.headers["content-type"]
    assert tokens(answer.text) == tokens(direct.text)
    assert len(tokens(answer.text)) == 30
    assert answer.text.endswith("data: [DONE]\n\n")


def test_so_is_what_it_refuses(board):
    answer = board.post(chat.PATH, json={**QUESTION, "messages": []})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "messages"


def test_it_comes_as_it_is_made(facts, prometheus, token_server, start_board, tmp_path, browser_access):
    """The first token is there a second before the last one is made."""
    path = tmp_path / "facts.json"
    path.write_text(facts.model_copy(update={"browser": browser_access(token_server[1])}).model_dump_json())
    question = {**QUESTION, "max_tokens": 11, "eloquent": {"token_gap_s": 0.1}}
    with (
        start_board(path, prometheus) as (url, _),
        httpx.Client(base_url=url, timeout=60, trust_env=False) as page,
        page.stream("POST", chat.PATH, json=question) as answer,
    ):
        came = [time.monotonic() for line in answer.iter_lines() if line.startswith("data: {")]
    assert came[-1] - came[0] > 0.9


def test_a_server_that_is_out_of_reach_is_a_sentence(open_board, browser_access):
    answer = open_board(browser=browser_access("127.0.0.1:1")).post(chat.PATH, json=QUESTION)
    assert answer.status_code == 502
    assert "out of reach" in answer.json()["error"]


@pytest.mark.parametrize("path", [chat.PATH, "/api/outage"])
@pytest.mark.parametrize("headers", [{"origin": "http://evil.example"}, {"content-type": "text/plain"}])
def test_no_other_page_may_ask_nor_cut_the_link(board, path, headers):
    answer = board.post(path, content=b"{}", headers={"content-type": "application/json", **headers})
    assert answer.status_code == 400
    assert "own page" in answer.json()["error"]


def test_no_more_are_asked_at_once_than_may_be_and_places_come_back(board):
    for _ in range(2):
        answers = board.post_at_once(chat.PATH, 40, json=QUESTION)
        assert sorted(answer.status_code for answer in answers) == [200] * 32 + [429] * 8


def test_the_page_is_told_who_its_client_is_and_how_its_link_does(board, facts):
    told = board.get("/api/browser").json()
    assert (told["client"], told["model"], told["own_server"]) == ("c1", chat.MODEL, False)
    assert told["tcp"]["label"] == "TCP CUBIC (HTTP SSE)"
    assert (told["relay"], told["certificate_hash"]) == ("https://127.0.0.1:8080/eloquent", "ab" * 32)
    assert board.get("/api/link", params={"seconds": 60}).json() == []  # before a schedule is followed
    facts.schedule.write_text(json.dumps({"epoch_s": time.monotonic() - 5, "loss": None}))
    states = board.get("/api/link", params={"seconds": 60}).json()
    assert {loss for _, _, loss in states} == {0.0, 0.9}
    assert states[-1][1] >= 60
    assert board.get("/api/link", params={"seconds": "1e9"}).status_code == 400


def test_the_page_may_connect_to_the_board_and_to_the_relay_alone(board):
    policy = board.get("/").headers["content-security-policy"]
    assert "connect-src 'self' https://127.0.0.1:8080;" in policy
    assert board.get("/client/eloquent.js").headers["content-type"].startswith("text/javascript")


def test_before_the_relay_has_a_certificate_that_is_a_sentence(board, facts):
    facts.browser.certificate_hash.unlink()
    answer = board.get("/api/browser")
    assert answer.status_code == 400
    assert "hash of the origin relay's certificate" in answer.json()["error"]


@pytest.mark.parametrize("seconds", [0, -1, 31, "long"])
def test_an_outage_has_a_length(board, seconds):
    answer = board.post("/api/outage", json={"seconds": seconds})
    assert answer.status_code == 400
    assert "seconds" in answer.json()["error"]


@pytest.fixture
def cut_with(open_board, facts) -> Callable[[bytes], tuple[httpx.Response, bytes]]:
    """Ask for an outage where the lab answers so; gives the board's answer, and what the lab was asked."""

    def cut(says: bytes) -> tuple[httpx.Response, bytes]:
        board, heard = open_board(), []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(await reader.readline())
            writer.write(says)
            writer.close()

        server = board.run(asyncio.start_unix_server(answer, facts.control))
        told = board.post("/api/outage", json={"seconds": 3})
        server.close()
        return told, heard[0]

    return cut


def test_an_outage_is_asked_of_the_lab(cut_with):
    answer, heard = cut_with(b"{}\n")
    assert answer.status_code == 200
    assert json.loads(heard) == {"do": "cut", "client": "c1", "seconds": 3.0}


@pytest.mark.parametrize("says", [b'{"error": "a load test is running"}\n', b"", b"no JSON\n"])
def test_a_lab_that_does_not_cut_the_link_is_told_of(cut_with, says):
    answer, _ = cut_with(says)
    assert answer.status_code == 409
    assert ("a load test is running" if says.startswith(b"{") else "does not answer") in answer.json()["error"]


def test_without_a_lab_there_is_no_outage(board):
    answer = board.post("/api/outage", json={"seconds": 3})
    assert answer.status_code == 409
    assert "the lab does not answer" in answer.json()["error"]
