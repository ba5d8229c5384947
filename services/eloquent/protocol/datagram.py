"""Datagrams of a session and their one encoding (docs/protocol.md §2, §5).

    version and kind (1) | connection id (8) | packet number (varint) | body | CRC-32 of all before it (4)

Rules of this file
- A kind belongs to one side: what a client says no server ever says. So whoever gets its own side's kind drops it, and no
  datagram, whatever its source claims to be, can make two servers, or one with itself, answer each other.
- Every truncation and every damaged byte raises `MalformedPacket`: a CRC-32 finds each error burst of up to 32 bits, and
  any other with probability 1 - 2^-32.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from zlib import crc32

from eloquent.errors import MalformedPacket
from eloquent.protocol.varint import MAX_VARINT, MAX_VARINT_SIZE, ByteReader, decode_varint, encode_varint

VERSION = 2
MAX_DATAGRAM = 1200  # bytes of UDP payload that every path carries whole (RFC 9000 §14)
CONNECTION_ID_SIZE = 8  # bytes
ADDRESS_TOKEN_SIZE = 22  # bytes
MAX_REASON = 256  # bytes of UTF-8
MAX_ASKED = 256  # streams that one ping asks about
HELLO_PADDING = bytes(24)  # so that what answers a hello is hardly longer than it
_CHECKSUM_SIZE = 4  # bytes
_FIXED_SIZE = 1 + CONNECTION_ID_SIZE
_SERVER_BIT = 8  # of the kind: said by servers

PAYLOAD_BUDGET = MAX_DATAGRAM - _FIXED_SIZE - 2 * MAX_VARINT_SIZE - _CHECKSUM_SIZE
"""Bytes that a stream's payload may take in one datagram, whatever its packet number and stream id."""


@dataclass(frozen=True, slots=True)
class Hello:
    """Client: ask for an address token."""


@dataclass(frozen=True, slots=True)
class Open:
    """Client: like `Request`, and a new session may begin with it.

    Attributes:
        token: What `Retry` gave for the client's address.
        stream_id: The stream.
        payload: `Data` of the request.
    """

    token: bytes
    stream_id: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """Client: `Data` of a request."""

    stream_id: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class AnswerAck:
    """Client: `Ack` of an answer."""

    stream_id: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Cancel:
    """Client: the stream is not wanted, or not known here."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class Ping:
    """Client: ask for a sign of life, and whether these streams are still open.

    Attributes:
        streams: Ids of streams that the server has accepted, ascending, at most 256.
    """

    streams: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Leave:
    """Client: the session is over."""

    reason: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Server: prove that you receive at your address, by saying this token.

    Attributes:
        number: Packet number of what it answers.
        token: 22 bytes.
    """

    number: int
    token: bytes


@dataclass(frozen=True, slots=True)
class RequestAck:
    """Server: `Ack` of a request."""

    stream_id: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """Server: `Data` of an answer."""

    stream_id: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Server: the stream is not open here, or no longer.

    Attributes:
        stream_id: The stream.
        reason: One sentence, or nothing if the client wanted it so.
    """

    stream_id: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Pong:
    """Server: the sign of life.

    Attributes:
        number: Packet number of the ping.
    """

    number: int


@dataclass(frozen=True, slots=True)
class Close:
    """Server: the session is over, or is not to be had from the client's address.

    Attributes:
        number: Packet number of what it answers, or the highest that came.
        reason: One sentence.
        renew: Whether the client may go on with a new session: the server does not have this one, and nothing of what it
            answers was done.
    """

    number: int
    reason: str
    renew: bool = False


ClientBody = Hello | Open | Request | AnswerAck | Cancel | Ping | Leave
ServerBody = Retry | RequestAck | Answer | Cancelled | Pong | Close
Body = ClientBody | ServerBody
CLIENT_KINDS: tuple[type[ClientBody], ...] = (Hello, Open, Request, AnswerAck, Cancel, Ping, Leave)
SERVER_KINDS: tuple[type[ServerBody], ...] = (Retry, RequestAck, Answer, Cancelled, Pong, Close)
_KINDS: dict[int, type[Body]] = {**dict(enumerate(CLIENT_KINDS)), **dict(enumerate(SERVER_KINDS, start=_SERVER_BIT))}
_FIRST_BYTES = {kind: bytes([VERSION << 4 | number]) for number, kind in _KINDS.items()}
_NAMES = {kind: re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower() for kind in _KINDS.values()}


@dataclass(frozen=True, slots=True)
class Datagram:
    """One datagram.

    Attributes:
        connection_id: 8 bytes that name the session.
        number: Grows with each datagram that one side of a session sends.
        body: What it says.
    """

    connection_id: bytes
    number: int
    body: Body


def kind_name(body: Body) -> str:
    """Return the kind of a datagram as labels of metrics say it, such as `answer_ack`."""
    return _NAMES[type(body)]


def encode_datagram(datagram: Datagram) -> bytes:
    """Encode a datagram.

    Raises:
        ValueError: The result would not fit 1200 bytes, or a field is out of range.
    """
    if len(datagram.connection_id) != CONNECTION_ID_SIZE:
        raise ValueError(f"a connection id has {CONNECTION_ID_SIZE} bytes")
    first = _FIRST_BYTES[type(datagram.body)]
    content = first + datagram.connection_id + encode_varint(datagram.number) + _encode_body(datagram.body)
    if len(content) + _CHECKSUM_SIZE > MAX_DATAGRAM:
        raise ValueError(f"a datagram has at most {MAX_DATAGRAM} bytes")
    return content + crc32(content).to_bytes(_CHECKSUM_SIZE)


def decode_datagram(data: bytes) -> Datagram:
    """Decode a datagram.

    Raises:
        MalformedPacket: It is too long, truncated, damaged, of another version, or not ours at all.
    """
    if not _FIXED_SIZE + _CHECKSUM_SIZE < len(data) <= MAX_DATAGRAM:
        raise MalformedPacket(f"a datagram of {len(data)} bytes is not one of ours")
    content = data[:-_CHECKSUM_SIZE]
    if crc32(content) != int.from_bytes(data[-_CHECKSUM_SIZE:]):
        raise MalformedPacket("the checksum does not agree")
    if (decode := _BY_FIRST_BYTE.get(content[0])) is None:
        raise MalformedPacket(f"there is no kind {content[0] & 0x0F} in version {content[0] >> 4}")
    number, start = decode_varint(content, _FIXED_SIZE)
    return Datagram(content[1:_FIXED_SIZE], number, decode(content, start))


def _encode_body(body: Body) -> bytes:
    match body:
        case Request() | AnswerAck() | RequestAck() | Answer():
            encoded = encode_varint(body.stream_id) + body.payload
        case Hello():
            encoded = HELLO_PADDING
        case Open(token, stream_id, payload):
            encoded = _token(token) + encode_varint(stream_id) + payload
        case Cancel(stream_id):
            encoded = encode_varint(stream_id)
        case Ping(streams):
            encoded = _encode_streams(streams)
        case Leave(reason):
            encoded = _encode_reason(reason)
        case Retry(number, token):
            encoded = encode_varint(number) + _token(token)
        case Pong(number):
            encoded = encode_varint(number)
        case Cancelled(stream_id, reason):
            encoded = encode_varint(stream_id) + _encode_reason(reason)
        case Close(number, reason, renew):
            encoded = encode_varint(number) + encode_varint(renew) + _encode_reason(reason)
    return encoded


def _decode_hello(reader: ByteReader) -> Hello:
    if reader.rest() != HELLO_PADDING:
        raise MalformedPacket("a hello has other content than its padding")
    return Hello()


def _decode_open(reader: ByteReader) -> Open:
    return Open(reader.take(ADDRESS_TOKEN_SIZE), reader.varint(), reader.rest())


def _decode_close(reader: ByteReader) -> Close:
    number, renew = reader.varint(), reader.varint()
    if renew > 1:
        raise MalformedPacket("a session is renewed or not")
    return Close(number, _decode_reason(reader), bool(renew))


def _token(token: bytes) -> bytes:
    if len(token) != ADDRESS_TOKEN_SIZE:
        raise ValueError(f"an address token has {ADDRESS_TOKEN_SIZE} bytes")
    return token


def _encode_reason(reason: str) -> bytes:
    text = reason.encode()
    if len(text) > MAX_REASON:
        raise ValueError(f"a reason has at most {MAX_REASON} bytes")
    return text


def _decode_reason(reader: ByteReader) -> str:
    text = reader.rest()
    if len(text) > MAX_REASON:
        raise MalformedPacket("a reason is too long")
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise MalformedPacket("a reason is not text") from error


def _encode_streams(streams: tuple[int, ...]) -> bytes:
    if len(streams) > MAX_ASKED:
        raise ValueError(f"a ping asks about at most {MAX_ASKED} streams")
    parts, previous = [], -1
    for stream_id in streams:
        if stream_id <= previous:
            raise ValueError("the streams of a ping ascend")
        parts.append(encode_varint(stream_id - previous - 1))
        previous = stream_id
    return b"".join(parts)


def _decode_streams(reader: ByteReader) -> tuple[int, ...]:
    streams: list[int] = []
    previous = -1
    while not reader.at_end:
        if len(streams) == MAX_ASKED:
            raise MalformedPacket("a ping asks about too many streams")
        previous += reader.varint() + 1
        if previous > MAX_VARINT:
            raise MalformedPacket("a ping asks about a stream whose id is out of range")
        streams.append(previous)
    return tuple(streams)


def _decode_of_stream(kind: type[Request | AnswerAck | RequestAck | Answer], content: bytes, start: int) -> Body:
    stream_id, start = decode_varint(content, start)
    return kind(stream_id, content[start:])


def _decode_whole(kind: type[Body], content: bytes, start: int) -> Body:
    reader = ByteReader(content[start:])
    body = _DECODERS[kind](reader)
    if not reader.at_end:
        raise MalformedPacket("something follows the end of the packet")
    return body


_DECODERS: dict[type[Body], Callable[[ByteReader], Body]] = {
    Hello: _decode_hello,
    Open: _decode_open,
    Cancel: lambda reader: Cancel(reader.varint()),
    Ping: lambda reader: Ping(_decode_streams(reader)),
    Leave: lambda reader: Leave(_decode_reason(reader)),
    Retry: lambda reader: Retry(reader.varint(), reader.take(ADDRESS_TOKEN_SIZE)),
    Cancelled: lambda reader: Cancelled(reader.varint(), _decode_reason(reader)),
    Pong: lambda reader: Pong(reader.varint()),
    Close: _decode_close,
}

_OF_STREAM: tuple[type[Request | AnswerAck | RequestAck | Answer], ...] = (Request, AnswerAck, RequestAck, Answer)
_BY_FIRST_BYTE: dict[int, Callable[[bytes, int], Body]] = {
    **{_FIRST_BYTES[kind][0]: partial(_decode_whole, kind) for kind in _DECODERS},
    **{_FIRST_BYTES[kind][0]: partial(_decode_of_stream, kind) for kind in _OF_STREAM},
}
