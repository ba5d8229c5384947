"""Our end of HTTP/2 against h2's own, without a socket: whatever pieces the bytes come in, and whatever the windows are."""

import asyncio
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from h2.settings import SettingCodes
from hypothesis import given, settings
from hypothesis import strategies as st

from eloquent.calls.names import GENERATE
from eloquent.rpc.http2 import STREAM_WINDOW
from eloquent.rpc.server import Call, Server, ServerConnection

HEADERS = [(":method", "POST"), (":scheme", "http"), (":path", GENERATE), (":authority", "x")]
HEADERS += [("content-type", "application/grpc"), ("te", "trailers")]


def prefixed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


class Wire:
    """What a connection writes to, and the client at its other end.

    Attributes:
        events: What the client has seen.
        content: What it has got of each stream.
        writes: How often something was written to it.
    """

    def __init__(self, server: Server) -> None:
        self.client = H2Connection(H2Configuration(client_side=True))
        self.events: list[Any] = []
        self.content: dict[int, bytes] = {}
        self.is_closed = False
        self.writes = 0
        self.piece = 1 << 20  # bytes in which what the client sends arrives
        self.acknowledges = True
        self.connection = ServerConnection(server)
        self.client.initiate_connection()
        self.connection.connection_made(self)
        self.connection._write_all()
        self.push()

    def get_extra_info(self, name: str) -> Any:
        return ("10.0.0.1", 5) if name == "peername" else self

    def setsockopt(self, *_: int) -> None:
        """Do as a socket does."""

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def write(self, data: bytes) -> None:
        self.writes += 1
        for event in self.client.receive_data(data):
            self.events.append(event)
            if isinstance(event, DataReceived):
                self.content[event.stream_id] = self.content.get(event.stream_id, b"") + event.data
                if self.acknowledges:
                    self.client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)

    def push(self) -> None:
        """Let what the client has to say arrive."""
        while data := self.client.data_to_send():
            for at in range(0, len(data), self.piece):
                self.connection.data_received(data[at : at + self.piece])
            self.connection._write_all()

    def ask(self, body: bytes, *, headers: Any = HEADERS, is_last: bool = True) -> int:
        number = self.client.get_next_available_stream_id()
        self.client.send_headers(number, headers)
        for at in range(0, len(body), 16_384):
            self.client.send_data(number, body[at : at + 16_384])
        if is_last:
            self.client.end_stream(number)
        self.push()
        return number

    def saw(self, kind: type[Any], number: int) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind) and event.stream_id == number]

    def status(self, number: int) -> tuple[str, str]:
        (last,) = self.saw(TrailersReceived, number) or self.saw(ResponseReceived, number)
        found = {name.decode(): value.decode() for name, value in last.headers}
        return found["grpc-status"], found.get("grpc-message", "")


async def echo(call: Call) -> None:
    while (request := await call.read()) is not None:
        await call.write(request)


async def settle() -> None:
    """Let handlers run until they wait."""
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.mark.parametrize("piece", [1, 2, 7, 9, 10, 1 << 20])
def test_messages_pass_whatever_pieces_they_come_in(run_virtually: Any, piece: int) -> None:
    async def main() -> None:
        wire = Wire(Server({GENERATE: echo}))
        wire.piece = piece
        messages = [b"one", b"", b"\xff" * 300]
        number = wire.ask(b"".join(map(prefixed, messages)))
        await settle()
        assert wire.content[number] == b"".join(map(prefixed, messages))
        assert wire.status(number) == ("0", "")
        assert wire.saw(StreamEnded, number)
        assert not wire.connection.streams

    run_virtually(main())


def test_what_several_calls_say_in_one_turn_of_the_loop_is_one_write(run_virtually: Any) -> None:
    async def main() -> None:
        told = asyncio.Event()
        calls: list[Call] = []

        async def tell(call: Call) -> None:
            calls.append(call)
            await told.wait()

        wire = Wire(Server({GENERATE: tell}))
        numbers = [wire.ask(prefixed(b"%d" % number), is_last=False) for number in range(5)]
        await settle()
        assert len(calls) == len(numbers)
        before = wire.writes
        for call in calls:
            call.put(b"one")
            call.put(b"two")
        await settle()
        assert wire.writes == before + 1
        assert [wire.content[number] for number in numbers] == [prefixed(b"one") + prefixed(b"two")] * 5
        told.set()

    run_virtually(main())


def test_a_message_longer_than_frames_and_windows_comes_whole_both_ways(run_virtually: Any) -> None:
    async def main() -> None:
        wire = Wire(Server({GENERATE: echo}))
        message = bytes(range(256)) * 1024
        number = wire.client.get_next_available_stream_id()
        wire.client.send_headers(number, HEADERS)
        rest = prefixed(message)
        while rest:
            room = min(wire.client.local_flow_control_window(number), wire.client.max_outbound_frame_size)
            assert room, "what is taken is granted again"
            wire.client.send_data(number, rest[:room], end_stream=len(rest) <= room)
            rest = rest[room:]
            wire.push()
        for _ in range(20):
            await settle()
            wire.push()
        assert wire.content[number] == prefixed(message)
        assert wire.status(number)[0] == "0"

    run_virtually(main())


@pytest.mark.parametrize("window", [1, 10, 100])
def test_nothing_is_sent_beyond_a_window_and_nothing_lost(run_virtually: Any, window: int) -> None:
    async def main() -> None:
        wire = Wire(Server({GENERATE: echo}))
        wire.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
        wire.push()
        wire.acknowledges = False
        messages = [b"%d" % number for number in range(30)]
        number = wire.ask(b"".join(map(prefixed, messages)))
        await settle()
        assert len(wire.content[number]) == min(window, len(b"".join(map(prefixed, messages))))
        wire.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window + 20})
        wire.push()
        await settle()
        while not wire.saw(StreamEnded, number):
            wire.client.increment_flow_control_window(17, number)
            wire.push()
            await settle()
        assert wire.content[number] == b"".join(map(prefixed, messages))

    run_virtually(main())


def test_the_window_of_a_connection_bounds_all_its_streams(run_virtually: Any) -> None:
    async def main() -> None:
        wire = Wire(Server({GENERATE: echo}))
        wire.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20})
        wire.push()
        wire.acknowledges = False
        numbers = [wire.ask(prefixed(bytes(20_000))) for _ in range(5)]
        await settle()
        assert sum(map(len, wire.content.values())) == 65_535
        wire.client.increment_flow_control_window(1 << 20)
        wire.push()
        await settle()
        assert [wire.content[number] for number in numbers] == [prefixed(bytes(20_000))] * 5

    run_virtually(main())


def test_who_reads_nothing_is_granted_nothing(run_virtually: Any) -> None:
    async def wait(call: Call) -> None:
        await call.room()
        await asyncio.Event().wait()

    async def main() -> None:
        wire = Wire(Server({GENERATE: wait}))
        number = wire.ask(b"".join(prefixed(bytes(995)) for _ in range(60)), is_last=False)
        await settle()
        assert wire.client.local_flow_control_window(number) == STREAM_WINDOW - 60_000
        wire.client.reset_stream(number)
        wire.push()
        assert not wire.connection.streams

    run_virtually(main())


@pytest.mark.parametrize(
    ("body", "code"), [(b"\1\0\0\0\1x", "12"), (b"\0\xff\0\0\0", "8")], ids=["compressed", "too long"]
)
def test_a_message_that_is_not_taken_ends_its_call_alone(run_virtually: Any, body: bytes, code: str) -> None:
    async def main() -> None:
        wire = Wire(Server({GENERATE: echo}))
        number = wire.ask(body, is_last=False)
        await settle()
        assert wire.status(number)[0] == code
        assert not wire.is_closed
        other = wire.ask(prefixed(b"x"))
        await settle()
        assert wire.content[other] == prefixed(b"x")

    run_virtually(main())


def test_methods_that_nobody_offers_and_what_is_no_grpc_are_refused(run_virtually: Any) -> None:
    async def main() -> None:
        wire = Wire(Server({GENERATE: echo}))
        headers = [(name, "/other" if name == ":path" else value) for name, value in HEADERS]
        assert wire.status(wire.ask(b"", headers=headers))[0] == "12"
        number = wire.ask(b"", headers=[one for one in HEADERS if one[0] != "content-type"])
        (answer,) = wire.saw(ResponseReceived, number)
        assert dict(answer.headers)[b":status"] == b"415"

    run_virtually(main())


def test_a_handler_that_fails_is_a_status_and_one_that_is_left_is_cancelled(run_virtually: Any) -> None:
    left: list[int] = []

    async def fail(call: Call) -> None:
        if await call.read() == b"fail":
            raise ZeroDivisionError("by zero, 100 %: ü")
        try:
            await call.read()
        finally:
            left.append(call.id)

    async def main() -> None:
        wire = Wire(Server({GENERATE: fail}))
        failed = wire.ask(prefixed(b"fail"))
        waiting = wire.ask(prefixed(b"wait"), is_last=False)
        await settle()
        assert wire.status(failed) == ("2", "ZeroDivisionError: by zero, 100 %25: %C3%BC")
        wire.client.reset_stream(waiting, ErrorCodes.CANCEL)
        wire.push()
        await settle()
        assert left == [waiting]
        lost = wire.ask(prefixed(b"wait"), is_last=False)
        await settle()
        wire.connection.connection_lost(None)
        await settle()
        assert left == [waiting, lost]

    run_virtually(main())


@pytest.mark.parametrize(
    "frame",
    [
        b"\1\0\0\0\0\0\0\0\1",  # longer than a frame may be
        b"\0\0\0\0\0\0\0\0\7",  # DATA on a stream that nobody has opened
        b"\0\0\1\0\x08\0\0\0\1\5",  # more padding than frame
        b"\0\0\4\x08\0\0\0\0\0\0\0\0\0",  # a window that grows by nothing
        b"\0\0\3\x08\0\0\0\0\0\0\0\0",
        b"\0\0\4\7\0\0\0\0\0\0\0\0\0",  # a GOAWAY that is too short
        b"\0\0\1\1\4\0\0\0\1\xff",  # a header block that is none
    ],
)
def test_who_breaks_the_protocol_loses_the_connection(run_virtually: Any, frame: bytes) -> None:
    async def main() -> None:
        wire = Wire(Server({GENERATE: echo}))
        wire.connection.data_received(frame)
        assert wire.is_closed
        assert any(isinstance(event, ConnectionTerminated) for event in wire.events)

    run_virtually(main())


def test_padding_is_no_message_and_counts_for_the_window(run_virtually: Any) -> None:
    async def main() -> None:
        wire = Wire(Server({GENERATE: echo}))
        number = wire.client.get_next_available_stream_id()
        wire.client.send_headers(number, HEADERS)
        for _ in range(300):
            wire.client.send_data(number, prefixed(b"x"), pad_length=200)
            wire.push()
            await settle()
        wire.client.end_stream(number)
        wire.push()
        await settle()
        assert wire.content[number] == 300 * prefixed(b"x")
        assert not wire.saw(StreamReset, number)

    run_virtually(main())


@given(st.data())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_whatever_comes_is_taken_or_ends_the_connection_and_nothing_escapes(data: st.DataObject) -> None:
    """What a client says, with some bytes changed, left out, or put in."""
    talk = H2Connection(H2Configuration(client_side=True))
    talk.initiate_connection()
    for number in (1, 3):
        talk.send_headers(number, HEADERS)
        talk.send_data(number, prefixed(b"request"), pad_length=data.draw(st.sampled_from([None, 3])))
    talk.end_stream(1)
    talk.increment_flow_control_window(100)
    talk.reset_stream(3)
    said = bytearray(talk.data_to_send())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(24, len(said) - 1))
        said[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=12))

    async def main() -> None:
        wire = Wire(Server({GENERATE: echo}))
        wire.connection = ServerConnection(Server({GENERATE: echo}))
        wire.client = H2Connection(H2Configuration(client_side=True))
        wire.client.initiate_connection()
        wire.client.send_headers(1, HEADERS)
        wire.client.send_headers(3, HEADERS)
        wire.connection.connection_made(wire)
        wire.connection.data_received(bytes(said))
        await settle()
        wire.connection.connection_lost(None)
        await settle()
        assert not wire.connection.streams

    asyncio.run(main())
