"""A small TCP with known truth: what was sent, what was lost, and what tcpdump would have seen at either end; a small server."""

import heapq
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from threading import Event, Thread

import dpkt
import pytest

SERVER, CLIENT = ("10.0.0.2", 8000), ("10.0.0.1", 40000)
SYN, ACK, PUSH = dpkt.tcp.TH_SYN, dpkt.tcp.TH_ACK, dpkt.tcp.TH_PUSH
EPOCH = 1_700_000_000.0  # the wall clock of the captures
SERVER_ISN, CLIENT_ISN = 2**32 - 300, 77  # the server's numbers wrap within the first tokens


@dataclass(frozen=True)
class Sent:
    """The truth about one packet with data."""

    at_s: float
    start: int
    end: int
    lost: bool
    again: bool


@dataclass
class Story:
    """A server that streams tokens over TCP with SACK and timestamps, one packet a token.

    Args:
        is_lost: Decides about the n-th packet with data, sent at an instant.
        tokens: How many, 100 bytes each, one every 100 ms.
        rtt: Round-trip time in seconds.
        timestamps: Whether the ends negotiated them.
        jitter: Most seconds that a packet with data takes longer than the others; it may be overtaken.
    """

    is_lost: Callable[[int, float], bool]
    tokens: int = 50
    rtt: float = 0.203
    timestamps: bool = True
    jitter: float = 0.0
    sent: list[Sent] = field(default_factory=list)
    arrivals: list[tuple[float, int]] = field(default_factory=list)  # when the in-order stream reached which offset
    _at_server: list[tuple[float, bytes]] = field(default_factory=list)
    _at_client: list[tuple[float, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = Random(5)
        self._ip_id = 0
        self._handshake()
        self._run()

    def write(self, path: Path, vantage: str, *, snaplen: int = 65535) -> Path:
        frames = self._at_server if vantage == "sender" else self._at_client
        with path.open("wb") as file:
            writer = dpkt.pcap.Writer(file, snaplen=snaplen, nano=True)
            for at_s, frame in sorted(frames, key=lambda one: one[0]):
                writer.writepkt(frame[:snaplen], ts=EPOCH + at_s)
        return path

    @property
    def lost(self) -> list[Sent]:
        return [packet for packet in self.sent if packet.lost]

    def _frame(self, source, target, seq, ack, flags, data=b"", options=b"") -> bytes:
        self._ip_id = (self._ip_id + 1) % 65536
        options += b"\x01" * (-len(options) % 4)
        tcp = dpkt.tcp.TCP(
            sport=source[1], dport=target[1], seq=seq % 2**32, ack=ack % 2**32, flags=flags, data=data, opts=options
        )
        tcp.off = 5 + len(options) // 4
        packet = dpkt.ip.IP(
            src=socket.inet_aton(source[0]), dst=socket.inet_aton(target[0]), p=6, data=tcp, id=self._ip_id
        )
        packet.len = 20 + len(bytes(tcp))
        return bytes(dpkt.ethernet.Ethernet(src=b"\2" * 6, dst=b"\4" * 6, data=packet))

    def _stamp(self, now: float, echo: float) -> bytes:
        if not self.timestamps:
            return b""
        words = (round(number * 1000) for number in (now, echo))
        return b"\x01\x01\x08\x0a" + b"".join(word.to_bytes(4, "big") for word in words)

    def _handshake(self) -> None:
        half = self.rtt / 2
        for at_s, from_client, seq, ack, flags in (
            (-self.rtt * 1.5, True, CLIENT_ISN, 0, SYN),
            (-self.rtt + 1e-4, False, SERVER_ISN, CLIENT_ISN + 1, SYN | ACK),
            (-self.rtt / 2 + 2e-4, True, CLIENT_ISN + 1, SERVER_ISN + 1, ACK),
        ):
            ends = (CLIENT, SERVER) if from_client else (SERVER, CLIENT)
            frame = self._frame(*ends, seq, ack, flags)
            self._at_client.append((at_s + (0 if from_client else half), frame))
            self._at_server.append((at_s + (half if from_client else 0), frame))

    def _run(self) -> None:
        """Fast retransmission after three later SACKs, else a timeout of RTT + 200 ms, doubled."""
        events: list[tuple[float, int, str, tuple]] = []
        count = 0

        def put(at_s: float, what: str, *values) -> None:
            nonlocal count
            count += 1
            heapq.heappush(events, (at_s, count, what, values))

        for token in range(self.tokens):
            put(token * 0.1, "send", token, 0)
        got: set[int] = set()
        acked: set[int] = set()
        later: dict[int, int] = {}
        tries = dict.fromkeys(range(self.tokens), 0)
        echo = 0.0
        while events:
            now, _, what, values = heapq.heappop(events)
            if what == "send":
                token, attempt = values
                if token in acked or tries[token] != attempt or attempt > 6:
                    continue
                tries[token] += 1
                later[token] = 0
                lost = self.is_lost(len(self.sent), now)
                self.sent.append(Sent(now, token * 100, token * 100 + 100, lost, attempt > 0))
                frame = self._frame(
                    SERVER,
                    CLIENT,
                    SERVER_ISN + 1 + token * 100,
                    CLIENT_ISN + 1,
                    ACK | PUSH,
                    b"t" * 100,
                    self._stamp(now, 0),
                )
                self._at_server.append((now, frame))
                if not lost:
                    at = now + self.rtt / 2 + self._rng.random() * self.jitter
                    self._at_client.append((at, frame))
                    put(at, "arrive", token, now)
                put(now + (self.rtt + 0.217) * 2**attempt, "send", token, attempt + 1)
            elif what == "arrive":
                token, stamp = values
                again = token in got
                before = next(one for one in range(self.tokens + 1) if one not in got)
                got.add(token)
                reached = next(one for one in range(self.tokens + 1) if one not in got)
                if reached > before:
                    self.arrivals.append((now, reached * 100))
                    echo = stamp
                blocks = [(one, one + 1) for one in sorted(got, reverse=True) if one > reached][:3]
                if again:
                    blocks = [(token, token + 1), *blocks][:3]
                raw = b"".join(
                    ((SERVER_ISN + 1 + edge * 100) % 2**32).to_bytes(4, "big") for block in blocks for edge in block
                )
                sack = bytes((5, 2 + len(raw))) + raw if raw else b""
                frame = self._frame(
                    CLIENT,
                    SERVER,
                    CLIENT_ISN + 1,
                    SERVER_ISN + 1 + reached * 100,
                    ACK,
                    b"",
                    self._stamp(now, echo) + sack,
                )
                self._at_client.append((now, frame))
                self._at_server.append((now + self.rtt / 2, frame))
                put(now + self.rtt / 2, "ack", frozenset(got), token)
            else:
                known, newest = values
                acked |= known
                for token in range(newest):
                    if token not in acked and tries[token]:
                        later[token] += 1
                        if later[token] == 3 and tries[token] == 1:
                            put(now, "send", token, 1)


@pytest.fixture
def lossy() -> Story:
    """15 % of the packets lost, retransmissions too; about 300 tokens."""
    rng = Random(11)
    return Story(lambda number, now: rng.random() < 0.15, tokens=300)


@contextmanager
def http_server(status: int, *bodies: bytes, goes_on: bytes = b"", **headers: str) -> Iterator[tuple[str, list[dict]]]:
    """Give each request the next body, and the last one for ever; after each, so often as somebody reads, what goes on."""
    asked: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append({"path": self.path, "key": self.headers.get("Authorization"), **question})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(bodies[min(len(asked), len(bodies)) - 1])
            while goes_on and not over.wait(0.05):
                self.wfile.write(goes_on)

        def log_message(self, *_: object) -> None:
            pass

    over = Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1", asked
        finally:
            over.set()
            server.shutdown()
            thread.join()
