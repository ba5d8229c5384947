"""What sealed UDP looks like on the wire (docs/protocol.md §8).

    initiation  (client)  30 | message 1 of the handshake, so long that the datagram has 1200 bytes
    cookie      (server)  38 | client's index (4) | cookie (22)
    accept      (server)  39 | client's index (4) | message 2 of the handshake
    sealed      (client)  31 | server's index (4) | packet number (4) | ciphertext and tag
    sealed      (server)  3a | client's index (4) | packet number (4) | ciphertext and tag

Rules of this file
- As with plaintext datagrams, a kind belongs to one side, so no two servers ever answer each other.
- An initiation is as large as any datagram, and what answers it is small: nothing is amplified.
- Inside the seal a session's datagram goes without its checksum, for which the tag stands, and without the four bytes of its
  connection id that the association stands for.
"""

from dataclasses import dataclass
from enum import IntEnum
from zlib import crc32

from eloquent.errors import LocalProtocolError, MalformedPacket
from eloquent.protocol.datagram import ADDRESS_TOKEN_SIZE, CONNECTION_ID_SIZE, MAX_DATAGRAM, PAYLOAD_BUDGET
from eloquent.protocol.varint import decode_varint, encode_varint, varint_size
from eloquent.relay.sealed.noise import MESSAGE_OVERHEAD, TAG_SIZE

INITIATION, CLIENT_SEALED, COOKIE, ACCEPT, SERVER_SEALED = 0x30, 0x31, 0x38, 0x39, 0x3A
INDEX_SIZE = 4  # bytes; names an association, or a handshake that may become one, to the side that chose it
COOKIE_SIZE = ADDRESS_TOKEN_SIZE
BINDING_SIZE = 16  # bytes of the handshake's hash, which name an association to both sides
NUMBER_SIZE = 4  # bytes
HEAD_SIZE = 1 + INDEX_SIZE + NUMBER_SIZE
SEAL_SIZE = HEAD_SIZE + TAG_SIZE + 1  # bytes; the last is the type

PONG_BITS = 128  # packet numbers of which a pong tells whether they came
MAX_PONG = 1500  # bytes; a pong is as large as its ping, up to this

NO_COOKIE, NO_BINDING = bytes(COOKIE_SIZE), bytes(BINDING_SIZE)
PROLOGUE = b"eloquent sealed 3"  # a key serves for nothing else that may come

_CHECKSUM_SIZE = 4  # bytes, of a session's datagram
SERIAL_SIZE = 4  # bytes, the half of a connection id that is the same for all sessions of an association
_COUNTER_LIMIT = 1 << 30  # of the other half: its varint has at most four bytes
_MAX_COUNTER_SIZE = 4

SEALED_PAYLOAD_BUDGET = PAYLOAD_BUDGET - SEAL_SIZE + CONNECTION_ID_SIZE + _CHECKSUM_SIZE - _MAX_COUNTER_SIZE
"""Bytes that a stream's payload may take in a sealed datagram of 1200 bytes."""


class Type(IntEnum):
    """What a sealed datagram carries."""

    DATAGRAM = 1  # a session's, shortened
    PING = 2  # client: a sign of life is wanted
    PONG = 3  # server: it is, and what else of the client's has come
    CHALLENGE = 4  # server: 8 bytes, which the client is to return
    RESPONSE = 5  # client: they
    LEAVE = 6  # the association is over


class Status(IntEnum):
    """What a server says to a handshake."""

    BEGUN = 0
    STANDS = 1  # the association that the client took for lost is there, and nothing has begun
    FULL = 2


@dataclass(frozen=True, slots=True)
class Initiation:
    """The payload of message 1.

    Attributes:
        index: By which the server's answers name this initiation, and then the association.
        cookie: What the server gave to this address, or zeros.
        previous: The binding of the association that the client may have lost, or zeros.
    """

    index: bytes
    cookie: bytes = NO_COOKIE
    previous: bytes = NO_BINDING

    def encode(self) -> bytes:
        """Return the payload, at the length of a full datagram."""
        content = self.index + self.cookie + self.previous
        return content.ljust(MAX_DATAGRAM - 1 - MESSAGE_OVERHEAD, b"\0")

    @classmethod
    def decode(cls, payload: bytes) -> "Initiation":
        """Return what a payload of the right length says; the padding is for whoever comes after us."""
        cookie_end = INDEX_SIZE + COOKIE_SIZE
        return cls(
            payload[:INDEX_SIZE], payload[INDEX_SIZE:cookie_end], payload[cookie_end : cookie_end + BINDING_SIZE]
        )


@dataclass(frozen=True, slots=True)
class Accept:
    """The payload of message 2.

    Attributes:
        status: What became of the initiation.
        index: By which the client names the association; zeros if none has begun.
        token: An address token of the endpoint inside, for sessions of this association; zeros if none has begun.
    """

    status: Status
    index: bytes = bytes(INDEX_SIZE)
    token: bytes = bytes(ADDRESS_TOKEN_SIZE)

    def encode(self) -> bytes:
        """Return the payload; its length does not tell what it says."""
        return bytes([self.status]) + self.index + self.token

    @classmethod
    def decode(cls, payload: bytes) -> "Accept":
        """Return what a payload says.

        Raises:
            MalformedPacket: It is too short, or of a status that we do not know.
        """
        if len(payload) < 1 + INDEX_SIZE + ADDRESS_TOKEN_SIZE or payload[0] > max(Status):
            raise MalformedPacket("an acceptance says nothing that we know")
        token_start = 1 + INDEX_SIZE
        return cls(Status(payload[0]), payload[1:token_start], payload[token_start : token_start + ADDRESS_TOKEN_SIZE])


@dataclass(frozen=True, slots=True)
class PongContent:
    """The content of a pong.

    Attributes:
        number: Packet number of the ping that it answers.
        came: Which of the `PONG_BITS` packet numbers below that one have come: bit i is of `number - 1 - i`.
    """

    number: int
    came: int

    def encode(self) -> bytes:
        """Return the content."""
        return self.number.to_bytes(NUMBER_SIZE) + self.came.to_bytes(PONG_BITS // 8)

    @classmethod
    def decode(cls, content: bytes) -> "PongContent":
        """Return what a content says.

        Raises:
            MalformedPacket: It is too short.
        """
        end = NUMBER_SIZE + PONG_BITS // 8
        if len(content) < end:
            raise MalformedPacket("a pong does not say what it answers")
        return cls(int.from_bytes(content[:NUMBER_SIZE]), int.from_bytes(content[NUMBER_SIZE:end]))


def shorten(datagram: bytes) -> bytes:
    """Return a session's datagram as it goes inside the seal.

    Args:
        datagram: With a connection id whose last four bytes are below 2^30; the first four are left out.

    Raises:
        LocalProtocolError: The connection id is another.
    """
    counter = int.from_bytes(datagram[1 + SERIAL_SIZE : 1 + CONNECTION_ID_SIZE])
    if counter >= _COUNTER_LIMIT:
        raise LocalProtocolError("a sealed session's connection id ends in a number below 2^30")
    return datagram[:1] + encode_varint(counter) + datagram[1 + CONNECTION_ID_SIZE : -_CHECKSUM_SIZE]


def shortened_size(datagram: bytes) -> int:
    """Return how many bytes `shorten` would leave of a datagram."""
    counter = int.from_bytes(datagram[1 + SERIAL_SIZE : 1 + CONNECTION_ID_SIZE])
    return len(datagram) - CONNECTION_ID_SIZE - _CHECKSUM_SIZE + varint_size(counter)


def restore(short: bytes, serial: bytes) -> bytes:
    """Return the session's datagram that `shorten` made short.

    Args:
        short: What was inside the seal.
        serial: The first four bytes of the connection id.

    Raises:
        MalformedPacket: It is too short, or the number is not in range.
    """
    counter, end = decode_varint(short, 1)
    if counter >= _COUNTER_LIMIT:
        raise MalformedPacket("a sealed session's number is too high")
    content = short[:1] + serial + counter.to_bytes(CONNECTION_ID_SIZE - SERIAL_SIZE) + short[end:]
    return content + crc32(content).to_bytes(_CHECKSUM_SIZE)
