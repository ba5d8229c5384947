"""Calls of a client, against h2's own server in memory."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

import grpc
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import StreamEnded, StreamReset
from hyperframe.frame import DataFrame, GoAwayFrame

from eloquent.rpc.channel import CallChannel, CallFailed, _ClientConnection

OK = [(":status", "200"), ("content-type", "application/grpc")]
Code = grpc.StatusCode
Test = Callable[["Wire"], Coroutine[Any, Any, Any]]


class Wire:
    """A server, what a connection to it writes to, and the channel that has the connection.

    Attributes:
        events: What the server has seen.
    """

    def __init__(self) -> None:
        self.server = H2Connection(H2Configuration(client_side=False))
        self.connection = _ClientConnection()
        self.channel = CallChannel("127.0.0.1:9", max_message=1000)
        self.events: list[Any] = []
        self.is_closed = False
        self.server.initiate_connection()
        self.connection.connection_made(self)  # type: ignore[arg-type]  # what it needs of a transport
        self.connection._write_all()
        self.send()
        self.channel._connections.append(self.connection)

    def get_extra_info(self, _: str) -> Any:
        return self

    def setsockopt(self, *_: int) -> None:
        """Do as a socket does."""

    def write(self, data: bytes) -> None:
        self.events += self.server.receive_data(data)

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def send(self, *, piece: int = 1 << 20) -> None:
        """Let the client have what the server has to say, in pieces."""
        data = self.server.data_to_send()
        for begin in range(0, len(data), piece):
            self.connection.data_received(data[begin : begin + piece])
        self.connection._write_all()

    async def call(self) -> "Reading":
        """Make a call, to which the server has begun to answer; give its number and what comes."""
        reading = Reading(self.channel.answers("/x/Y", b"question"))
        for _ in range(3):
            await asyncio.sleep(0)
        reading.number = max(event.stream_id for event in self.events if isinstance(event, StreamEnded))
        self.server.send_headers(reading.number, OK)
        return reading

    def answer(self, number: int, *messages: bytes) -> None:
        for message in messages:
            self.server.send_data(number, b"\0" + len(message).to_bytes(4) + message)

    def end(self, number: int, status: int = 0, message: str = "") -> None:
        trailers = [("grpc-status", str(status)), ("grpc-message", message)]
        self.server.send_headers(number, trailers, end_stream=True)


class Reading:
    """Reads the answers of a call, those that have come at once together."""

    number: int

    def __init__(self, answers: AsyncGenerator[list[bytes], None]) -> None:
        self.came: list[list[bytes]] = []
        self._task = asyncio.create_task(self._read(answers))

    async def _read(self, answers: AsyncGenerator[list[bytes], None]) -> None:
        async for messages in answers:
            self.came.append(messages)

    async def end(self) -> Code:
        """Wait for the end; give the status."""
        try:
            async with asyncio.timeout(10):
                await self._task
        except CallFailed as failure:
            return failure.code
        return Code.OK

    async def leave(self) -> None:
        """Read no more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.sleep(0)


def with_server(test: Test) -> Any:
    async def run() -> Any:
        return await test(Wire())

    return asyncio.run(run())


@pytest.mark.parametrize("piece", [1, 2, 7, 1 << 20])
def test_messages_come_in_order_however_the_bytes_are_cut(piece: int) -> None:
    async def test(wire: Wire) -> None:
        calls = [await wire.call(), await wire.call()]
        for index in range(3):
            for call in calls:
                wire.answer(call.number, b"%d" % index, b"")
        for call in calls:
            wire.end(call.number)
        wire.send(piece=piece)
        for call in calls:
            assert await call.end() is Code.OK
            assert [one for together in call.came for one in together] == [b"0", b"", b"1", b"", b"2", b""]

    with_server(test)


def test_what_has_come_at_once_is_read_together_whatever_frames_bring_it() -> None:
    async def test(wire: Wire) -> None:
        call = await wire.call()
        messages = [b"a" * 300, b"b", b"c"]
        body = b"".join(b"\0" + len(one).to_bytes(4) + one for one in messages)
        for begin in range(0, len(body), 100):
            wire.server.send_data(call.number, body[begin : begin + 100], pad_length=3 if begin == 100 else None)
        wire.send()
        await asyncio.sleep(0)
        wire.end(call.number)
        wire.send()
        assert await call.end() is Code.OK
        assert call.came == [messages]

    with_server(test)


def test_a_status_is_told_once_all_messages_are_taken() -> None:
    async def test(wire: Wire) -> None:
        call = await wire.call()
        wire.answer(call.number, b"x")
        wire.end(call.number, 8, "too much%21")
        wire.send()
        assert await call.end() is Code.RESOURCE_EXHAUSTED
        assert call.came == [[b"x"]]

    with_server(test)


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (lambda wire, number: wire.server.reset_stream(number), Code.UNAVAILABLE),
        (lambda wire, number: wire.server.end_stream(number), Code.UNKNOWN),
        (lambda wire, number: wire.end(number, 99), Code.UNKNOWN),
        (lambda wire, number: wire.connection.connection_lost(None), Code.UNAVAILABLE),
        (lambda wire, number: wire.connection.close(), Code.UNAVAILABLE),
        (lambda wire, number: wire.server.send_data(number, b"\1\0\0\0\1x"), Code.UNIMPLEMENTED),
        (lambda wire, number: wire.server.send_data(number, b"\0\0\0\xff\0x"), Code.RESOURCE_EXHAUSTED),
        (lambda wire, number: (wire.server.send_data(number, b"\0\0\0\0\2x"), wire.end(number)), Code.DATA_LOSS),
    ],
    ids=["reset", "no status", "no such status", "lost", "closed", "compressed", "too long", "cut off"],
)
def test_what_is_no_whole_answer_has_a_status(act: Callable[[Wire, int], object], code: Code) -> None:
    async def test(wire: Wire) -> Code:
        call = await wire.call()
        act(wire, call.number)
        wire.send()
        return await call.end()

    assert with_server(test) is code


def test_a_call_that_is_left_is_cancelled_and_one_that_has_ended_is_not() -> None:
    async def test(wire: Wire) -> None:
        left, ended = await wire.call(), await wire.call()
        wire.answer(left.number, b"x")
        wire.end(ended.number)
        wire.send()
        assert await ended.end() is Code.OK
        await left.leave()
        wire.connection.data_received(DataFrame(left.number, b"\0\0\0\0\1y").serialize())  # was under way
        resets = [event for event in wire.events if isinstance(event, StreamReset)]
        assert [(event.stream_id, event.error_code) for event in resets] == [(left.number, ErrorCodes.CANCEL)]

    with_server(test)


def test_a_server_that_goes_away_ends_the_calls_it_has_taken_and_gets_no_others() -> None:
    async def test(wire: Wire) -> None:
        taken, late = await wire.call(), await wire.call()
        wire.send()
        wire.connection.data_received(GoAwayFrame(0, last_stream_id=taken.number).serialize())
        assert await late.end() is Code.UNAVAILABLE
        wire.answer(taken.number, b"x")
        wire.end(taken.number)
        wire.send()
        assert await taken.end() is Code.OK
        assert wire.channel._usable() == []

    with_server(test)
