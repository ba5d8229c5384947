"""Every way to the answers, against a real token server and real relays: in threads, and in greenlets."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest

from eloquent.errors import ConfigurationError
from eloquent.load.clients import AskFailed, Client, Question, Token, connect
from eloquent.load.clients.base import Deadline, Pool, in_order
from eloquent.load.clients.grpc import GrpcClient
from eloquent.load.clients.library import LibraryClient
from eloquent.load.clients.sse import SseClient

COUNT_TO_3 = ["1", ",", " 2", ",", " 3"]
WAYS = ["grpc", "sse", "eloquent/edge", "eloquent/library", "duplicate-2/library"]
OWNER = {"client": "c1", "session": "c1.x.r0"}


def job(addresses: Any, via: str = "edge") -> Any:
    return SimpleNamespace(
        options=SimpleNamespace(via=via),
        token_server=addresses.grpc,
        http_server=addresses.http,
        edge_relay=addresses.edge,
        origin_relay=addresses.origin,
    )


def question(prompt: str = "Count to 3", *, most: int = 100, gap: float = 0.01, timeout: float = 20.0) -> Question:
    return Question(prompt, most, gap, timeout)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, servers: Any) -> Iterator[Client]:
    scheme, _, via = request.param.partition("/")
    with closing(connect(scheme, job(servers, via or "edge"))) as client:
        yield client


def generating(addresses: Any) -> float:
    with urllib.request.urlopen(f"http://{addresses.metrics}/metrics", timeout=5) as page:
        lines = page.read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("eloquent_active_generations "))


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_sessions_one_after_the_other_and_side_by_side(way: Client) -> None:
    def ask(_: int) -> list[tuple[int, str]]:
        before = time.monotonic()
        tokens = list(way.ask(question(), **OWNER))
        assert all(before < token.generated_s < time.monotonic() for token in tokens)
        return [(token.index, token.text) for token in tokens]

    answers = [ask(0), ask(0)]
    with ThreadPoolExecutor(5) as pool:
        answers += pool.map(ask, range(10))
    assert answers == [list(enumerate(COUNT_TO_3))] * 12


def test_the_answer_is_as_long_as_was_asked_for(way: Client) -> None:
    assert len(list(way.ask(question("Tell me a story", most=17, gap=0), **OWNER))) == 17


def test_an_answer_that_is_closed_is_cancelled_at_the_server(way: Client, servers: Any) -> None:
    tokens = way.ask(question("Count to 1000", most=2000, gap=0.1), **OWNER)
    assert next(tokens).text == "1"
    assert generating(servers) == 1
    tokens.close()
    until(lambda: generating(servers) == 0)
    assert [token.text for token in way.ask(question(), **OWNER)] == COUNT_TO_3


def test_a_deadline_that_passes_is_an_outcome(way: Client, servers: Any) -> None:
    with pytest.raises(AskFailed) as caught:
        list(way.ask(question("Count to 1000", most=2000, gap=0.05, timeout=0.4), **OWNER))
    assert caught.value.outcome == "deadline_exceeded"
    until(lambda: generating(servers) == 0)


def test_what_the_server_refuses_has_the_same_outcome_by_every_way(way: Client, servers: Any) -> None:
    with pytest.raises(AskFailed) as caught:
        list(way.ask(question(gap=11.0), **OWNER))
    assert caught.value.outcome == "invalid_argument"
    streams = [way.ask(question("Count to 1000", most=2000, gap=0.1), **OWNER) for _ in range(20)]
    for stream in streams:
        next(stream)
    with pytest.raises(AskFailed) as caught:
        list(way.ask(question(), **OWNER))
    assert caught.value.outcome == "resource_exhausted"
    for stream in streams:
        stream.close()
    until(lambda: generating(servers) == 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda port: GrpcClient(f"127.0.0.1:{port}", "grpc"),
        lambda port: SseClient(("127.0.0.1", port), "sse"),
        lambda port: LibraryClient(("127.0.0.1", port), "eloquent"),
    ],
    ids=["grpc", "sse", "library"],
)
def test_nobody_there(make: Callable[[int], Client], free_port: Callable[[], int]) -> None:
    with closing(make(free_port())) as client, pytest.raises(AskFailed) as caught:
        list(client.ask(question(timeout=0.5), **OWNER))
    assert caught.value.outcome in {"unavailable", "deadline_exceeded"}  # a relay may yet come up


def test_a_scheme_that_does_not_exist_and_an_address_that_is_none(servers: Any) -> None:
    with pytest.raises(ConfigurationError, match="'pigeon' is not a scheme"):
        connect("pigeon", job(servers))
    servers = SimpleNamespace(**vars(servers) | {"http": "nowhere"})
    with pytest.raises(ConfigurationError, match="'nowhere' is not an address"):
        connect("sse", job(servers))


def test_a_token_out_of_order_is_data_loss() -> None:
    tokens = (Token(index, "x", 0.0) for index in (0, 1, 3))
    with pytest.raises(AskFailed) as caught:
        list(in_order(tokens))
    assert caught.value.outcome == "data_loss"


def test_a_connection_is_lent_to_one_session_and_dropped_when_that_fails() -> None:
    made, closed = iter("abc"), []
    pool = Pool(lambda: next(made), closed.append)
    with pool.lend() as first, pool.lend() as second:
        assert (first, second) == ("a", "b")
    with pytest.raises(ZeroDivisionError), pool.lend():
        raise ZeroDivisionError
    assert len(closed) == 1
    with pool.lend(), pool.lend() as other:
        assert other == "c"
    pool.close()
    assert sorted(closed) == ["a", "b", "c"]


def test_a_deadline_counts_down() -> None:
    assert 9 < Deadline(10.0).left() <= 10
    with pytest.raises(AskFailed, match="no end after 0 s"):
        Deadline(0.0).left()


GREENLETS = """
from gevent import monkey; monkey.patch_all()
import gevent, json, sys
from types import SimpleNamespace
from eloquent.load.clients import Question, connect
scheme, via, addresses = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
job = SimpleNamespace(options=SimpleNamespace(via=via), **addresses)
way = connect(scheme, job)
ticks = []
def tick():
    while True:
        gevent.sleep(0.02)
        ticks.append(1)
gevent.spawn(tick)
def ask(number):
    return "".join(token.text for token in way.ask(Question("Count to 5", 100, 0.05, 20.0), client="c", session="s"))
readers = [gevent.spawn(ask, number) for number in range(15)]
gevent.joinall(readers, timeout=20)
print(json.dumps([[reader.value for reader in readers], len(ticks)]))
way.close()
"""


@pytest.mark.parametrize("name", WAYS)
def test_greenlets_ask_side_by_side_and_block_nobody(name: str, servers: Any) -> None:
    scheme, _, via = name.partition("/")
    addresses = {key: value for key, value in vars(job(servers)).items() if key != "options"}
    words = [sys.executable, "-c", GREENLETS, scheme, via or "edge", json.dumps(addresses)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    answers, ticks = json.loads(done.stdout)
    assert answers == ["1, 2, 3, 4, 5"] * 15
    assert ticks >= 8  # 0.4 s of answers, and other greenlets ran meanwhile
