"""Datagrams of a session and their one encoding (docs/protocol.md §2, §5).

    version and kind (1) | connection id (8) | packet number (varint) | body | CRC-32 of all before it (4)

The body begins with the stream id where the kind has one. Every truncation and every damaged byte raises
`MalformedPacket` and nothing else does harm: a CRC-32 finds each error burst of up to 32 bits, and any other with
probability 1 - 2^-32.
"""

from dataclasses import dataclass
from zlib import crc32

from eloquent.errors import MalformedPacket
from eloquent.protocol.varint import MAX_VARINT_SIZE, Reader, encode_varint

VERSION = 1
MAX_DATAGRAM = 1200  # bytes of UDP payload that every path carries whole (RFC 9000 §14)
CONNECTION_ID_SIZE = 8  # bytes
MAX_REASON = 256  # bytes of UTF-8
_CHECKSUM_SIZE = 4  # bytes
_FIXED_SIZE = 1 + CONNECTION_ID_SIZE

PAYLOAD_BUDGET = MAX_DATAGRAM - _FIXED_SIZE - 2 * MAX_VARINT_SIZE - _CHECKSUM_SIZE
"""Bytes that a stream's payload may take in one datagram, whatever its packet number and stream id."""


@dataclass(frozen=True, slots=True)
class Open:
    """Like `Request`, from a client that does not rely on any state of the server: a new session may begin with it."""

    stream_id: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """About a client's request: `Data` from the client, `Ack` from the server."""

    stream_id: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """About the answer: `Data` from the server, `Ack` from the client."""

    stream_id: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Cancel:
    """This side has no such stream, or wants it no longer. The server answers it with the same."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class Ping:
    """Ask for a sign of life."""


@dataclass(frozen=True, slots=True)
class Pong:
    """The sign of life.

    Attributes:
        number: Packet number of the ping.
    """

    number: int


@dataclass(frozen=True, slots=True)
class Close:
    """The session is over, or was never known.

    Attributes:
        number: The highest packet number that came from the peer, by which the peer tells a stale one.
        reason: One sentence.
    """

    number: int
    reason: str


Body = Open | Request | Answer | Cancel | Ping | Pong | Close
_KINDS: tuple[type[Body], ...] = (Open, Request, Answer, Cancel, Ping, Pong, Close)


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
    """Return the kind of a datagram in lower case, as labels of metrics say it."""
    return type(body).__name__.lower()


def encode_datagram(datagram: Datagram) -> bytes:
    """Encode a datagram.

    Raises:
        ValueError: The result would not fit 1200 bytes, or a field is out of range.
    """
    if len(datagram.connection_id) != CONNECTION_ID_SIZE:
        raise ValueError(f"a connection id has {CONNECTION_ID_SIZE} bytes")
    first = VERSION << 4 | _KINDS.index(type(datagram.body))
    content = bytes([first]) + datagram.connection_id + encode_varint(datagram.number) + _encode_body(datagram.body)
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
    content, checksum = data[:-_CHECKSUM_SIZE], data[-_CHECKSUM_SIZE:]
    if crc32(content).to_bytes(_CHECKSUM_SIZE) != checksum:
        raise MalformedPacket("the checksum does not agree")
    version, kind = content[0] >> 4, content[0] & 0x0F
    if version != VERSION or kind >= len(_KINDS):
        raise MalformedPacket(f"there is no kind {kind} in version {version}")
    reader = Reader(content[1:])
    connection_id = reader.take(CONNECTION_ID_SIZE)
    datagram = Datagram(connection_id, reader.varint(), _decode_body(_KINDS[kind], reader))
    if not reader.at_end:
        raise MalformedPacket("something follows the end of the packet")
    return datagram


def _encode_body(body: Body) -> bytes:
    match body:
        case Open(stream_id, payload) | Request(stream_id, payload) | Answer(stream_id, payload):
            return encode_varint(stream_id) + payload
        case Cancel(stream_id):
            return encode_varint(stream_id)
        case Ping():
            return b""
        case Pong(number):
            return encode_varint(number)
        case Close(number, reason):
            text = reason.encode()
            if len(text) > MAX_REASON:
                raise ValueError(f"a reason has at most {MAX_REASON} bytes")
            return encode_varint(number) + text


def _decode_body(kind: type[Body], reader: Reader) -> Body:
    if kind is Ping:
        return Ping()
    number = reader.varint()
    if kind is Open or kind is Request or kind is Answer:
        return kind(number, reader.rest())
    if kind is Cancel or kind is Pong:
        return kind(number)
    text = reader.rest()
    if len(text) > MAX_REASON:
        raise MalformedPacket("a reason is too long")
    try:
        return Close(number, text.decode())
    except UnicodeDecodeError as error:
        raise MalformedPacket("a reason is not text") from error
