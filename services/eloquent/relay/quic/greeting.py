"""What a QUIC server says to who has no connection, and who may begin one.

Rules of this file
- Nothing is kept of an address that has not shown that it receives: a first packet is answered with a Retry (RFC 9000 §8.1.2),
  which is smaller, and forgotten.
- A Retry begins one connection. Those that were used are remembered for as long as they count, so a repeated packet begins nothing.
"""

import os
from dataclasses import dataclass

from aioquic._buffer import Buffer
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.retry import QuicRetryTokenHandler

from eloquent.protocol.address_token import Address
from eloquent.relay.quic.connection import CONNECTION_ID_SIZE
from eloquent.relay.quic.limits import MAX_UDP, QuicLimits
from eloquent.relay.sealed.account import Dropped
from eloquent.relay.sealed.admission import HandshakeAdmission

_LONG_HEADER = 0x80


@dataclass(frozen=True, slots=True)
class Beginning:
    """A connection that may begin.

    Attributes:
        original: The connection id that the client drew for the server first.
        retried: The one that the Retry gave it.
    """

    original: bytes
    retried: bytes


def destination_of(data: bytes) -> bytes:
    """Return the connection id that a datagram is for.

    Raises:
        Dropped: It is none of QUIC's.
    """
    if not 0 < len(data) <= MAX_UDP:
        raise Dropped("of no size of QUIC's")
    return data[1 : 1 + CONNECTION_ID_SIZE] if not data[0] & _LONG_HEADER else _read_header(data).destination_cid


def _read_header(data: bytes) -> QuicHeader:
    try:
        return pull_quic_header(Buffer(data=data), host_cid_length=CONNECTION_ID_SIZE)
    except ValueError:
        raise Dropped("not QUIC") from None


class Greeter:
    """Meets strangers.

    Args:
        versions: Of QUIC, that are spoken.
        secret: At least 16 random bytes.
        limits: The bounds.
    """

    def __init__(self, versions: list[int], *, secret: bytes, limits: QuicLimits) -> None:
        self._versions = versions
        self._retry = QuicRetryTokenHandler()
        self._admission = HandshakeAdmission(secret, limits)

    def meet(self, data: bytes, source: Address, *, now: float) -> bytes | Beginning:
        """Return the answer to a datagram of no connection, or the connection that may begin with it.

        Raises:
            Dropped: Nothing answers it.
        """
        if not data[0] & _LONG_HEADER or len(data) < SMALLEST_MAX_DATAGRAM_SIZE:
            raise Dropped("of no connection")
        header = _read_header(data)
        if header.packet_type is QuicPacketType.VERSION_NEGOTIATION or header.version is None:
            raise Dropped("of no connection")
        if header.version not in self._versions:
            return encode_quic_version_negotiation(header.destination_cid, header.source_cid, self._versions)
        if header.packet_type is not QuicPacketType.INITIAL:
            raise Dropped("of no connection")
        if not header.token:
            return self._make_retry(header, header.version, source, now)
        try:
            original = self._retry.validate_token(
                address=source, destination_cid=header.destination_cid, token=header.token, now=now
            )
        except ValueError:
            raise Dropped("with a Retry that does not count") from None
        if self._admission.begun_with(header.destination_cid) is not None:
            raise Dropped("a repeated beginning")
        return Beginning(original, header.destination_cid)

    def admit(self, beginning: Beginning, source: Address, *, now: float) -> None:
        """Note that a connection begins.

        Raises:
            Dropped: There are too many for now.
        """
        if not self._admission.take_handshake(source, now=now):
            raise Dropped("too many handshakes")
        self._admission.use(beginning.retried, beginning.original, now=now)

    def _make_retry(self, header: QuicHeader, version: int, source: Address, now: float) -> bytes:
        own = os.urandom(CONNECTION_ID_SIZE)
        token = self._retry.create_token(
            address=source,
            original_destination_connection_id=header.destination_cid,
            retry_source_connection_id=own,
            now=now,
        )
        return encode_quic_retry(
            version=version,
            source_cid=own,
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=token,
        )
