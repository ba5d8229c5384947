"""gRPC's calls on a connection of HTTP/2, against h2's own server in memory."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived, StreamReset, WindowUpdated
from hyperframe.frame import DataFrame

from eloquent.asking import http2
from eloquent.asking.http2 import GrpcCall, GrpcConnection
from eloquent.calls.answer import AnswerFailed

HEADERS = [(":method", "POST"), (":scheme", "http"), (":path", "/x/Y"), (":authority", "z"), ("te", "trailers")]
OK = [(":status", "200"), ("content-type", "application/grpc")]
Test = Callable[["Server"], Coroutine[Any, Any, Any]]


class Server:
    """A server, and the transport of the connection that asks it."""

    def __init__(self) -> None:
        self.http = H2Connection(H2Configuration(client_side=False))
        self.client = GrpcConnection()
        self.events: list[Any] = []
        self.is_closed = False
        self.http.initiate_connection()
        self.client.connection_made(self)  # type: ignore[arg-type]  # what it needs of one
        self.send()

    def write(self, data: bytes) -> None:
        self.events += self.http.receive_data(data)

    def close(self) -> None:
        self.is_closed = True

    abort = close

    def send(self, *, piece: int = 1 << 20) -> None:
        """Let the client have what the server has to say, in pieces."""
        data = self.http.data_to_send()
        for begin in range(0, len(data), piece):
            self.client.data_received(data[begin : begin + piece])

    def call(self) -> GrpcCall:
        call = self.client.call(HEADERS, b"question")
        self.http.send_headers(call.stream, OK)
        return call

    def answer(self, call: GrpcCall, *messages: bytes) -> None:
        for message in messages:
            self.http.send_data(call.stream, b"\0" + len(message).to_bytes(4) + message)

    def end(self, call: GrpcCall, status: int = 0, message: str = "") -> None:
        trailers = [("grpc-status", str(status)), ("grpc-message", message)]
        self.http.send_headers(call.stream, trailers, end_stream=True)


def with_server(test: Test) -> Any:
    async def run() -> Any:
        return await test(Server())

    return asyncio.run(run())


async def failure_of(call: GrpcCall) -> AnswerFailed:
    with pytest.raises(AnswerFailed) as caught:
        await call.messages()
    return caught.value


@pytest.mark.parametrize("piece", [1, 2, 7, 1 << 20])
def test_messages_come_in_order_however_the_bytes_are_cut(piece: int) -> None:
    async def test(server: Server) -> list[bytes]:
        calls = [server.call(), server.call()]
        for index in range(3):
            for call in calls:
                server.answer(call, b"%d" % index, b"")
        for call in calls:
            server.end(call)
        server.send(piece=piece)
        return [message for call in calls for message in [*await call.messages(), *await call.messages()]]

    assert with_server(test) == [b"0", b"", b"1", b"", b"2", b""] * 2


def test_messages_are_cut_out_of_whatever_frames_bring_them() -> None:
    async def test(server: Server) -> tuple[Any, ...]:
        call = server.call()
        body = b"".join(b"\0" + len(one).to_bytes(4) + one for one in (b"a" * 300, b"b", b"c"))
        for begin in range(0, len(body), 100):
            server.http.send_data(call.stream, body[begin : begin + 100], pad_length=3 if begin == 100 else None)
        server.end(call)
        server.send()
        return await call.messages(), await call.messages()

    assert with_server(test) == ((b"a" * 300, b"b", b"c"), ())


def test_a_reader_waits_for_what_comes() -> None:
    async def test(server: Server) -> Any:
        call = server.call()
        reading = asyncio.create_task(call.messages())  # type: ignore[arg-type]
        await asyncio.sleep(0)
        assert not reading.done()
        server.answer(call, b"x")
        server.send()
        return await reading

    assert with_server(test) == (b"x",)


def test_a_status_is_an_outcome_once_all_messages_are_taken() -> None:
    async def test(server: Server) -> tuple[Any, str, str]:
        call = server.call()
        server.answer(call, b"x")
        server.end(call, 8, "too much%21")
        server.send()
        taken = await call.messages()
        failure = await failure_of(call)
        return taken, failure.outcome, str(failure)

    assert with_server(test) == ((b"x",), "resource_exhausted", "too much!")


@pytest.mark.parametrize(
    ("act", "outcome"),
    [
        (lambda server, call: server.http.reset_stream(call.stream), "unavailable"),
        (lambda server, call: server.http.end_stream(call.stream), "unavailable"),
        (lambda server, call: server.end(call, 99), "unknown"),
        (lambda server, call: server.client.connection_lost(None), "unavailable"),
        (lambda server, call: server.client.close(), "unavailable"),
        (lambda server, call: server.http.send_data(call.stream, b"\1\0\0\0\1x"), "unimplemented"),
        (lambda server, call: (server.http.send_data(call.stream, b"\0\0\0\0\2x"), server.end(call)), "data_loss"),
    ],
    ids=["reset", "no status", "no such status", "lost", "closed", "compressed", "cut off"],
)
def test_what_is_no_whole_answer_is_an_outcome(act: Callable[[Server, GrpcCall], object], outcome: str) -> None:
    async def test(server: Server) -> str:
        call = server.call()
        act(server, call)
        server.send()
        return (await failure_of(call)).outcome

    assert with_server(test) == outcome


def test_a_call_that_is_left_is_cancelled_and_one_that_has_ended_is_not() -> None:
    async def test(server: Server) -> list[int]:
        left, ended = server.call(), server.call()
        server.answer(left, b"x")
        server.end(ended)
        server.send()
        server.client.leave(left)
        server.client.leave(ended)
        server.client.data_received(DataFrame(left.stream, b"\0\0\0\0\1y").serialize())  # was under way
        return [event.stream_id for event in server.events if isinstance(event, StreamReset)]

    assert with_server(test) == [1]


def test_a_server_that_goes_away_gets_no_new_calls() -> None:
    async def test(server: Server) -> tuple[str, bool, bool]:
        call = server.call()
        server.send()
        assert server.client.is_open
        server.http.close_connection(last_stream_id=call.stream)
        server.send()
        return (await failure_of(call)).outcome, server.client.is_open, server.is_closed

    assert with_server(test) == ("unavailable", False, True)


def test_windows_are_as_large_as_can_be_and_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "_REOPEN_AFTER", 1000)

    async def test(server: Server) -> tuple[int, list[int]]:
        call = server.call()
        window = server.http.local_flow_control_window(call.stream)
        server.events.clear()
        for _ in range(9):
            server.answer(call, b"x" * 250)
            server.send()
        return window, [event.delta for event in server.events if isinstance(event, WindowUpdated)]

    assert with_server(test) == (2**31 - 1, [1020, 1020])


def test_a_server_that_breaks_the_protocol_is_left() -> None:
    async def test(server: Server) -> tuple[str, bool]:
        call = server.call()
        server.send()
        server.client.data_received(b"\0\0\1\x06\0\0\0\0\0x")  # a PING of one byte
        return (await failure_of(call)).outcome, server.is_closed

    assert with_server(test) == ("unavailable", True)


def test_a_question_longer_than_a_frame_is_sent_whole() -> None:
    async def test(server: Server) -> bool:
        server.client.call(HEADERS, b"x" * 20_000)
        asked = [event for event in server.events if isinstance(event, RequestReceived)]
        sent = b"".join(getattr(event, "data", b"") or b"" for event in server.events)
        with pytest.raises(AnswerFailed, match="the call cannot be made"):
            server.client.call(HEADERS, b"x" * 70_000)
        assert [event.stream_id for event in server.events if isinstance(event, StreamReset)] == [3]
        return len(asked) == 1 and sent == b"\0" + (20_000).to_bytes(4) + b"x" * 20_000

    assert with_server(test)
