"""The ends between which tokens are carried while that is measured: `python -m bench.ends ROLE …`, started by `bench/relays.py`.

Rules of this file
- Whoever makes tokens does so by one `Pacer`: each stream at the same rate, the streams evenly spread over the gap between two
  tokens. Nothing comes together that would not at a real server, and making a token costs the same everywhere.
- All carry the same bytes.
- What reads says when all streams have begun and it has settled, and some seconds later, each time with how many tokens came.
"""

import asyncio
import datetime as dt
import heapq
import math
import ssl
import sys
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
import uvloop
from aioquic.asyncio import connect as quic_connect
from aioquic.asyncio import serve as quic_serve
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, DatagramFrameReceived, QuicEvent

from eloquent import schemes
from eloquent.drivers.udp import UdpClient, UdpServer
from eloquent.protocol.limits import EndpointLimits
from eloquent.protocol.session import ServerSession, StreamCancelled, StreamRequested, StreamToken
from eloquent.relay.quic.certificate import derive_identity, make_certificate
from eloquent.relay.sealed import udp as sealed
from eloquent.relay.settings import SEND_GRID

GENERATE = "/eloquent.api.v1.TokenService/Generate"
SCHEME_KEY = "x-eloquent-scheme"
MESSAGE = (
    b'data: {"id":"chatcmpl-7","object":"chat.completion.chunk","created":1700000000,"model":"some-model",'
    b'"system_fingerprint":"fp_4","choices":[{"index":0,"delta":{"content":" word%d"},"logprobs":null,'
    b'"finish_reason":null}],"usage":null}\n\n'
)
MARK = b'"content"'  # once in each
TOKEN = b"\x08\x07\x12\x07 word%d"  # a message of the lab's own, index and text
KEY = bytes(range(32))
SETTLING = 1.5  # seconds after the first token of the last stream
PATIENCE = 60.0  # seconds in which all streams have to begin
GOLDEN = (math.sqrt(5) - 1) / 2  # multiples of it are spread evenly over 0..1, however many they are
TICKS = 1000  # of uvloop's clock in a second
_HTTP_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Pacer:
    """Gives a token to each of many streams, again and again.

    Args:
        rate: Tokens a second of each.
        message: The token, with a place for its number.
    """

    def __init__(self, rate: float, message: bytes) -> None:
        self._loop = asyncio.get_running_loop()
        self._gap = 1 / rate
        self._message = message
        self._heap: list[tuple[float, int]] = []
        self._streams: dict[int, Callable[[bytes], object]] = {}
        self._next = 0
        self._made = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, give: Callable[[bytes], object]) -> int:
        """Begin with a stream and return its number.

        Args:
            give: Takes a token.
        """
        number, self._next = self._next, self._next + 1
        self._streams[number] = give
        heapq.heappush(self._heap, (self._loop.time() + self._gap * (number * GOLDEN % 1), number))
        self._arm()
        return number

    def remove(self, number: int) -> None:
        """Give a stream nothing more."""
        self._streams.pop(number, None)

    def _arm(self) -> None:
        if self._timer is None and self._heap:
            self._timer = self._loop.call_at(math.ceil(self._heap[0][0] * TICKS) / TICKS, self._give)

    def _give(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._heap and self._heap[0][0] <= now:
            due, number = self._heap[0]
            if (give := self._streams.get(number)) is None:
                heapq.heappop(self._heap)
                continue
            heapq.heapreplace(self._heap, (due + self._gap, number))
            give(self._message % (self._made % 10))
            self._made += 1
        self._arm()


# --- where tokens are made


async def make_by_http(pacer: Pacer) -> None:
    """Answer each connection's request with an event stream without an end."""

    class Answer(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self._transport, self._number = transport, -1

        def data_received(self, data: bytes) -> None:
            if self._number < 0 and b"\r\n\r\n" in data:
                self._transport.write(_HTTP_HEAD)
                self._number = pacer.add(lambda token: self._transport.write(b"%x\r\n%b\r\n" % (len(token), token)))

        def connection_lost(self, _: Exception | None) -> None:
            pacer.remove(self._number)

    server = await asyncio.get_running_loop().create_server(Answer, "127.0.0.1", 0)
    await _serve(server.sockets[0].getsockname()[1])


async def make_by_grpc(pacer: Pacer) -> None:
    """Answer each call of `Generate` without an end."""

    async def generate(_: bytes, context: Any) -> None:
        tokens: asyncio.Queue[bytes] = asyncio.Queue()
        number = pacer.add(tokens.put_nowait)
        try:
            while True:
                await context.write(await tokens.get())
        finally:
            pacer.remove(number)

    service, _, name = GENERATE[1:].rpartition("/")
    server = grpc.aio.server()
    method = grpc.unary_stream_rpc_method_handler(generate)  # type: ignore[arg-type]  # grpc's types know handlers of blocking servers only
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {name: method})])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await _serve(port)


async def make_by_datagrams(pacer: Pacer, *, is_sealed: bool) -> None:
    """Answer each stream of sessions, by the endpoint alone."""
    streams: dict[tuple[ServerSession, int], int] = {}

    def on_event(session: ServerSession, event: Any) -> None:
        match event:
            case StreamRequested(stream_id):
                streams[session, stream_id] = pacer.add(lambda token: server.send_token(session, stream_id, token))
            case StreamCancelled(stream_id):
                pacer.remove(streams.pop((session, stream_id)))

    here = ("127.0.0.1", 0)
    if is_sealed:  # as `eloquent origin` does
        limits = EndpointLimits(grid=SEND_GRID)
        server = await sealed.bind(here, schemes.get, on_event, key=KEY, limits=limits)
    else:  # as an origin relay of a lab does
        server = await UdpServer.bind(here, schemes.get, on_event)
    await _serve(server.address[1])


async def make_by_quic(pacer: Pacer) -> None:
    """Send each token as a datagram of one QUIC connection, once asked how many streams there are."""
    certificate = make_certificate(derive_identity(KEY), now=dt.datetime.now(dt.UTC))

    class Answers(QuicConnectionProtocol):
        def quic_event_received(self, event: QuicEvent) -> None:
            if isinstance(event, DatagramFrameReceived) and event.data.startswith(b"begin"):
                self._numbers = [pacer.add(self._give) for _ in range(int(event.data[5:]))]
            elif isinstance(event, ConnectionTerminated):
                for number in self._numbers:
                    pacer.remove(number)

        def _give(self, token: bytes) -> None:
            self._quic.send_datagram_frame(token)
            self.transmit()

    configuration = QuicConfiguration(is_client=False, alpn_protocols=["bench"], max_datagram_frame_size=65536)
    configuration.certificate, configuration.private_key = certificate.certificate, certificate.private_key
    server = await quic_serve("127.0.0.1", 0, configuration=configuration, create_protocol=Answers)
    await _serve(server._transport.get_extra_info("sockname")[1])


async def echo() -> None:
    """Send every datagram back."""

    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self._transport = transport

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            self._transport.sendto(data, addr)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    await _serve(transport.get_extra_info("sockname")[1])


async def _serve(port: int) -> None:
    print(port, flush=True)
    await asyncio.Event().wait()


# --- where they are read


class Meter:
    """Counts tokens, and says how many came.

    Args:
        streams: How many there are.
        seconds: For how long they are counted.
    """

    def __init__(self, streams: int, seconds: float) -> None:
        self.tokens = 0
        self._streams = streams
        self._seconds = seconds
        self._begun = 0
        self._all_begun = asyncio.Event()

    def begun(self) -> None:
        """Note that a stream has brought its first token."""
        self._begun += 1
        if self._begun == self._streams:
            self._all_begun.set()

    async def tell(self) -> None:
        """Say how many have come at the beginning and at the end of the time that counts."""
        print("reading", flush=True)
        await asyncio.wait_for(self._all_begun.wait(), PATIENCE)
        await asyncio.sleep(SETTLING)
        print(self.tokens, flush=True)
        await asyncio.sleep(self._seconds)
        print(self.tokens, flush=True)


async def read_by_http(meter: Meter, streams: int, port: int) -> None:
    """Read event streams, a connection each."""

    class Reader(asyncio.Protocol):
        def __init__(self) -> None:
            self._is_begun = False

        def connection_made(self, transport: Any) -> None:
            transport.write(b"GET /v1/stream HTTP/1.1\r\nhost: bench\r\n\r\n")

        def data_received(self, data: bytes) -> None:
            tokens = data.count(MARK)
            meter.tokens += tokens
            if tokens and not self._is_begun:
                self._is_begun = True
                meter.begun()

    for number in range(streams):
        await asyncio.sleep(0.001 * (number > 0))
        await asyncio.get_running_loop().create_connection(Reader, "127.0.0.1", port)
    await meter.tell()


async def read_by_grpc(meter: Meter, streams: int, port: int, scheme: str) -> None:
    """Read calls of `Generate`, all on one channel."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_stream(GENERATE)

        async def read(after: float) -> None:
            await asyncio.sleep(after)
            answer = aiter(call(b"", metadata=((SCHEME_KEY, scheme),)))
            await anext(answer)
            meter.begun()
            async for _ in answer:
                meter.tokens += 1

        async with asyncio.TaskGroup() as group:
            reading = [group.create_task(read(0.001 * number)) for number in range(streams)]
            await meter.tell()
            for task in reading:
                task.cancel()


async def read_by_datagrams(meter: Meter, streams: int, port: int, scheme: str, *, is_sealed: bool) -> None:
    """Read streams of one session, by the endpoint alone."""
    begun: set[int] = set()

    def on_event(event: Any) -> None:
        if isinstance(event, StreamToken):
            meter.tokens += 1
            if event.stream_id not in begun:
                begun.add(event.stream_id)
                meter.begun()

    there = ("127.0.0.1", port)
    if is_sealed:
        client = await sealed.connect(there, schemes.get, on_event, key=KEY)
    else:
        client = await UdpClient.connect(there, schemes.get, on_event)
    for number in range(streams):
        await asyncio.sleep(0.001 * (number > 0))
        client.open_stream(b"", scheme=scheme)
    await meter.tell()
    client.close()


async def read_by_quic(meter: Meter, streams: int, port: int) -> None:
    """Read the datagrams of one QUIC connection."""

    class Reader(QuicConnectionProtocol):
        def quic_event_received(self, event: QuicEvent) -> None:
            meter.tokens += isinstance(event, DatagramFrameReceived)

        def begin(self) -> None:
            self._quic.send_datagram_frame(b"begin%d" % streams)
            self.transmit()

    configuration = QuicConfiguration(is_client=True, alpn_protocols=["bench"], max_datagram_frame_size=65536)
    configuration.verify_mode, configuration.server_name = ssl.CERT_NONE, "eloquent"
    async with quic_connect("127.0.0.1", port, configuration=configuration, create_protocol=Reader) as client:
        client.begin()
        for _ in range(streams):
            meter.begun()
        await meter.tell()


async def read_echoes(meter: Meter, streams: int, port: int, pacer: Pacer) -> None:
    """Send datagrams to who sends them back."""

    class Reader(asyncio.DatagramProtocol):
        def datagram_received(self, *_: object) -> None:
            meter.tokens += 1

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Reader, remote_addr=("127.0.0.1", port))
    for _ in range(streams):
        pacer.add(transport.sendto)
        meter.begun()
    await meter.tell()


async def play(role: str, words: list[str]) -> None:
    """Be one end.

    Args:
        role: Which.
        words: For those that make tokens: their rate, and `token` or `event`. For those that read: the number of streams, the
            seconds that count, the port, the scheme, and the words of who makes tokens.
    """
    if role.startswith("read-"):
        streams, port, scheme = int(words[0]), int(words[2]), words[3]
        meter = Meter(streams, float(words[1]))
        match role:
            case "read-http":
                await read_by_http(meter, streams, port)
            case "read-grpc":
                await read_by_grpc(meter, streams, port, scheme)
            case "read-plain" | "read-sealed":
                await read_by_datagrams(meter, streams, port, scheme, is_sealed=role == "read-sealed")
            case "read-quic":
                await read_by_quic(meter, streams, port)
            case "read-echo":
                await read_echoes(meter, streams, port, _pacer(words[4:]))
        return
    match role:
        case "http":
            await make_by_http(_pacer(words))
        case "grpc":
            await make_by_grpc(_pacer(words))
        case "plain" | "sealed":
            await make_by_datagrams(_pacer(words), is_sealed=role == "sealed")
        case "quic":
            await make_by_quic(_pacer(words))
        case "echo":
            await echo()


def _pacer(words: list[str]) -> Pacer:
    return Pacer(float(words[0]), TOKEN if words[1] == "token" else MESSAGE)


if __name__ == "__main__":
    uvloop.run(play(sys.argv[1], sys.argv[2:]))
