"""What a TCP and the relays leave each other on one slow line: `.venv/bin/python bench/fairness.py --help`, as root.

Each row makes three network namespaces. The wire carrier joins two of them by one bottleneck. Across that go at the same time a
TCP of the kernel that sends all it can, and text through the relays' endpoints, sealed or over QUIC, on real sockets: one origin,
and a client for each session. For comparison the same text goes by the kernel's TCP, a connection for each session. What counts is
what arrives: the payload of TCP, the text's datagrams with their IPv4 and UDP headers, and how late the tokens are.
"""

import argparse
import asyncio
import contextlib
import datetime as dt
import itertools
import json
import random
import secrets
import socket
import struct
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvloop

from eloquent import schemes
from eloquent.content import book
from eloquent.drivers.udp import UdpClient
from eloquent.emulation.carriers.impairment import ImpairedLink
from eloquent.emulation.processes import run_command
from eloquent.protocol.session import StreamRequested, StreamToken
from eloquent.relay.quic import udp as quic_udp
from eloquent.relay.quic.certificate import PinnedKey, derive_bearer, derive_identity, make_certificate
from eloquent.relay.quic.client import QuicClient
from eloquent.relay.quic.edges import ALPN, Edges
from eloquent.relay.sealed import udp as sealed_udp
from eloquent.relay.sealed.client import SealedClient

SERVER, CLIENT = "10.9.0.2", "10.9.0.1"
TEXT_PORT, BULK_PORT, QUIC_PORT = 4433, 4434, 4435
KEY = bytes(range(32))
RTT = "100ms"
SESSION_GAP = 0.1  # seconds between the beginnings of two sessions
SETTLING = 1 / 3  # of the time does not count: for that long the text is alone first, and then the TCP has begun
IP_UDP_HEADERS = 28  # bytes
STALL = 0.2  # seconds between two tokens
BULK_PIECE = bytes(16_384)
MAX_BACKLOG = 4000  # tokens that wait at the origin; what the model makes meanwhile is not sent
HEAD = """\
| line | sessions × answers × tokens | TCP | gets, kbit/s | text | least of it | tokens there | late, s, p50 / p95 | stalled |
| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"""
_BEGAN = struct.Struct("!d")  # in place of the first token: seconds, when it was made, by the clock of the machine


@dataclass(frozen=True)
class Row:
    """What goes through which bottleneck.

    Attributes:
        rate: Of the line, as in a scenario.
        queue: Packets that the line holds at most, those on their way included.
        sessions: Sessions of the origin.
        streams: Answers at once in each.
        tokens: A second, of each answer.
        tcp: The congestion control of the TCP beside the text.
        way: By which the text goes: `sealed`, `quic`, or `tcp`, the kernel's with CUBIC.
    """

    rate: str
    queue: int
    sessions: int
    streams: int
    tokens: float
    tcp: str
    way: str = "sealed"


@dataclass(frozen=True)
class Outcome:
    """What came of a row.

    Attributes:
        bulk: Bytes a second of the TCP that sends all it can.
        text: Bytes a second of the text.
        least: Of the session that got least.
        arrived: Tokens that arrived, of those that were made, 0..1.
        delay: Seconds that a token took, at the median.
        delay_p95: Likewise, at the 95th percentile.
        stalled: Of the time between the first token and the last of each answer, what was spent in stalls, 0..1.
    """

    bulk: float
    text: float
    least: float
    arrived: float
    delay: float
    delay_p95: float
    stalled: float


LINES = (("64kbit", 30), ("1mbit", 200))
LOADS = ((1, 1, 10.0), (1, 30, 10.0), (30, 1, 10.0))  # sessions, streams in each, tokens a second
BESIDE = (("cubic", "sealed"), ("bbr", "sealed"), ("cubic", "quic"), ("bbr", "quic"), ("cubic", "tcp"))
ROWS = [
    Row(rate, queue, sessions, streams, tokens, tcp, way)
    for (rate, queue), (sessions, streams, tokens), (tcp, way) in itertools.product(LINES, LOADS, BESIDE)
]
AVAILABLE = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")


# --- the processes at both ends


async def serve(tokens: float, tcp: str) -> None:
    """Answer with text, by datagrams and by TCP, and give whoever asks for it all that a TCP takes."""
    tasks = set()

    def answer(give: Callable[[bytes], None], seed: int) -> None:
        tasks.add(asyncio.create_task(_write_text(give, seed, 1 / tokens)))

    def asked(session: Any, event: Any) -> None:
        if isinstance(event, StreamRequested):
            way, seed = event.request.split()
            server = servers[way.decode()]

            def give(token: bytes) -> None:
                if session.backlog(event.stream_id) < MAX_BACKLOG:
                    server.send_token(session, event.stream_id, token)

            answer(give, int(seed))

    async def text_by_tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while name := await reader.read(1):

            def give(token: bytes, name: bytes = name) -> None:
                writer.write(name + bytes([len(token)]) + token)

            answer(give, name[0])

    async def bulk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, tcp.encode())
        while True:
            writer.write(BULK_PIECE)
            await writer.drain()

    own = make_certificate(derive_identity(KEY), now=dt.datetime.now(dt.UTC))
    edges = Edges(derive_bearer(KEY, own.certificate))
    servers = {
        "sealed": await sealed_udp.bind((SERVER, TEXT_PORT), schemes.get, asked, key=KEY),
        "quic": await quic_udp.bind(
            (SERVER, QUIC_PORT), schemes.get, asked, applications={ALPN: edges}, certificate=own
        ),
    }
    await asyncio.start_server(text_by_tcp, SERVER, TEXT_PORT)
    await asyncio.start_server(bulk, SERVER, BULK_PORT)
    print("ready", flush=True)
    await asyncio.Event().wait()


async def _write_text(give: Callable[[bytes], None], seed: int, gap: float) -> None:
    due = time.monotonic()
    give(_BEGAN.pack(due))
    for token in book.text(random.Random(seed)):
        due += gap
        await asyncio.sleep(max(due - time.monotonic(), 0.0))
        give(token)


class CountingClient(UdpClient):
    """Counts what arrives."""

    arrived = 0  # bytes

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Take a datagram."""
        self.arrived += len(data) + IP_UDP_HEADERS
        super().datagram_received(data, addr)


class Readers:
    """All that reads at the client's end."""

    def __init__(self, row: Row, seconds: float) -> None:
        self._row = row
        self._seconds = seconds
        self._bulk = 0  # bytes
        self._text = [0] * row.sessions  # bytes of each session by TCP
        self._clients: list[CountingClient] = []
        self._times: dict[tuple[int, int], list[float]] = defaultdict(list)  # of tokens, by session and stream
        self._began: dict[tuple[int, int], float] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> Outcome:
        """Read for the time that the row takes."""
        start = time.monotonic()
        for session in range(self._row.sessions):
            await (self._read_by_tcp(session) if self._row.way == "tcp" else self._read_datagrams(session))
            await asyncio.sleep(max(start + (session + 1) * SESSION_GAP - time.monotonic(), 0.0))
        await asyncio.sleep(max(start + SETTLING * self._seconds / 2 - time.monotonic(), 0.0))
        self._tasks.append(asyncio.create_task(self._read_bulk()))
        await asyncio.sleep(max(start + SETTLING * self._seconds - time.monotonic(), 0.0))
        since, bulk, text = time.monotonic(), self._bulk, self._bytes()
        await asyncio.sleep(max(start + self._seconds - time.monotonic(), 0.0))
        lasted = time.monotonic() - since
        rates = [(after - before) / lasted for after, before in zip(self._bytes(), text, strict=True)]
        return self._judge((self._bulk - bulk) / lasted, rates, since)

    def _bytes(self) -> list[int]:
        return list(self._text) if self._row.way == "tcp" else [client.arrived for client in self._clients]

    def _judge(self, bulk: float, rates: list[float], since: float) -> Outcome:
        gap, now = 1 / self._row.tokens, time.monotonic()
        delays, made, stalled, lasted = [], 0.0, 0.0, 0.0
        for key, times in self._times.items():
            counted = [(number, at) for number, at in enumerate(times) if at >= since]
            delays += [at - self._began[key] - number * gap for number, at in counted]
            gaps = [b[1] - a[1] for a, b in itertools.pairwise(counted)]
            stalled += sum(one for one in gaps if one > STALL)
            lasted += sum(gaps)
            made += (now - self._began[key]) / gap
        delays.sort()
        return Outcome(
            bulk,
            sum(rates),
            min(rates),
            sum(map(len, self._times.values())) / made if made else 0.0,
            delays[len(delays) // 2] if delays else float("inf"),
            delays[int(0.95 * len(delays))] if delays else float("inf"),
            stalled / lasted if lasted else 1.0,
        )

    def _take(self, key: tuple[int, int], token: bytes) -> None:
        if key not in self._began:
            (self._began[key],) = _BEGAN.unpack(token)
        self._times[key].append(time.monotonic())

    async def _read_datagrams(self, session: int) -> None:
        def told(event: Any) -> None:
            if isinstance(event, StreamToken):
                self._take((session, event.stream_id), event.data)

        endpoint: QuicClient | SealedClient
        if self._row.way == "quic":
            endpoint = QuicClient(schemes.get, key=KEY, identity=PinnedKey.of_key_file(KEY))
        else:
            endpoint = SealedClient(schemes.get, key=KEY, draw=secrets.token_bytes)
        port = QUIC_PORT if self._row.way == "quic" else TEXT_PORT
        client = await CountingClient.carry(endpoint, (SERVER, port), told)
        self._clients.append(client)
        for stream in range(self._row.streams):
            client.open_stream(f"{self._row.way} {stream}".encode(), scheme="eloquent-packed")

    async def _read_by_tcp(self, session: int) -> None:
        reader, writer = await asyncio.open_connection(SERVER, TEXT_PORT)
        writer.write(bytes(range(self._row.streams)))

        async def read() -> None:
            while True:
                stream, size = await reader.readexactly(2)
                self._take((session, stream), await reader.readexactly(size))
                self._text[session] += 2 + size

        self._tasks.append(asyncio.create_task(read()))

    async def _read_bulk(self) -> None:
        reader, _ = await asyncio.open_connection(SERVER, BULK_PORT)
        while piece := await reader.read(65536):
            self._bulk += len(piece)


async def read(row: Row, seconds: float) -> None:
    """Read at the client's end, and print what came of it."""
    print(json.dumps(asdict(await Readers(row, seconds).run())), flush=True)


# --- the measurement


@contextlib.contextmanager
def running(namespace: int | None, *words: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a process, in the network namespace of another or in a new one."""
    inside = ["unshare", "--net"] if namespace is None else ["nsenter", f"--net=/proc/{namespace}/ns/net", "--"]
    with subprocess.Popen([*inside, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def measure(row: Row, seconds: float) -> Outcome:
    """Measure one row."""
    with contextlib.ExitStack() as stack:

        def start(namespace: int | None, *words: str) -> "subprocess.Popen[str]":
            return stack.enter_context(running(namespace, *words))

        lab, server, client = (start(None, "sh", "-c", "ip link set lo up && echo up && cat") for _ in range(3))
        for one in (lab, server, client):
            assert _line(one) == "up"
        _join(start, lab.pid, server.pid, client.pid, row)
        python = (sys.executable, __file__)
        origin = start(server.pid, *python, "serve", str(row.tokens), row.tcp)
        assert _line(origin) == "ready"
        return Outcome(**json.loads(_line(start(client.pid, *python, "read", json.dumps(asdict(row)), str(seconds)))))


def _join(start: Callable[..., "subprocess.Popen[str]"], lab: int, server: int, client: int, row: Row) -> None:
    """Join two namespaces by the bottleneck."""
    carrier = start(lab, sys.executable, "-m", "eloquent.emulation.carriers.wire")
    link = ImpairedLink("bottleneck", "tap-c", "tap-s", f"rtt={RTT} rate={row.rate} queue={row.queue}", seed=1)
    assert carrier.stdin is not None
    carrier.stdin.write(json.dumps({"id": 0, "links": [link.to_json()]}) + "\n")
    carrier.stdin.flush()
    assert json.loads(_line(carrier))["ready"]
    for pid, device, address in ((client, "tap-c", CLIENT), (server, "tap-s", SERVER)):
        run_command("nsenter", f"--net=/proc/{lab}/ns/net", "--", "ip", "link", "set", device, "netns", str(pid))
        for words in (("addr", "add", f"{address}/24", "dev", device), ("link", "set", device, "up")):
            run_command("nsenter", f"--net=/proc/{pid}/ns/net", "--", "ip", *words)


def _line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def report(row: Row, outcome: Outcome) -> str:
    """Return a line of the table."""
    return (
        f"| {row.rate}, {row.queue} | {row.sessions} × {row.streams} × {row.tokens:g}/s, {row.way} | {row.tcp} "
        f"| {outcome.bulk * 8e-3:.1f} | {outcome.text * 8e-3:.1f} | {outcome.least * 8e-3:.2f} | {outcome.arrived:.0%} "
        f"| {outcome.delay:.2f} / {outcome.delay_p95:.2f} | {outcome.stalled:.0%} |"
    )


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="What a TCP and the relays leave each other on one slow line.")
    parser.add_argument("--seconds", type=float, default=60.0, help="that each row takes")
    parser.add_argument(
        "--only", default="", help="rows in whose line of the table all these words are, such as '64kbit cubic'"
    )
    parser.add_argument("--json", action="store_true", help="print each row and its outcome as a line of JSON instead")
    asked = parser.parse_args()
    if not asked.json:
        print(HEAD)
    for row in ROWS:
        words = f"{row.rate} {row.sessions}x{row.streams} {row.tcp} {row.way}".split()
        if row.tcp in AVAILABLE.read_text().split() and set(asked.only.split()) <= set(words):
            outcome = measure(row, asked.seconds)
            print(json.dumps([asdict(row), asdict(outcome)]) if asked.json else report(row, outcome), flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", tokens, tcp]:
            uvloop.run(serve(float(tokens), tcp))
        case ["read", row, seconds]:
            uvloop.run(read(Row(**json.loads(row)), float(seconds)))
        case _:
            main()
