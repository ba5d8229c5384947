"""What is fuzzed: for each parser of bytes from the network a function that raises only if the parser is at fault.

A parser may refuse what it reads by the error that its contract names. Whatever it takes has to hold its promise: it is the
one encoding of what was read, or the same however the bytes were cut, or within its bound.
"""

import asyncio
import datetime as dt
import random
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from math import inf
from zlib import crc32

from aioquic.h3.connection import H3Connection, ProtocolError
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.tls import Epoch
from starlette.types import Receive, Scope, Send

from eloquent import schemes
from eloquent.api.v1.exchange_pb2 import Ask, HttpHead, Outcome
from eloquent.calls import chat_request
from eloquent.calls.answer import AnswerFailed
from eloquent.calls.chat_stream import DeltaReader
from eloquent.calls.sse import EventReader
from eloquent.errors import EmulationError, MalformedPacket, RemoteProtocolError
from eloquent.fleet.records import inflate
from eloquent.http3.settings import client_configuration, server_configuration
from eloquent.nodes.token_server.quic_account import PacketLogger
from eloquent.nodes.token_server.quic_frontend import Http3Connection
from eloquent.protocol.contract import TokenReceived
from eloquent.protocol.datagram import MAX_DATAGRAM, decode_datagram, encode_datagram
from eloquent.protocol.frames import MAX_TOKEN, Fragment, decode_payload, encode_payload
from eloquent.protocol.history import History
from eloquent.protocol.limits import EndpointLimits
from eloquent.protocol.packed import decode_packed, is_packed, pack
from eloquent.protocol.packed_receiver import PackedReceiver
from eloquent.protocol.receiver import MAX_UNREAD_BYTES, MAX_WAITING_BYTES
from eloquent.protocol.session import StreamRequested
from eloquent.relay.exchange import decode_ask, decode_head, decode_outcome
from eloquent.relay.quic import edges
from eloquent.relay.quic.account import QuicAccount
from eloquent.relay.quic.certificate import derive_bearer, derive_identity, make_certificate
from eloquent.relay.quic.connection import DatagramConnection, configure
from eloquent.relay.quic.limits import QUIC_DATAGRAM
from eloquent.relay.quic.pages import PageRefused, Pages
from eloquent.relay.quic.server import QuicServer
from eloquent.relay.quic.webtransport import WebTransport
from eloquent.relay.sealed.association import Association
from eloquent.relay.sealed.client import SealedClient
from eloquent.relay.sealed.noise import KEY_SIZE, HandshakeFailed, Initiator, Psk, Responder
from eloquent.relay.sealed.packets import (
    PROLOGUE,
    SEAL_SIZE,
    SERIAL_SIZE,
    Accept,
    Initiation,
    PongContent,
    restore,
    shorten,
)
from eloquent.relay.sealed.server import SealedServer
from eloquent.relay.sealed.transport import Opener, Sealer
from eloquent.relay.upstreams.http import MAX_EVENT, EventSplitter

KEY = bytes(range(32))
CLIENT, SERVER = ("10.0.0.1", 1000), ("10.0.0.2", 443)
ORIGIN = "https://chat.example"
PAGES = Pages([ORIGIN], bytes(range(64)))
CERTIFICATE = make_certificate(derive_identity(KEY), now=dt.datetime.now(dt.UTC))
CONNECT = [(b":method", b"CONNECT"), (b":protocol", b"webtransport"), (b":scheme", b"https"), (b":authority", b"a")]
HEAD = bytes.fromhex("3101020304")
LIMITS = EndpointLimits(sessions_per_source=16, requests_per_session=1 << 16)


def datagram(data: bytes) -> None:
    """A datagram of a session, as it is and with a checksum that agrees."""
    for said in (data, data + crc32(data).to_bytes(4)):
        with suppress(MalformedPacket):
            assert encode_datagram(decode_datagram(said)) == said


def frames(data: bytes) -> None:
    """What a datagram says about a stream."""
    with suppress(MalformedPacket):
        assert encode_payload(decode_payload(data)) == data


def packed(data: bytes) -> None:
    """A packed payload, and what payloads do to a receiver that has the beginning of a stream."""
    with suppress(MalformedPacket):
        decode_packed(data)
    receiver, following = PackedReceiver(), 0
    for said in (_BEGINNING, *_messages(data)):
        with suppress(RemoteProtocolError):
            receiver.receive_datagram(said, now=0.0)
        assert receiver.held <= MAX_WAITING_BYTES + MAX_TOKEN + MAX_UNREAD_BYTES
        for acknowledgement in receiver.datagrams_to_send(now=0.0):
            assert not is_packed(acknowledgement)
        while (event := receiver.next_event()) is not None:
            if isinstance(event, TokenReceived):
                assert event.index == following
                following += 1


def sealed(data: bytes) -> None:
    """A sealed datagram: one of a stranger, and one that is sealed with the key and says anything."""
    opener = Opener(KEY)
    with suppress(RemoteProtocolError):
        opener.open(data)
        raise AssertionError("a forged datagram opens")
    kind, content = (data or b"\1")[0] or 1, data[1:]
    said = Sealer(KEY, now=0.0).seal(HEAD, content, kind, size=len(content) + SEAL_SIZE, now=0.0)
    assert opener.open(said) == (0, kind, content)
    with suppress(MalformedPacket):
        restored = restore(content, bytes(SERIAL_SIZE))
        assert restore(shorten(restored), bytes(SERIAL_SIZE)) == restored
    with suppress(MalformedPacket):
        PongContent.decode(content)


def noise(data: bytes) -> None:
    """Messages of a handshake: a stranger's, and those of somebody with the key, whatever his public key and payload."""
    psk, public, payload = Psk(KEY, prologue=PROLOGUE), data[:KEY_SIZE].ljust(KEY_SIZE, b"\0"), data[KEY_SIZE:]
    initiator = Initiator(psk, KEY)
    initiator.write_first(b"")
    for read in (lambda: Responder.read(psk, data), lambda: initiator.read_second(data)):
        with suppress(HandshakeFailed):
            read()
            raise AssertionError("a handshake message that was not made with the key is taken")
    beginning = psk.begin()
    beginning.mix_ephemeral(public)
    responder = Responder.read(psk, public + beginning.encrypt(payload))
    assert responder.payload == payload
    Initiation.decode(payload)
    with suppress(MalformedPacket):
        Accept.decode(payload)
    with suppress(HandshakeFailed):
        responder.write_second(KEY, payload)


def server(data: bytes) -> None:
    """An origin's endpoint, to which a client with the key says anything, or a stranger does."""
    server, client = _joined()
    association, now = client._association, 1.0
    assert association is not None
    for message in _messages(data):
        now += 0.25
        with suppress(RemoteProtocolError):
            server.receive_datagram(_said_by(association, message, now), CLIENT, now=now)
        _serve(server, now)
    assert server.associations <= 1
    assert len(server.sessions) <= LIMITS.sessions_per_source


def client(data: bytes) -> None:
    """An edge's endpoint, to which its server says anything, or a stranger does."""
    server, client = _joined()
    (peer,) = server._peers.values()
    now = 1.0
    for message in _messages(data):
        now += 0.25
        with suppress(RemoteProtocolError):
            client.receive_datagram(_said_by(peer.association, message, now), now=now)
        while client.next_event() is not None:
            pass
        due = client.get_timer()
        if due is not None and due <= now:
            client.handle_timer(now=now)
        client.datagrams_to_send(now=now)


def page(data: bytes) -> None:
    """A browser's address as a page uses it, its token, and the fields of its request."""
    with suppress(PageRefused):
        PAGES.admit(f"/eloquent?token={data.decode('latin-1')}", ORIGIN)
        raise AssertionError("a token is taken that was not made with the secret")
    with suppress(PageRefused):
        assert PAGES.admit(data.decode("latin-1"), ORIGIN) is None
    with suppress(RemoteProtocolError):
        ask = decode_ask(data)
        PAGES.restrict(ask, inf)
        assert ask.http.target.partition("?")[0] in {"", *(target.split(" ")[1] for target in PAGES.targets)}
        assert all(field.value.isascii() or b"\n" not in field.value for field in ask.http.fields)


def quic(data: bytes) -> None:
    """A server of edges over QUIC, to which a stranger says anything on the wire, in frames of his connection, and as an edge."""
    server, edge = _connected()
    now = 1.0
    for message in _messages(data):
        now += 0.25
        kind, content = message[0] % 4 if message else 0, message[1:]
        said = content
        if kind == 1:  # what begins a connection, with anything after the version
            said = (bytes([message[0] | 0xC0]) + (1).to_bytes(4) + content).ljust(1200, b"\0")
        elif kind == 2 and not edge.is_over:
            said = _frames(edge, content)
        elif kind == 3 and not edge.is_over:
            edge.carry(content)
            said = b"".join(data for data, _ in edge.flush(now=now))
        with suppress(RemoteProtocolError):
            server.receive_datagram(said, CLIENT, now=now)
        due = server.get_timer()
        if due is not None and due <= now:
            server.handle_timer(now=now)
        while server.next_event() is not None:
            pass
        for answer, _ in server.datagrams_to_send(now=now):
            edge.receive_datagram(answer, SERVER, now=now)
        while edge.next_event() is not None:
            pass
    assert server.connections <= 1
    assert server.channels <= 1


def webtransport(data: bytes) -> None:
    """A server of pages, to which somebody with a session says anything on streams and in datagrams, inside his connection."""
    server, browser, session = _browsing()
    now = 1.0
    for message in _messages(data):
        now += 0.5
        _say(browser, session, message)
        if not message[:1] or message[0] & 8:  # else with what comes next
            _carry(server, browser, now)
    browser._quic.close()
    _carry(server, browser, now + 1.0)
    assert not server.connections
    assert not server.channels


def exchange(data: bytes) -> None:
    """The messages that relays say to each other inside streams."""
    with suppress(RemoteProtocolError):
        ask = decode_ask(data)
        assert Ask.FromString(ask.SerializeToString()) == ask
    with suppress(RemoteProtocolError):
        assert 200 <= HttpHead.FromString(decode_head(data).SerializeToString()).status <= 599
    assert Outcome.FromString(decode_outcome(data).SerializeToString()) is not None


def splitter(data: bytes) -> None:
    """A model server's event stream, cut into events without changing a byte."""
    events = EventSplitter()
    cut = [event for piece in _pieces(data) for event in events.feed(piece)]
    assert b"".join(cut) + events.rest == data[1:]
    assert len(events.rest) <= MAX_EVENT


def event_reader(data: bytes) -> None:
    """An event stream: the same events, however it is cut."""
    reader = EventReader()
    assert [event for piece in _pieces(data) for event in reader.feed(piece)] == list(EventReader().feed(data[1:]))


def answer(data: bytes) -> None:
    """A streamed answer: the same tokens and the same end, however it is cut."""
    assert _answer(_pieces(data)) == _answer([data[1:]])


def chat(data: bytes) -> None:
    """A request for a chat completion."""
    with suppress(chat_request.InvalidRequest):
        request = chat_request.parse(data)
        assert request.words >= len(request.prompt.split())


def http3(data: bytes) -> None:
    """A client of the token server over HTTP/3 that says anything: on a request's stream, on another, and in datagrams."""
    asyncio.run(_speak_http3(list(_messages(data))))


def record(data: bytes) -> None:
    """A file of a lab's records, as it comes from a worker."""
    with suppress(EmulationError):
        assert len(inflate(data, most=4096)) <= 4096


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        datagram,
        frames,
        packed,
        sealed,
        noise,
        server,
        client,
        page,
        quic,
        webtransport,
        exchange,
        splitter,
        event_reader,
        answer,
        chat,
        http3,
        record,
    )
}


def _connected() -> tuple[QuicServer, DatagramConnection]:
    """Return a server of edges, and the connection of one that has shown the key."""
    server = QuicServer(
        schemes.get,
        applications={edges.ALPN: edges.Edges(derive_bearer(KEY, CERTIFICATE.certificate))},
        certificate=CERTIFICATE,
        draw=random.Random(1).randbytes,
        limits=LIMITS,
    )
    configuration = configure(is_client=True, protocols=[edges.ALPN])
    configuration.verify_mode = ssl.CERT_NONE
    edge = DatagramConnection(QuicAccount(), configuration=configuration)
    edge.connect(SERVER, now=0.0)
    ask = edges.encode_ask(derive_bearer(KEY, CERTIFICATE.certificate), bytes(edges.CHANNEL_NAME_SIZE))
    edge.send_stream_data(edge.get_next_available_stream_id(), ask, end_stream=True)
    for step in range(20):
        now = 0.02 * step
        for data, _ in edge.flush(now=now):
            server.receive_datagram(data, CLIENT, now=now)
            for answer, _ in server.datagrams_to_send(now=now):
                edge.receive_datagram(answer, SERVER, now=now)
    assert server.channels == 1
    return server, edge


def _frames(edge: DatagramConnection, content: bytes) -> bytes:
    """Return a packet of an edge with any frames."""
    edge._packet_number = number = edge._packet_number + 1
    head = bytes([0x41]) + edge._peer_cid.cid + (number & 0xFFFF).to_bytes(2)
    return edge._cryptos[Epoch.ONE_RTT].encrypt_packet(head, content.ljust(4, b"\0"), number)


def _browsing() -> tuple[QuicServer, H3Connection, int]:
    """Return a server of pages, and a browser's side of a connection with a session, with the stream of that."""
    server = QuicServer(
        schemes.get,
        applications={"h3": WebTransport(Pages(["*"]))},
        certificate=CERTIFICATE,
        draw=random.Random(1).randbytes,
        limits=LIMITS,
    )
    configuration = QuicConfiguration(alpn_protocols=["h3"], max_datagram_frame_size=65536, server_name="eloquent")
    configuration.verify_mode = ssl.CERT_NONE
    quic = QuicConnection(configuration=configuration)
    quic.connect(SERVER, now=0.0)
    browser = H3Connection(quic, enable_webtransport=True)
    session = quic.get_next_available_stream_id()
    browser.send_headers(session, [*CONNECT, (b":path", b"/eloquent")])
    _carry(server, browser, 0.0)
    assert server.channels == 1
    return server, browser, session


def _say(browser: H3Connection, session: int, message: bytes) -> None:
    """Say what the first byte of a message tells: which kind of thing, and on which stream."""
    kind, content, quic = message[0] if message else 0, message[1:], browser._quic
    stream_id = kind // 16 * 2 % 64
    with suppress(AssertionError, RuntimeError, ValueError, ProtocolError):  # what aioquic itself refuses to say
        match kind % 8:
            case 0:
                quic.send_datagram_frame(content[:QUIC_DATAGRAM])
            case 1:
                browser.send_datagram(session, content[:QUIC_DATAGRAM])
            case 2 | 3:
                quic.send_stream_data(stream_id, content, end_stream=kind % 8 == 3)
            case 4:
                quic.reset_stream(stream_id, len(content))
            case 5:
                quic.stop_stream(stream_id, len(content))
            case 6:
                browser.send_headers(quic.get_next_available_stream_id(), [*CONNECT, (b":path", content)], kind >= 128)
            case 7:
                browser.send_data(session, content, end_stream=kind >= 128)


def _carry(server: QuicServer, browser: H3Connection, now: float) -> None:
    """Carry datagrams until both sides are quiet, each way in 10 ms."""
    for step in range(20):
        at = now + 0.02 * step
        asked = browser._quic.datagrams_to_send(now=at)
        for data, _ in asked:
            with suppress(RemoteProtocolError):
                server.receive_datagram(data, CLIENT, now=at)
        due = server.get_timer()
        if due is not None and due <= at:
            server.handle_timer(now=at)
        said = server.datagrams_to_send(now=at)
        while server.next_event() is not None:
            pass
        for data, _ in said:
            browser._quic.receive_datagram(data, SERVER, now=at)
        while (event := browser._quic.next_event()) is not None:
            browser.handle_event(event)
        if not asked and not said and step:
            break


_SETTINGS = server_configuration("reno")
_SETTINGS.certificate, _SETTINGS.private_key = CERTIFICATE.certificate, CERTIFICATE.private_key
_SETTINGS.quic_logger = PacketLogger()


async def _echo(_: Scope, receive: Receive, send: Send) -> None:
    """Answer a request with itself."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    is_more = True
    while is_more and (came := await receive())["type"] == "http.request":
        is_more = came["more_body"]
        await send({"type": "http.response.body", "body": came["body"], "more_body": is_more})


async def _speak_http3(messages: list[bytes]) -> None:
    """Say messages to a server; the first byte of each tells where, with the end of it or without."""
    client = QuicConnection(configuration=client_configuration())
    client.connect(CLIENT, 0.0)
    logger = _SETTINGS.quic_logger
    assert isinstance(logger, PacketLogger)
    quic = QuicConnection(
        configuration=_SETTINGS, original_destination_connection_id=client.original_destination_connection_id
    )
    server = Http3Connection(quic, app=_echo, logger=logger)
    server.connection_made(_Wire(client))
    _deliver(client, server)
    streams = client.get_next_available_stream_id(), client.get_next_available_stream_id(is_unidirectional=True)
    for message in messages:
        where, content = message[0] if message else 0, message[1:]
        with suppress(AssertionError, RuntimeError, ValueError):  # what aioquic itself refuses to say
            if where % 3 == 2:
                client.send_datagram_frame(content[:QUIC_DATAGRAM])
            else:
                client.send_stream_data(streams[where % 3], content, end_stream=where > 0xF0)
        _deliver(client, server)
        await asyncio.sleep(0)
    server.close()
    _deliver(client, server)
    await asyncio.sleep(0)


class _Wire(asyncio.DatagramTransport):
    """Carries what the server sends to a client."""

    def __init__(self, client: QuicConnection) -> None:
        super().__init__({"sockname": ("10.0.0.2", 443)})
        self._client = client

    def sendto(self, data: bytes, addr: object = None) -> None:
        assert addr == CLIENT
        self._client.receive_datagram(data, CLIENT, now=asyncio.get_running_loop().time())


def _deliver(client: QuicConnection, server: Http3Connection) -> None:
    while said := client.datagrams_to_send(now=asyncio.get_running_loop().time()):
        for data, _ in said:
            server.datagram_received(data, CLIENT)


def _messages(data: bytes) -> Iterator[bytes]:
    """Yield the messages of an input: for each the length in two bytes, and the content."""
    position = 0
    while position < len(data):
        stop = position + 2 + int.from_bytes(data[position : position + 2]) % 2048
        yield data[position + 2 : stop]
        position = stop


def _said_by(association: Association, message: bytes, now: float) -> bytes:
    """Return a message as it is, if it begins with zero; else one of the type that its first byte tells, sealed."""
    kind, content = message[:1], message[1 : 1 + MAX_DATAGRAM - SEAL_SIZE]
    return association.seal_control(kind[0], content, now=now) if any(kind) else content  # type: ignore[arg-type]


def _pieces(data: bytes) -> list[bytes]:
    """Cut an input into pieces of the length that its first byte tells."""
    size = data[0] or 1 if data else 1
    return [data[start : start + size] for start in range(1, len(data), size)]


def _answer(pieces: list[bytes]) -> tuple[list[object], str]:
    reader = DeltaReader()
    tokens: list[object] = []
    try:
        for piece in pieces:
            tokens += reader.feed(piece)
        reader.finish()
    except AnswerFailed as error:
        return tokens, str(error)
    return tokens, ""


def _beginning() -> bytes:
    history = History()
    events = [b'data: {"choices":[{"delta":{"content":"word %d"}}]}\n\n' % i for i in range(4)]
    for event in events:
        history.append(event)
    return pack(0, [Fragment(index, event) for index, event in enumerate(events)], history)


_BEGINNING = _beginning()


def _joined() -> tuple[SealedServer, SealedClient]:
    """Return a server and a client with an association and one open stream of each scheme that the relays use."""
    server = SealedServer(schemes.get, key=KEY, draw=random.Random(1).randbytes, limits=LIMITS)
    client = SealedClient(schemes.get, key=KEY, draw=random.Random(2).randbytes)
    for scheme in ("eloquent-packed", "retransmit"):
        client.open_stream(b"question", scheme=scheme, now=0.0)
    while said := client.datagrams_to_send(now=0.0):
        for data in said:
            server.receive_datagram(data, CLIENT, now=0.0)
        for data in _serve(server, 0.0):
            client.receive_datagram(data, now=0.0)
    return server, client


def _serve(server: SealedServer, now: float) -> list[bytes]:
    """Answer what was asked with a few tokens, and return what is to be sent."""
    due = server.get_timer()
    if due is not None and due <= now:
        server.handle_timer(now=now)
    while (happened := server.next_event()) is not None:
        session, event = happened
        if isinstance(event, StreamRequested):
            for word in (b"hello", b" world"):
                session.send_token(event.stream_id, word, now=now)
            server.touch(session)
    return [data for data, _ in server.datagrams_to_send(now=now)]
