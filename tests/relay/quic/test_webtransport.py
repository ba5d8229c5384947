"""Pages over WebTransport, with aioquic's own HTTP/3 as the browser, in virtual time."""

import datetime as dt
import gc
import random
import time
import weakref
from collections import deque
from contextlib import suppress
from typing import Any

import pytest
from aioquic.h3.connection import ErrorCode, H3Connection
from aioquic.h3.events import DatagramReceived, DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, StopSendingReceived

from eloquent import schemes
from eloquent.errors import RemoteProtocolError
from eloquent.protocol.client_endpoint import ClientEndpoint
from eloquent.protocol.session import SessionLost, StreamEnded, StreamFailed, StreamRequested, StreamToken
from eloquent.relay.quic.certificate import derive_identity, make_certificate
from eloquent.relay.quic.http3 import MAX_ALL, MAX_OTHER_STREAMS, MAX_REQUEST, MAX_REQUESTS, close_capsule
from eloquent.relay.quic.limits import QUIC_DATAGRAM, QUIC_PAYLOAD_BUDGET, PageLimits
from eloquent.relay.quic.pages import Pages, make_page_token
from eloquent.relay.quic.server import QuicServer
from eloquent.relay.quic.webtransport import ALPN, WebTransport

SERVER, CLIENT = ("10.0.0.2", 443), ("10.0.0.1", 1000)
SECRET = b"a secret that is long enough, of 41 bytes"
ORIGIN = "https://chat.example"
WORDS = [b"hello", b" ", b"world"]


def token() -> str:
    return make_page_token(SECRET, lifetime=600.0, now=time.time())


class Chat:
    """The client's endpoint of one session: what a page's own code is.

    Attributes:
        stream_id: Of the session's request.
        endpoint: Speaks the protocol.
        events: What it was told.
    """

    def __init__(self, stream_id: int, seed: int) -> None:
        self.stream_id = stream_id
        draw = random.Random(seed)
        self.endpoint = ClientEndpoint(schemes.get, new_id=lambda: draw.randbytes(8), payload=QUIC_PAYLOAD_BUDGET)
        self.events: list[Any] = []

    @property
    def text(self) -> bytes:
        return b"".join(event.data for event in self.events if isinstance(event, StreamToken))


class Browser:
    """A browser by aioquic, one connection.

    Attributes:
        answers: Of HTTP, by stream: status and content.
        ended: Streams that the server has ended.
        stopped: Streams of which it wants no more.
        chats: The endpoints of its sessions.
        datagrams: Those that came, with the stream of their session.
        end: How its connection ended.
    """

    def __init__(self, address: tuple[str, int] = CLIENT, *, now: float = 0.0, alpn: str = ALPN) -> None:
        self.address = address
        configuration = QuicConfiguration(alpn_protocols=[alpn], max_datagram_frame_size=65536, server_name="eloquent")
        configuration.verify_mode = 0
        self.quic = QuicConnection(configuration=configuration)
        self.quic.connect(SERVER, now=now)
        self.http = H3Connection(self.quic, enable_webtransport=True)
        self.answers: dict[int, tuple[dict[bytes, bytes], bytearray]] = {}
        self.ended: set[int] = set()
        self.stopped: set[int] = set()
        self.chats: dict[int, Chat] = {}
        self.datagrams: list[tuple[int, bytes]] = []
        self.end: ConnectionTerminated | None = None

    def ask(self, target: str, *, method: str = "CONNECT", origin: str | None = ORIGIN, end: bool = False) -> int:
        stream_id = self.quic.get_next_available_stream_id()
        fields = [(b":method", method.encode()), (b":scheme", b"https"), (b":authority", b"relay.example")]
        fields.append((b":path", target.encode()))
        if method == "CONNECT":
            fields.append((b":protocol", b"webtransport"))
        if origin is not None:
            fields.append((b"origin", origin.encode()))
        self.http.send_headers(stream_id, fields, end_stream=end)
        return stream_id

    def begin(self, target: str | None = None, **options: Any) -> Chat:
        stream_id = self.ask(f"/eloquent?token={token()}" if target is None else target, **options)
        return self.chats.setdefault(stream_id, Chat(stream_id, stream_id + 1))

    def take(self, data: bytes, now: float) -> None:
        self.quic.receive_datagram(data, SERVER, now=now)
        self._take_events(now)

    def _take_events(self, now: float) -> None:
        while (event := self.quic.next_event()) is not None:
            if isinstance(event, ConnectionTerminated):
                self.end = event
            elif isinstance(event, StopSendingReceived):
                self.stopped.add(event.stream_id)
            for said in self.http.handle_event(event):
                match said:
                    case HeadersReceived(headers, stream_id, ended):
                        self.answers[stream_id] = dict(headers), bytearray()
                    case DataReceived(content, stream_id, ended):
                        self.answers[stream_id][1].extend(content)
                    case DatagramReceived(content, stream_id):
                        self.datagrams.append((stream_id, content))
                        if stream_id in self.chats:
                            self.chats[stream_id].endpoint.receive_datagram(content, now=now)
                        continue
                    case _:
                        continue
                if ended:
                    self.ended.add(stream_id)

    def status(self, stream_id: int) -> int:
        return int(self.answers[stream_id][0][b":status"])

    def said(self, stream_id: int) -> str:
        return self.answers[stream_id][1].decode()

    def datagrams_to_send(self, now: float) -> list[bytes]:
        for chat in self.chats.values():
            for data in chat.endpoint.datagrams_to_send(now=now):
                self.http.send_datagram(chat.stream_id, data)
            while (event := chat.endpoint.next_event()) is not None:
                chat.events.append(event)
        return [data for data, _ in self.quic.datagrams_to_send(now=now)]

    def timers(self) -> list[float]:
        machines = [self.quic, *(chat.endpoint for chat in self.chats.values())]
        return [due for machine in machines if (due := machine.get_timer()) is not None]

    def handle_timers(self, now: float) -> None:
        for machine in (self.quic, *(chat.endpoint for chat in self.chats.values())):
            if (due := machine.get_timer()) is not None and due <= now:
                machine.handle_timer(now=now)
        self._take_events(now)


class World:
    """A server, browsers, and the time; each datagram takes `delay` seconds.

    Attributes:
        events: What the server's owner was told.
    """

    def __init__(self, *, pages: Pages | None = None, page_limits: PageLimits | None = None, **options: Any) -> None:
        self.pages = WebTransport(Pages([ORIGIN], SECRET) if pages is None else pages, limits=page_limits)
        certificate = make_certificate(derive_identity(bytes(32)), now=dt.datetime.now(dt.UTC))
        self.server = QuicServer(
            schemes.get,
            applications={ALPN: self.pages},
            certificate=certificate,
            draw=random.Random(1).randbytes,
            **options,
        )
        self.browsers: dict[tuple[str, int], Browser] = {}
        self.events: list[Any] = []
        self.now = 0.0
        self.delay = 0.01
        self.random = random.Random(2)
        self.loss = 0.0
        self.is_answering = True
        self.malformed: list[str] = []
        self._way: deque[tuple[float, bool, tuple[str, int], bytes]] = deque()

    def browser(self, address: tuple[str, int] = CLIENT, **options: Any) -> Browser:
        self.browsers[address] = Browser(address, now=self.now, **options)
        return self.browsers[address]

    def run(self, seconds: float = 1.0) -> None:
        until = self.now + seconds
        while True:
            self._send()
            dues = [at for at, *_ in self._way] + [due for due in (self.server.get_timer(),) if due is not None]
            dues += [due for browser in self.browsers.values() for due in browser.timers()]
            self.now = max(self.now, min([*dues, until]))
            if self.now >= until:
                return
            while self._way and self._way[0][0] <= self.now:
                _, is_up, address, data = self._way.popleft()
                if self.random.random() >= self.loss:
                    self._take(is_up, address, data)
            if (due := self.server.get_timer()) is not None and due <= self.now:
                self.server.handle_timer(now=self.now)
            for browser in self.browsers.values():
                browser.handle_timers(self.now)

    def _take(self, is_up: bool, address: tuple[str, int], data: bytes) -> None:
        if is_up:
            try:
                self.server.receive_datagram(data, address, now=self.now)
            except RemoteProtocolError as error:
                self.malformed.append(str(error))
        elif address in self.browsers:
            self.browsers[address].take(data, self.now)

    def _send(self) -> None:
        at = self.now + self.delay
        for address, browser in self.browsers.items():
            self._way += [(at, True, address, data) for data in browser.datagrams_to_send(self.now)]
        while True:
            self._way += [(at, False, address, data) for data, address in self.server.datagrams_to_send(now=self.now)]
            if (found := self.server.next_event()) is None:
                break
            self._answer(*found)

    def _answer(self, session: Any, event: Any) -> None:
        self.events.append(event)
        if isinstance(event, StreamRequested) and self.is_answering:
            for word in WORDS:
                session.send_token(event.stream_id, word, now=self.now)
            session.finish(event.stream_id, trailer=event.request[-4:], now=self.now)
            self.server.touch(session)


@pytest.fixture
def world() -> World:
    return World()


def ask(world: World, chat: Chat, request: bytes = b"question", scheme: str = "eloquent-packed") -> None:
    """Ask, as a client of QUIC does: with a token of zeros, as its address is validated."""
    chat.endpoint.take_token(bytes(22), now=world.now)
    chat.endpoint.open_stream(request, scheme=scheme, now=world.now)


def test_a_page_of_an_allowed_origin_with_a_token_is_answered(world: World) -> None:
    chat = world.browser().begin()
    world.run()
    browser = world.browsers[CLIENT]
    assert browser.status(chat.stream_id) == 200
    ask(world, chat)
    world.run()
    assert chat.text == b"hello world"
    assert chat.events[-1] == StreamEnded(0, b"tion")
    assert (world.pages.account.connections, world.pages.account.sessions, world.pages.account.begun) == (1, 1, 1)


def test_the_first_question_takes_one_round_trip_when_there_is_a_session(world: World) -> None:
    chat = world.browser().begin()
    world.run()
    world.delay = 0.2
    ask(world, chat)
    world.run(0.41)
    assert chat.text == b"hello world"


@pytest.mark.parametrize(
    ("target", "origin", "status", "said"),
    [
        ("/eloquent", ORIGIN, 401, "has no token"),
        ("/eloquent?token=forged", ORIGIN, 401, "not made with the secret"),
        ("/elsewhere", ORIGIN, 404, "nothing but /eloquent"),
        (None, "https://evil.example", 403, "--page-origins"),
        (None, None, 403, "--page-origins"),
    ],
)
def test_who_may_not_ask_is_told_why_and_stays_a_stranger(
    world: World, target: str | None, origin: str | None, status: int, said: str
) -> None:
    browser = world.browser()
    chat = browser.begin(target, origin=origin)
    world.run()
    assert (browser.status(chat.stream_id), said in browser.said(chat.stream_id)) == (status, True)
    assert chat.stream_id in browser.ended
    ask(world, chat)
    world.run(3.0)
    assert not world.events
    assert "a datagram of no session" in world.malformed
    assert browser.end is None
    world.run(10.0)
    assert browser.end is not None
    assert (world.server.connections, world.server.channels, world.pages.account.connections) == (0, 0, 0)
    assert sum(world.pages.account.refused.values()) == 1


def test_other_requests_get_a_sentence(world: World) -> None:
    browser = world.browser()
    home, nothing, post = (
        browser.ask(target, method=method, end=True) for target, method in (("/", "GET"), ("/x", "GET"), ("/", "POST"))
    )
    world.run()
    assert [browser.status(stream_id) for stream_id in (home, nothing, post)] == [200, 404, 404]
    assert "Eloquent relay" in browser.said(home)
    assert browser.ended == {home, nothing, post}


def test_sessions_of_one_connection_are_clients_of_their_own(world: World) -> None:
    browser = world.browser()
    chats = [browser.begin() for _ in range(16)]
    world.run()
    for number, chat in enumerate(chats):
        ask(world, chat, b"question %04d" % number)
    world.run(3.0)
    for number, chat in enumerate(chats):
        assert chat.text == b"hello world"
        assert chat.events[-1] == StreamEnded(0, b"%04d" % number)
    assert len({session.address for session in world.server.sessions}) == 16
    late = browser.begin()
    world.run()
    assert browser.status(late.stream_id) == 503
    assert world.pages.account.refused == {"full": 1}


@pytest.mark.parametrize("how", ["fin", "capsule", "reset", "connection"])
def test_a_page_that_leaves_ends_what_it_began_and_the_others_go_on(world: World, how: str) -> None:
    world.is_answering = False
    browser, other = world.browser(), world.browser(("10.0.0.3", 1000))
    chat, neighbour, elsewhere = browser.begin(), browser.begin(), other.begin()
    world.run()
    for each in (chat, neighbour, elsewhere):
        ask(world, each)
    world.run()
    assert [type(event) for event in world.events] == [StreamRequested] * 3
    del browser.chats[chat.stream_id]
    if how == "connection":
        del browser.chats[neighbour.stream_id]
        browser.quic.close()
    elif how == "reset":
        browser.quic.reset_stream(chat.stream_id, ErrorCode.H3_REQUEST_CANCELLED)
    else:
        browser.http.send_data(chat.stream_id, close_capsule(0, "bye") if how == "capsule" else b"", end_stream=True)
    world.run()
    ended = 2 if how == "connection" else 1
    assert [type(event) for event in world.events[3:]] == [StreamFailed, SessionLost] * ended
    assert world.pages.account.sessions == len(world.server.sessions) == 3 - ended
    if how in {"fin", "capsule"}:
        assert chat.stream_id in browser.ended
    world.is_answering = True
    ask(world, elsewhere)
    world.run()
    assert elsewhere.text == b"hello world"


@pytest.mark.parametrize("target", [None, "/eloquent", "/"])
def test_who_wants_no_answer_gets_none(world: World, target: str | None) -> None:
    """A request and STOP_SENDING in one packet: the answer cannot be said, and a session is over as it begins."""
    browser = world.browser()
    is_get = target == "/"
    stream_id = browser.ask("/", method="GET", end=True) if is_get else browser.begin(target).stream_id
    browser.quic.stop_stream(stream_id, ErrorCode.H3_REQUEST_CANCELLED)
    world.run()
    assert stream_id not in browser.answers
    assert world.pages.account.sessions == world.server.channels == 0
    assert browser.end is None
    chat = browser.begin()
    world.run()
    ask(world, chat)
    world.run()
    assert chat.text == b"hello world"


def test_a_server_that_stops_says_so_in_each_session(world: World) -> None:
    browser = world.browser()
    chats = [browser.begin() for _ in range(2)]
    world.run()
    world.server.leave()
    world.run(0.1)
    world.server.close(now=world.now)
    world.run()
    assert [browser.said(chat.stream_id) for chat in chats] == [
        close_capsule(0, "the relay stops").decode("latin-1")
    ] * 2
    assert browser.ended == {chat.stream_id for chat in chats}
    assert browser.end is not None
    assert world.server.connections == 0


def test_datagrams_of_full_size_get_through_in_every_session() -> None:
    world = World(page_limits=PageLimits(sessions_per_connection=MAX_REQUESTS))
    browser = world.browser()
    chats = [browser.begin() for _ in range(70)]  # the sessions from the 65th on take a byte more to name
    world.run(3.0)
    chat = chats[-1]
    words = [random.Random(1).randbytes(40_000)]
    ask(world, chat, b"".join(words), "eloquent")
    world.run(5.0)
    (requested,) = [event for event in world.events if isinstance(event, StreamRequested)]
    assert requested.request == words[0]
    world.is_answering = False
    ask(world, chat, b"another", "eloquent")
    world.run(1.0)
    (session,) = world.server.sessions
    session.send_token(1, words[0], now=world.now)
    world.server.touch(session)
    world.run(20.0)
    assert words[0] in chat.text
    del browser.chats[chat.stream_id]
    (channel,) = [each for each in world.server._channels._channels.values() if each.address == session.address]
    channel.carry(bytes(QUIC_DATAGRAM))
    world.server._touched[channel.connection] = None
    world.run(3.0)
    assert (chat.stream_id, bytes(QUIC_DATAGRAM)) in browser.datagrams
    assert world.server.account.oversized == world.server.account.unsent == 0


def test_pages_meet_narrower_bounds_than_edges() -> None:
    limits = PageLimits(request=10_000, streams=3)
    world = World(page_limits=limits)
    world.is_answering = False
    chat = world.browser().begin()
    world.run()
    ask(world, chat, bytes(20_000))
    world.run(3.0)
    assert [type(event) for event in chat.events] == [StreamFailed]
    assert "10000" in chat.events[0].reason.replace(",", "")
    for _ in range(4):
        ask(world, chat)
    world.run(3.0)
    assert len([event for event in world.events if isinstance(event, StreamRequested)]) == 3


def test_no_more_sessions_begin_than_pages_may_have() -> None:
    world = World(page_limits=PageLimits(sessions=2))
    browser = world.browser()
    chats = [browser.begin() for _ in range(3)]
    world.run()
    assert [browser.status(chat.stream_id) for chat in chats] == [200, 200, 503]
    browser.http.send_data(chats[0].stream_id, b"", end_stream=True)
    world.run()
    again = browser.begin()
    world.run()
    assert browser.status(again.stream_id) == 200


def test_what_arrives_through_loss_is_whole(world: World) -> None:
    world.loss = 0.3
    browser = world.browser()
    chat = browser.begin()
    world.run(30.0)
    assert browser.status(chat.stream_id) == 200
    for _ in range(20):
        ask(world, chat)
        world.run(2.0)
    world.run(30.0)
    assert chat.text == b"hello world" * 20


@pytest.mark.parametrize(
    "excess",
    ["requests", "streams", "header", "body", "all"],
)
def test_streams_that_bring_too_much_close_the_connection(world: World, excess: str) -> None:
    browser = world.browser()
    chat = browser.begin()
    world.run()
    for number in range(MAX_REQUESTS + 1):
        match excess:
            case "requests":
                browser.ask("/", method="GET", end=True)
            case "streams" if number <= MAX_OTHER_STREAMS:
                browser.http.create_webtransport_stream(chat.stream_id, is_unidirectional=True)
            case "header" if number == 0:
                browser.ask("/" + "x" * (2 * MAX_REQUEST), method="GET")
            case "body":
                browser.http.send_data(chat.stream_id, bytes(1000), end_stream=False)
            case "all":
                stream_id = browser.http.create_webtransport_stream(chat.stream_id, is_unidirectional=number % 2 == 0)
                with suppress(AssertionError):
                    browser.quic.send_stream_data(stream_id, bytes(2 * MAX_ALL // MAX_REQUESTS))
        world.run(0.1)
        if browser.end is not None:
            break
    assert browser.end is not None
    assert browser.end.error_code == ErrorCode.H3_EXCESSIVE_LOAD
    assert world.pages.account.sessions == 0


def test_fields_that_would_unpack_to_much_are_not_read(world: World) -> None:
    """A compressor's dynamic table is not there: a block that refers to it is an error of its connection."""
    browser = world.browser()
    world.run()
    encoder = browser.http._local_encoder_stream_id
    assert encoder is not None
    browser.quic.send_stream_data(encoder, bytes.fromhex("3fe11f") + b"\x41x\x7f\x81\x1e" + bytes(4000))
    world.run()
    assert browser.end is not None
    assert browser.end.error_code == ErrorCode.QPACK_ENCODER_STREAM_ERROR


def test_streams_inside_a_session_are_not_taken(world: World) -> None:
    browser = world.browser()
    chat = browser.begin()
    world.run()
    for is_one_way in (True, False):
        stream_id = browser.http.create_webtransport_stream(chat.stream_id, is_unidirectional=is_one_way)
        browser.quic.send_stream_data(stream_id, b"data")
        world.run()
        assert stream_id in browser.stopped
    ask(world, chat)
    world.run()
    assert chat.text == b"hello world"


@pytest.mark.parametrize("is_let_in", [True, False])
def test_the_memory_of_a_connection_is_free_as_soon_as_it_is_over(world: World, is_let_in: bool) -> None:
    """And not when the interpreter next looks for circles: strangers would come faster than that."""
    browser = world.browser()
    browser.begin(None if is_let_in else "/eloquent")
    world.run(1.0)
    gc.collect()
    gc.disable()
    try:
        (peer,) = world.server._peers  # by connection
        connection = weakref.ref(peer)
        del peer
        browser.quic.close()
        world.run(1.0)
        assert connection() is None
    finally:
        gc.enable()
