"""Connections of clients that say nothing, stop in the middle, or have said all they will; over real sockets, to a process."""

import json
import socket
import time

import pytest

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LATE = 60  # seconds; a connection that is still open then stays for ever


def request(prompt="Count to 5", *, gap=0.01, version="1.1", stream=True, delay=0.0):
    own = {"token_gap_s": gap, "first_token_delay_s": delay}
    messages = [{"role": "user", "content": prompt}]
    body = json.dumps({"model": "m", "stream": stream, "messages": messages, "eloquent": own})
    return f"POST /v1/chat/completions HTTP/{version}\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()


@pytest.fixture
def start_server(start_node, free_port):
    """Start a token server; gives a function that connects to it by HTTP, and the one that reads its metrics."""

    def start(*flags):
        http, metrics = free_port(), free_port()
        listeners = ("--listen", "127.0.0.1:0", "--http", f"127.0.0.1:{http}", "--metrics", f"127.0.0.1:{metrics}")
        start_node("token_server", *listeners, *flags)

        def connect():
            return socket.create_connection(("127.0.0.1", http), timeout=LATE)

        def generating():
            with socket.create_connection(("127.0.0.1", metrics), timeout=LATE) as page:
                page.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                lines = read_all(page).splitlines()
            return next(float(line.split()[1]) for line in lines if line.startswith(b"eloquent_active_generations "))

        return connect, generating

    return start


def read_all(connection):
    data = b""
    while piece := connection.recv(65536):
        data += piece
    return data


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_has_shut_down_its_sending_side_is_answered(start_server, version, stream):
    connect, _ = start_server()
    with connect() as connection:
        connection.sendall(request(version=version, stream=stream, gap=0.3, delay=0.5))
        connection.shutdown(socket.SHUT_WR)
        answer = read_all(connection)
    *interim, rest = answer.split(b"HTTP/1.1 200 OK\r\n")
    assert interim == [CONTINUE * interim[0].count(CONTINUE) if version == "1.1" else b""]
    assert (
        b"[DONE]" in rest if stream else json.loads(rest.partition(b"\r\n\r\n")[2])["usage"]["completion_tokens"] == 9
    )


def test_requests_in_a_row_are_answered_before_a_half_closed_connection_is_closed(start_server):
    connect, _ = start_server()
    with connect() as connection:
        connection.sendall(request() + request("Count to 2") + b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        answer = read_all(connection)
    assert answer.count(b"[DONE]") == 2
    assert answer.endswith(b'{"status":"ok"}')


def test_a_client_that_says_nothing_and_closes_its_side_is_left(start_server):
    connect, _ = start_server()
    for begun in (b"", request()[:20], request()[:-5]):
        with connect() as connection:
            connection.sendall(begun)
            connection.shutdown(socket.SHUT_WR)
            assert read_all(connection) == b""


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("half_first", [True, False])
def test_a_client_that_leaves_is_noticed_also_after_it_has_shut_down_its_side(start_server, stream, half_first):
    connect, generating = start_server()
    with connect() as connection:
        connection.sendall(request("Count to 900", stream=stream, delay=50, gap=5))
        if half_first:
            connection.shutdown(socket.SHUT_WR)
        end = time.monotonic() + LATE
        while generating() == 0:
            assert time.monotonic() < end
            time.sleep(0.05)
        time.sleep(0.2)
        assert generating() == 1
    end = time.monotonic() + 30  # less than the first token takes
    while generating() > 0:
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("begun", "answered"),
    [
        (b"", False),
        (b"\r\n", False),
        (b"GET /health HT", True),
        (request()[:60], True),
        (request()[:-5], True),
        (b"POST /health HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n123", None),
    ],
    ids=["silence", "blank", "line", "headers", "body", "body of nothing"],
)
def test_a_request_that_does_not_arrive_ends_its_connection(start_server, begun, answered):
    connect, _ = start_server("--request-time", 0.7)
    with connect() as connection:
        connection.sendall(begun)
        answer = read_all(connection)
    if answered is not None:
        assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n") == answered
    if answered:
        error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
        assert (error["code"], error["type"]) == ("deadline_exceeded", "invalid_request_error")
        assert error["message"] == "the request has not arrived within 0.7 s"


def test_what_is_no_request_is_refused_in_the_form_of_all_errors(start_server):
    connect, _ = start_server()
    with connect() as connection:
        connection.sendall(b"Hello, is anybody there?\r\n\r\n")
        answer = read_all(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert json.loads(body)["error"]["code"] == "invalid_argument"


def test_a_request_that_comes_byte_by_byte_has_no_more_time(start_server):
    connect, _ = start_server("--request-time", 0.7)
    with connect() as connection:
        sent = 0
        try:
            for byte in request() * 1000:
                connection.sendall(bytes([byte]))
                sent += 1
                time.sleep(0.05)
        except OSError:
            pass
        assert sent < len(request())


def test_the_time_of_a_request_is_not_that_of_its_answer_or_of_the_pause_before_the_next(start_server):
    connect, _ = start_server("--request-time", 0.7)
    with connect() as connection:
        for _ in range(2):
            connection.sendall(request(gap=0.4))
            answer = b""
            while not answer.endswith(b"[DONE]\n\n\r\n0\r\n\r\n"):
                piece = connection.recv(65536)
                assert piece
                answer += piece
            time.sleep(1.5)
        connection.sendall(b"GET ")
        assert b" 408 " in read_all(connection)
