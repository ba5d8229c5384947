"""Every way to the answers, against a real token server and real relays."""

import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from eloquent.calls.answer import AnswerFailed, AnswerToken
from eloquent.errors import ConfigurationError
from eloquent.load.clients import CancellationToken, LoadClient, LoadRequest, connect
from eloquent.load.clients.base import Deadline, Pool, in_order
from eloquent.load.clients.grpc import GrpcClient
from eloquent.load.clients.library import LibraryClient
from eloquent.load.clients.sse import SseClient

COUNT_TO_3 = ["1", ",", " 2", ",", " 3"]
WAYS = [
    "grpc",
    "sse",
    "quic-stream",
    "quic-datagram-stock",
    "openai",
    "eloquent-quic",
    "eloquent/edge",
    "eloquent/library",
    "duplicate-2/library",
]


def job(addresses: Any, via: str = "edge") -> Any:
    return SimpleNamespace(
        options=SimpleNamespace(via=via),
        token_server=addresses.grpc,
        http_server=addresses.http,
        quic_server=addresses.quic,
        edge_relay=addresses.edge,
        edge_http=addresses.edge_http,
        edge_quic=addresses.edge_quic,
        origin_relay=addresses.origin,
        model=None,
    )


def question(prompt: str = "Count to 3", *, most: int = 100, gap: float = 0.01, timeout: float = 20.0) -> LoadRequest:
    return LoadRequest(prompt, most, gap, timeout)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, servers: Any) -> Iterator[LoadClient]:
    scheme, _, via = request.param.partition("/")
    with closing(connect(scheme, job(servers, via or "edge"))) as client:
        yield client


def ask(
    way: LoadClient, asked: LoadRequest, cancellation: CancellationToken | None = None
) -> Generator[AnswerToken, None, None]:
    return way.ask(asked, client="c1", session="c1.x.r0", cancellation=cancellation or CancellationToken())


def generating(addresses: Any) -> float:
    with urllib.request.urlopen(f"http://{addresses.metrics}/metrics", timeout=5) as page:
        lines = page.read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("eloquent_active_generations "))


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_sessions_one_after_the_other_and_side_by_side(way: LoadClient) -> None:
    def ask_by(_: int) -> list[tuple[int, str]]:
        before = time.monotonic()
        tokens = list(ask(way, question()))
        assert all(before < token.generated_s < time.monotonic() for token in tokens)
        return [(token.index, token.text) for token in tokens]

    answers = [ask_by(0), ask_by(0)]
    with ThreadPoolExecutor(5) as pool:
        answers += pool.map(ask_by, range(10))
    assert answers == [list(enumerate(COUNT_TO_3))] * 12


def test_the_answer_is_as_long_as_was_asked_for(way: LoadClient) -> None:
    assert len(list(ask(way, question("Tell me a story", most=17, gap=0)))) == 17


def test_an_answer_that_is_closed_is_cancelled_at_the_server(way: LoadClient, servers: Any) -> None:
    tokens = ask(way, question("Count to 1000", most=2000, gap=0.1))
    assert next(tokens).text == "1"
    assert generating(servers) == 1
    tokens.close()
    until(lambda: generating(servers) == 0)
    assert [token.text for token in ask(way, question())] == COUNT_TO_3


def test_another_thread_has_an_answer_left_at_once(way: LoadClient, servers: Any) -> None:
    leave, failures = CancellationToken(), []

    def read() -> None:
        with pytest.raises(AnswerFailed) as caught:
            list(ask(way, question("Count to 1000", most=2000, gap=10.0, timeout=60), leave))
        failures.append(caught.value)

    reader = threading.Thread(target=read)
    reader.start()
    until(lambda: generating(servers) == 1)
    leave.cancel()
    reader.join(5)
    assert failures
    until(lambda: generating(servers) == 0)
    with pytest.raises(AnswerFailed):  # what was left before it was asked ends at once
        list(ask(way, question("Count to 1000", most=2000, gap=10.0, timeout=60), leave))
    assert [token.text for token in ask(way, question())] == COUNT_TO_3


def test_a_server_outside_is_asked_by_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPSTREAM_KEY", "secret")
    heads = []

    class Refusal(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heads.append(self.headers.get("authorization"))
            self.send_error(401)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Refusal) as server:
        threading.Thread(target=server.handle_request).start()
        with (
            closing(SseClient(("127.0.0.1", server.server_port), "sse", model="tiny")) as client,
            pytest.raises(AnswerFailed),
        ):
            list(ask(client, question()))
    assert heads == ["Bearer secret"]


def test_an_attempt_to_connect_is_left_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:  # nobody accepts them, so that a further one waits for its SYN to be answered
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        leave, failures = CancellationToken(), []

        def read() -> None:
            with closing(SseClient(full.getsockname(), "sse")) as client, pytest.raises(AnswerFailed) as caught:
                list(ask(client, question(timeout=60), leave))
            failures.append(caught.value)

        reader = threading.Thread(target=read)
        reader.start()
        time.sleep(0.2)  # for the likelier of two ways: that it waits by now; it has to be left in both
        leave.cancel()
        reader.join(5)
        assert failures
        for one in crowd:
            one.close()


def test_a_deadline_that_passes_is_an_outcome(way: LoadClient, servers: Any) -> None:
    with pytest.raises(AnswerFailed) as caught:
        list(ask(way, question("Count to 1000", most=2000, gap=0.05, timeout=0.4)))
    assert caught.value.outcome == "deadline_exceeded"
    until(lambda: generating(servers) == 0)


def test_what_the_server_refuses_has_the_same_outcome_by_every_way(way: LoadClient, servers: Any) -> None:
    with pytest.raises(AnswerFailed) as caught:
        list(ask(way, question(gap=11.0)))
    assert caught.value.outcome == "invalid_argument"
    streams = [ask(way, question("Count to 1000", most=2000, gap=0.1)) for _ in range(20)]
    for stream in streams:
        next(stream)
    with pytest.raises(AnswerFailed) as caught:
        list(ask(way, question()))
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
def test_nobody_there(make: Callable[[int], LoadClient], free_port: Callable[[], int]) -> None:
    with closing(make(free_port())) as client, pytest.raises(AnswerFailed) as caught:
        list(ask(client, question(timeout=0.5)))
    assert caught.value.outcome in {"unavailable", "deadline_exceeded"}  # a relay may yet come up


def test_a_scheme_that_does_not_exist_and_an_address_that_is_none(servers: Any) -> None:
    with pytest.raises(ConfigurationError, match="'pigeon' is not a scheme"):
        connect("pigeon", job(servers))
    servers = SimpleNamespace(**vars(servers) | {"http": "nowhere"})
    with pytest.raises(ConfigurationError, match="'nowhere' is not an address"):
        connect("sse", job(servers))


def test_an_answer_without_a_token_has_not_come(way: LoadClient) -> None:
    with pytest.raises(AnswerFailed, match="without a token") as caught:
        list(ask(way, question("Count to 0")))
    assert caught.value.outcome == "data_loss"


def test_a_token_out_of_order_is_data_loss() -> None:
    tokens = (AnswerToken(index, "x", 0.0) for index in (0, 1, 3))
    with pytest.raises(AnswerFailed) as caught:
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
    with pytest.raises(AnswerFailed, match="no end after 0 s"):
        Deadline(0.0).left()
