from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.errors import MalformedPacket
from eloquent.protocol.datagram import (
    MAX_DATAGRAM,
    PAYLOAD_BUDGET,
    Answer,
    Body,
    Cancel,
    Close,
    Datagram,
    Open,
    Ping,
    Pong,
    Request,
    decode_datagram,
    encode_datagram,
    kind_name,
)
from eloquent.protocol.varint import MAX_VARINT

ID = bytes(range(8))
# docs/protocol.md §2 and §5 explain these byte by byte.
GOLDEN: dict[str, Datagram] = {
    "10 0001020304050607 00 00 00086869 ec130664": Datagram(ID, 0, Open(0, bytes.fromhex("00086869"))),
    "11 0001020304050607 01 00 0201 d59521c4": Datagram(ID, 1, Request(0, bytes.fromhex("0201"))),
    "12 0001020304050607 4100 05 00086869 951b8666": Datagram(ID, 256, Answer(5, bytes.fromhex("00086869"))),
    "13 0001020304050607 02 05 092c08b7": Datagram(ID, 2, Cancel(5)),
    "14 0001020304050607 03 00f5c7c0": Datagram(ID, 3, Ping()),
    "15 0001020304050607 04 03 5ea0c047": Datagram(ID, 4, Pong(3)),
    "16 0001020304050607 05 03 627965 5ecf72e2": Datagram(ID, 5, Close(3, "bye")),
}

NUMBERS = st.integers(0, MAX_VARINT)
PAYLOADS = st.binary(max_size=PAYLOAD_BUDGET)
BODIES = st.one_of(
    st.builds(Open, NUMBERS, PAYLOADS),
    st.builds(Request, NUMBERS, PAYLOADS),
    st.builds(Answer, NUMBERS, PAYLOADS),
    st.builds(Cancel, NUMBERS),
    st.just(Ping()),
    st.builds(Pong, NUMBERS),
    st.builds(Close, NUMBERS, st.text(max_size=60)),
)
DATAGRAMS = st.builds(Datagram, st.binary(min_size=8, max_size=8), NUMBERS, BODIES)


def seal(content: bytes) -> bytes:
    return content + crc32(content).to_bytes(4)


@pytest.mark.parametrize(("encoding", "datagram"), GOLDEN.items())
def test_golden(encoding: str, datagram: Datagram) -> None:
    assert encode_datagram(datagram).hex() == encoding.replace(" ", "")
    assert decode_datagram(bytes.fromhex(encoding)) == datagram


@given(DATAGRAMS)
def test_decode_inverts_encode_within_1200_bytes(datagram: Datagram) -> None:
    encoding = encode_datagram(datagram)
    assert len(encoding) <= MAX_DATAGRAM
    assert decode_datagram(encoding) == datagram


@pytest.mark.parametrize("encoding", GOLDEN)
def test_every_truncation_is_malformed(encoding: str) -> None:
    data = bytes.fromhex(encoding)
    for size in range(len(data)):
        with pytest.raises(MalformedPacket):
            decode_datagram(data[:size])


@pytest.mark.parametrize("encoding", GOLDEN)
def test_every_single_byte_corruption_is_malformed(encoding: str) -> None:
    data = bytes.fromhex(encoding)
    for position in range(len(data)):
        for change in range(1, 256):
            with pytest.raises(MalformedPacket):
                decode_datagram(data[:position] + bytes([data[position] ^ change]) + data[position + 1 :])


@given(DATAGRAMS, st.data())
def test_truncations_and_corruptions_of_any_datagram_are_malformed(datagram: Datagram, data: st.DataObject) -> None:
    encoding = encode_datagram(datagram)
    position = data.draw(st.integers(0, len(encoding) - 1))
    change = data.draw(st.integers(1, 255))
    for damaged in (
        encoding[:position],
        encoding[:position] + bytes([encoding[position] ^ change]) + encoding[position + 1 :],
        encoding + bytes([change]),
    ):
        with pytest.raises(MalformedPacket):
            decode_datagram(damaged)


@given(st.one_of(st.binary(max_size=60), st.binary(min_size=10, max_size=60).map(seal)))
def test_any_bytes_are_the_one_encoding_of_something_or_malformed(data: bytes) -> None:
    try:
        datagram = decode_datagram(data)
    except MalformedPacket:
        return
    assert encode_datagram(datagram) == data


@pytest.mark.parametrize(
    "content",
    [
        "20 0001020304050607 00",  # version 2
        "17 0001020304050607 00",  # no such kind
        "14 0001020304050607 00 00",  # a ping with a body
        "13 0001020304050607 00",  # no stream
        "16 0001020304050607 00 00 ff",  # a reason that is not UTF-8
        "16 0001020304050607 00 00" + "61" * 257,
    ],
)
def test_malformed_though_the_checksum_agrees(content: str) -> None:
    with pytest.raises(MalformedPacket):
        decode_datagram(seal(bytes.fromhex(content)))


def test_a_datagram_too_long_is_malformed() -> None:
    with pytest.raises(MalformedPacket):
        decode_datagram(seal(bytes.fromhex("12 0001020304050607 00 00") + bytes(1300)))


@pytest.mark.parametrize(
    "datagram",
    [
        Datagram(b"short", 0, Ping()),
        Datagram(ID, 0, Answer(0, bytes(MAX_DATAGRAM))),
        Datagram(ID, 0, Close(0, "x" * 257)),
        Datagram(ID, -1, Ping()),
    ],
)
def test_illegal_datagrams_are_not_encoded(datagram: Datagram) -> None:
    with pytest.raises(ValueError, match=r".+"):
        encode_datagram(datagram)


@pytest.mark.parametrize(
    ("body", "name"), [(Open(0, b""), "open"), (Ping(), "ping"), (Close(0, ""), "close"), (Answer(0, b""), "answer")]
)
def test_kind_names(body: Body, name: str) -> None:
    assert kind_name(body) == name
