"""The wire format of sealed UDP, and how a session's datagram goes inside it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.errors import LocalProtocolError, MalformedPacket
from eloquent.protocol.datagram import MAX_DATAGRAM, Answer, Datagram, Ping, decode_datagram, encode_datagram
from eloquent.protocol.varint import MAX_VARINT
from eloquent.relay.sealed.packets import (
    SEAL_SIZE,
    SEALED_PAYLOAD_BUDGET,
    Accept,
    Initiation,
    Status,
    restore,
    shorten,
)

HIGHEST = (1 << 30) - 1


@given(st.integers(0, HIGHEST), st.integers(0, MAX_VARINT), st.binary(max_size=SEALED_PAYLOAD_BUDGET))
def test_a_shortened_datagram_is_restored_under_another_serial(counter: int, number: int, payload: bytes) -> None:
    body = Answer(5, payload)
    ours = Datagram(b"\0\0\0\0" + counter.to_bytes(4), number, body)
    theirs = Datagram(b"1234" + counter.to_bytes(4), number, body)
    assert restore(shorten(encode_datagram(ours)), b"1234") == encode_datagram(theirs)


def test_the_largest_payload_fits_the_largest_datagram() -> None:
    largest = Answer(MAX_VARINT, bytes(SEALED_PAYLOAD_BUDGET))
    short = shorten(encode_datagram(Datagram(b"1234" + HIGHEST.to_bytes(4), MAX_VARINT, largest)))
    assert len(short) + SEAL_SIZE == MAX_DATAGRAM


def test_a_short_ping() -> None:
    short = shorten(encode_datagram(Datagram(b"\0\0\0\0\0\0\0\x07", 3, Ping())))
    assert short.hex() == "250703"
    assert decode_datagram(restore(short, b"1234")) == Datagram(b"1234\0\0\0\x07", 3, Ping())


@pytest.mark.parametrize("short", [b"", b"\x25", b"\x25\xc0\x00", bytes.fromhex("25c00000004000000003")])
def test_what_was_never_short_is_malformed(short: bytes) -> None:
    with pytest.raises(MalformedPacket):
        restore(short, b"1234")


def test_a_connection_id_beyond_what_goes_short_is_the_callers_fault() -> None:
    with pytest.raises(LocalProtocolError, match="below 2"):
        shorten(encode_datagram(Datagram(b"1234" + (1 << 30).to_bytes(4), 0, Ping())))


def test_payloads_of_the_handshake_come_back() -> None:
    initiation = Initiation(b"1234", b"c" * 22, b"p" * 16)
    assert Initiation.decode(initiation.encode()) == initiation
    assert len(initiation.encode()) + 1 + 48 == MAX_DATAGRAM
    for accept in (Accept(Status.BEGUN, b"1234", b"t" * 22), Accept(Status.STANDS), Accept(Status.FULL)):
        assert Accept.decode(accept.encode()) == accept
        assert len(accept.encode()) == 27


@pytest.mark.parametrize("payload", [b"", b"\0", b"\x03" + bytes(26), bytes(26)])
def test_an_acceptance_of_nothing_known_is_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedPacket):
        Accept.decode(payload)
