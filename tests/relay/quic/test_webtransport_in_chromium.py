"""A page in headless Chromium and an origin relay as a process: the protocol's own client endpoint, through WebTransport."""

import asyncio
import base64
import random
import signal
import socket
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aioquic.h3.connection import H3Connection
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import HandshakeCompleted
from playwright.sync_api import Browser, Page, sync_playwright
from prometheus_client.parser import text_string_to_metric_families

from eloquent import schemes
from eloquent.api.v1.exchange_pb2 import HttpField, HttpRequest, Outcome
from eloquent.protocol.client_endpoint import ClientEndpoint
from eloquent.protocol.session import StreamEnded, StreamToken
from eloquent.relay.exchange import decode_head, decode_outcome, encode_begin
from eloquent.relay.quic.limits import QUIC_PAYLOAD_BUDGET
from eloquent.relay.quic.pages import make_page_token

pytestmark = pytest.mark.browser

CHROMIUM = "/usr/bin/chromium"
SECRET = b"a secret that is long enough, of 41 bytes"
PATIENCE = 60.0  # seconds
GROWTH = 64 << 20  # bytes by which the origin's memory may grow: 128 strangers at once, and new code paths
EVENTS = [b'data: {"choices":[{"delta":{"content":"word %d"}}]}\n\n' % i for i in range(40)] + [b"data: [DONE]\n\n"]
PAGE = """<!doctype html><script>
const sessions = [];
async function begin(url, hash) {
  const value = Uint8Array.from(hash.match(/../g), byte => parseInt(byte, 16));
  const session = new WebTransport(url, hash ? {serverCertificateHashes: [{algorithm: 'sha-256', value}]} : {});
  const end = session.closed.then(info => ({...info}), error => ({error: String(error)}));
  try { await session.ready } catch (error) { return {error: String(error)} }
  const state = {session, heard: [], end: null, writer: session.datagrams.writable.getWriter()};
  end.then(info => { state.end = {closeCode: info.closeCode, reason: info.reason, error: info.error} });
  (async () => {
    const reader = session.datagrams.readable.getReader();
    for (let read; !(read = await reader.read()).done;) state.heard.push(btoa(String.fromCharCode(...read.value)));
  })().catch(() => {});
  return {number: sessions.push(state) - 1};
}
function exchange(said) {
  said.forEach((datagrams, number) => datagrams.forEach(text =>
    sessions[number].writer.write(Uint8Array.from(atob(text), char => char.charCodeAt(0))).catch(() => {})));
  return sessions.map(state => ({heard: state.heard.splice(0), end: state.end}));
}
</script>"""


class Model(BaseHTTPRequestHandler):
    """A model server: streams the events, and remembers the fields of requests. It serves the page as well."""

    gap = 0.02
    seen: list[dict[str, str]]

    def do_POST(self) -> None:
        self.seen.append({name.lower(): value for name, value in self.headers.items()})
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for event in EVENTS:
            self.wfile.write(event)
            time.sleep(self.gap)

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE.encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def model() -> Iterator[tuple[str, list[dict[str, str]]]]:
    seen: list[dict[str, str]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Seen", (Model,), {"seen": seen}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()


class OriginProcess:
    """An origin relay that lets pages in.

    Attributes:
        url: That pages connect to.
        hash: Of its certificate, in hexadecimal.
        metrics: HOST:PORT of its metrics.
        here: Where the pages are that may ask.
        where: HOST:PORT of QUIC.
        sealed: URL of an edge over sealed UDP.
        quic: URL of one over QUIC, once that is started.
    """

    def __init__(self, folder: Path, relays: Any, where: str, metrics: str, here: str) -> None:
        self.relays = relays
        self.where = where
        self.sealed = relays.url
        self.quic = relays.add_edge("quic", where)
        self.metrics = metrics
        self.here = here
        self.url = f"https://{where}/eloquent"
        self.hash = (folder / "hash").read_text().strip()

    def metric(self, name: str, **labels: str) -> float:
        """Return a value of the metrics page."""
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=PATIENCE) as page:
            for family in text_string_to_metric_families(page.read().decode()):
                for sample in family.samples:
                    if sample.name == f"eloquent_{name}" and sample.labels == labels:
                        return sample.value
        raise AssertionError(f"there is no {name} {labels}")

    def token(self, lifetime: float = 600.0) -> str:
        return make_page_token(SECRET, lifetime=lifetime, now=time.time())


@pytest.fixture
def origin(tmp_path: Path, relaying: Any, make_relays: Any, model: Any) -> OriginProcess:
    where, metrics = relaying.free_address(), relaying.free_address()
    (tmp_path / "secret").write_bytes(SECRET + b"\n")
    words = ["--webtransport", where, "--page-origins", model[0], "--page-secret", str(tmp_path / "secret")]
    words += ["--certificate-hash", str(tmp_path / "hash"), "--quic", where, "--metrics", metrics]
    return OriginProcess(
        tmp_path, make_relays(model[0], origin=words, **{"edge-quic": ["--carrier", "quic"]}), where, metrics, model[0]
    )


@pytest.fixture(scope="module")
def browser(needs_chromium: None) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM)
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[[str], Page]]:
    contexts = []

    def opened(url: str) -> Page:
        contexts.append(browser.new_context())
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()


class Chats:
    """The chats of one page, a session of WebTransport each.

    Attributes:
        events: What each was told.
        ends: How the session of each ended, or None.
    """

    def __init__(self, page: Page, url: str, fingerprint: str, count: int = 1) -> None:
        self.page = page
        self.events: list[list[Any]] = [[] for _ in range(count)]
        self.ends: list[dict[str, Any] | None] = [None] * count
        draw = random.Random(1)
        self.endpoints = [
            ClientEndpoint(schemes.get, new_id=lambda: draw.randbytes(8), payload=QUIC_PAYLOAD_BUDGET)
            for _ in range(count)
        ]
        for number, endpoint in enumerate(self.endpoints):
            assert page.evaluate("([url, hash]) => begin(url, hash)", [url, fingerprint]) == {"number": number}
            endpoint.take_token(bytes(22), now=time.monotonic())

    def ask(self, number: int = 0, *, seed: int = 0, target: str = "/v1/chat/completions", **fields: str) -> None:
        said = [HttpField(name=name.replace("_", "-"), value=value.encode()) for name, value in fields.items()]
        request = HttpRequest(method="POST", target=target, fields=said, body=b'{"stream": true}')
        asked = encode_begin(random.Random(100 * seed + number).randbytes(16), request)
        self.endpoints[number].open_stream(asked, scheme="eloquent-packed", now=time.monotonic())

    def turn(self) -> None:
        """Carry what there is, in both directions."""
        now = time.monotonic()
        for endpoint in self.endpoints:
            if (due := endpoint.get_timer()) is not None and due <= now:
                endpoint.handle_timer(now=now)
        said = [
            [base64.b64encode(data).decode() for data in endpoint.datagrams_to_send(now=now)]
            for endpoint in self.endpoints
        ]
        for number, came in enumerate(self.page.evaluate("said => exchange(said)", said)):
            self.ends[number] = came["end"]
            for text in came["heard"]:
                self.endpoints[number].receive_datagram(base64.b64decode(text), now=time.monotonic())
            while (event := self.endpoints[number].next_event()) is not None:
                self.events[number].append(event)

    def run(self, until: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not until():
            assert time.monotonic() < deadline, f"waited in vain; {self.ends}"
            self.turn()
            self.page.wait_for_timeout(10)

    def run_to_the_end(self) -> None:
        self.run(lambda: all(events and not isinstance(events[-1], StreamToken) for events in self.events))

    def answer(self, number: int = 0) -> bytes:
        """Return the content of a whole answer."""
        head, *events = [event.data for event in self.events[number] if isinstance(event, StreamToken)]
        assert decode_head(head).status == 200
        ended = self.events[number][-1]
        assert isinstance(ended, StreamEnded)
        assert decode_outcome(ended.trailer).kind == Outcome.COMPLETE
        return b"".join(events)


def test_a_page_is_answered_over_webtransport(origin: OriginProcess, model: Any, open_page: Any) -> None:
    chats = Chats(open_page(origin.here), f"{origin.url}?token={origin.token()}", origin.hash)
    chats.ask(authorization="Bearer of-the-page", x_forwarded_for="10.0.0.1", cookie="a=b")
    chats.run_to_the_end()
    assert chats.answer() == b"".join(EVENTS)
    (fields,) = model[1]
    assert fields["authorization"] == "Bearer of-the-page"
    assert not fields.keys() & {"x-forwarded-for", "cookie"}


def eventually(holds: Callable[[], object]) -> None:
    """Wait for something that is to come true."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def begin(page: Page, url: str, fingerprint: str) -> dict[str, Any]:
    """Try to begin a session, and return what the page is told."""
    found = page.evaluate("([url, hash]) => begin(url, hash)", [url, fingerprint])
    assert isinstance(found, dict)
    return found


def test_who_may_not_ask_gets_no_session_and_the_operator_sees_why(origin: OriginProcess, open_page: Any) -> None:
    here, elsewhere = open_page(origin.here), open_page(origin.here.replace("127.0.0.1", "localhost"))
    good = origin.token()
    refused = {"error": "WebTransportError: Opening handshake failed."}
    for page, query in (
        (elsewhere, f"?token={good}"),
        (here, ""),
        (here, f"?token={origin.token(-60.0)}"),
        (here, f"?token={good[:-4]}AAAA"),
    ):
        assert begin(page, origin.url + query, origin.hash) == refused
    assert begin(here, f"{origin.url}/elsewhere?token={good}", origin.hash) == refused
    assert begin(here, f"{origin.url}?token={good}", "00" * 32) == refused  # another certificate
    assert begin(here, f"{origin.url}?token={good}", origin.hash) == {"number": 0}
    expected = {"origin": 1.0, "token": 3.0, "path": 1.0, "target": 0.0}

    def seen() -> dict[str, float]:
        return {reason: origin.metric("page_refusals_total", reason=reason) for reason in expected}

    eventually(lambda: seen() == expected and origin.metric("begun_page_sessions_total") == 1)


def test_what_a_page_may_not_ask_is_refused_with_a_sentence(origin: OriginProcess, model: Any, open_page: Any) -> None:
    chats = Chats(open_page(origin.here), f"{origin.url}?token={origin.token()}", origin.hash)
    chats.ask(target="/v1/models")
    chats.run_to_the_end()
    (ended,) = chats.events[0]
    outcome = decode_outcome(ended.trailer)
    assert (outcome.kind, "--page-targets" in outcome.message) == (Outcome.INVALID, True)
    assert not model[1]


def test_thirty_sessions_of_a_page_are_answered_at_once(origin: OriginProcess, open_page: Any) -> None:
    chats = Chats(open_page(origin.here), f"{origin.url}?token={origin.token()}", origin.hash, count=30)
    for number in range(30):
        chats.ask(number)
    chats.run_to_the_end()
    assert {chats.answer(number) for number in range(30)} == {b"".join(EVENTS)}


def test_a_page_is_told_that_the_relay_stops_when_its_answer_is_whole(origin: OriginProcess, open_page: Any) -> None:
    chats = Chats(open_page(origin.here), f"{origin.url}?token={origin.token()}", origin.hash)
    chats.ask()
    chats.run(lambda: len(chats.events[0]) > 3)
    status: list[int] = []
    stopping = threading.Thread(target=lambda: status.append(origin.relays.end("origin", signal.SIGTERM)))
    stopping.start()
    chats.run_to_the_end()
    assert chats.answer() == b"".join(EVENTS)
    chats.run(lambda: chats.ends[0] is not None)
    stopping.join(PATIENCE)
    assert status == [0]
    assert chats.ends == [{"closeCode": 0, "reason": "the relay stops", "error": None}]


class Stranger(asyncio.DatagramProtocol):
    """Somebody who speaks QUIC and HTTP/3 well, and asks for a session with a token of his own making."""

    def __init__(self, origin: tuple[str, int], draw: random.Random) -> None:
        self.origin = origin
        self.draw = draw
        self.has_asked = False
        configuration = QuicConfiguration(alpn_protocols=["h3"], max_datagram_frame_size=65536, server_name="eloquent")
        configuration.verify_mode = 0
        self.quic = QuicConnection(configuration=configuration)
        self.http = H3Connection(self.quic, enable_webtransport=True)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.quic.connect(self.origin, now=time.monotonic())
        self.turn()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.quic.receive_datagram(data, self.origin, now=time.monotonic())
        while (event := self.quic.next_event()) is not None:
            self.has_asked |= isinstance(event, HandshakeCompleted) and self.ask()
        self.turn()

    def ask(self) -> bool:
        path = b"/eloquent?token=" + base64.urlsafe_b64encode(self.draw.randbytes(60))
        fields = [(b":method", b"CONNECT"), (b":protocol", b"webtransport"), (b":scheme", b"https")]
        stream_id = self.quic.get_next_available_stream_id()
        self.http.send_headers(stream_id, [*fields, (b":authority", b"a"), (b":path", path), (b"origin", b"null")])
        for _ in range(20):
            self.http.send_datagram(stream_id, self.draw.randbytes(self.draw.randrange(1, 1100)))
        return True

    def turn(self) -> None:
        for data, _ in self.quic.datagrams_to_send(now=time.monotonic()):
            self.transport.sendto(data)


class Flood(threading.Thread):
    """Strangers from many addresses who say garbage, begin handshakes and leave, or finish them and have no good token.

    Attributes:
        sent: Datagrams of garbage, and of handshakes that are only begun.
        asked: How many strangers have asked for a session.
    """

    def __init__(self, origin: str) -> None:
        super().__init__(daemon=True)
        host, _, port = origin.rpartition(":")
        self.origin = host, int(port)
        self.draw = random.Random(1)
        self.is_over = threading.Event()
        self.sent = self.asked = 0

    def run(self) -> None:
        asyncio.run(self.flood())

    def end(self) -> None:
        self.is_over.set()
        self.join(PATIENCE)

    async def flood(self) -> None:
        loop = asyncio.get_running_loop()
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(20)]
        for number, each in enumerate(sockets):
            each.bind((f"127.0.1.{number + 1}", 0))
            each.connect(self.origin)
            each.setblocking(False)
        strangers: deque[Stranger] = deque()
        number = 0
        while not self.is_over.is_set():
            number += 1
            stranger = Stranger(self.origin, self.draw)
            await loop.create_datagram_endpoint(
                lambda stranger=stranger: stranger,
                remote_addr=self.origin,
                local_addr=(f"127.0.2.{number % 50 + 1}", 0),
            )
            first = self.first_packet()
            for each in self.draw.choices(sockets, k=20):
                garbage = self.draw.randbytes(self.draw.randrange(1, 1400))
                with suppress(BlockingIOError, ConnectionRefusedError):
                    each.send(self.draw.choice([garbage, first, b"\xc0\0\0\0\1" + garbage, b"\x40" + garbage]))
                    self.sent += 1
            strangers.append(stranger)
            if len(strangers) > 100:
                self.leave(strangers.popleft())
            await asyncio.sleep(0.01)
        for stranger in strangers:
            self.leave(stranger)
        await asyncio.sleep(0.1)  # the transports close
        for each in sockets:
            each.close()

    def leave(self, stranger: Stranger) -> None:
        self.asked += stranger.has_asked
        stranger.transport.close()

    def first_packet(self) -> bytes:
        quic = Stranger(self.origin, self.draw).quic
        quic.connect(self.origin, now=0.0)
        return quic.datagrams_to_send(now=0.0)[0][0]


def ask_edge(url: str) -> bytes:
    request = urllib.request.Request(url, data=b"{}", method="POST")
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return bytes(response.read())


def test_a_flood_of_strangers_harms_neither_pages_nor_edges(origin: OriginProcess, open_page: Any) -> None:
    """One origin: a page over WebTransport, an edge over QUIC on the same port, and one over sealed UDP, all at once."""
    page = open_page(origin.here)
    chats = Chats(page, f"{origin.url}?token={origin.token()}", origin.hash, count=2)
    origin.relays.start("edge-quic")
    before = origin.relays.memory("origin")
    flood = Flood(origin.where)
    flood.start()
    rounds = 5
    with ThreadPoolExecutor() as pool:
        edges = [
            pool.submit(lambda url=url: [ask_edge(url) for _ in range(rounds)]) for url in (origin.sealed, origin.quic)
        ]
        for count in range(rounds):
            for number in range(2):
                chats.ask(number, seed=count)
            chats.run_to_the_end()
            for number in range(2):
                assert chats.answer(number) == b"".join(EVENTS)
                chats.events[number].clear()
        assert [each.result() for each in edges] == [[b"".join(EVENTS)] * rounds] * 2
    flood.end()
    growth = origin.relays.memory("origin") - before
    assert growth < GROWTH
    eventually(lambda: origin.metric("page_refusals_total", reason="origin") > 0)
    assert flood.sent > 1000
    print(f"{flood.sent} datagrams beside {flood.asked} strangers who asked; {growth:+} bytes")
    eventually(lambda: begin(page, f"{origin.url}?token={origin.token()}", origin.hash) == {"number": 2})
