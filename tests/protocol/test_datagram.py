from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.errors import MalformedPacket
from eloquent.protocol.datagram import (
    ADDRESS_TOKEN_SIZE,
    MAX_ASKED,
    MAX_DATAGRAM,
    PAYLOAD_BUDGET,
    Answer,
    AnswerAck,
    Body,
    Cancel,
    Cancelled,
    Close,
    Datagram,
    Hello,
    Leave,
    Open,
    Ping,
    Pong,
    Request,
    RequestAck,
    Retry,
    decode_datagram,
    encode_datagram,
    kind_name,
)
from eloquent.protocol.varint import MAX_VARINT

ID = bytes(range(8))
TOKEN = bytes(range(22))
HI = bytes.fromhex("00086869")
# docs/protocol.md §2 and §5 explain these byte by byte.
GOLDEN: dict[str, Datagram] = {
    "20 0001020304050607 00 000000000000000000000000000000000000000000000000 963fe325": Datagram(ID, 0, Hello()),
    "21 0001020304050607 01 000102030405060708090a0b0c0d0e0f101112131415 00 00086869 521d6db5": Datagram(
        ID, 1, Open(TOKEN, 0, HI)
    ),
    "22 0001020304050607 02 00 00086869 c5fab72f": Datagram(ID, 2, Request(0, HI)),
    "23 0001020304050607 03 05 0201 1e7273c0": Datagram(ID, 3, AnswerAck(5, bytes.fromhex("0201"))),
    "24 0001020304050607 04 05 5e27f1ae": Datagram(ID, 4, Cancel(5)),
    "25 0001020304050607 03 87c42ec6": Datagram(ID, 3, Ping()),
    "25 0001020304050607 05 020005 abe843df": Datagram(ID, 5, Ping((2, 3, 9))),
    "26 0001020304050607 06 627965 ff0fe838": Datagram(ID, 6, Leave("bye")),
    "28 0001020304050607 00 01 000102030405060708090a0b0c0d0e0f101112131415 835d8d7d": Datagram(ID, 0, Retry(1, TOKEN)),
    "29 0001020304050607 01 00 0201 88ef1f86": Datagram(ID, 1, RequestAck(0, bytes.fromhex("0201"))),
    "2a 0001020304050607 4100 05 00086869 17105cca": Datagram(ID, 256, Answer(5, HI)),
    "2b 0001020304050607 02 05 6e6f 9f8faf3c": Datagram(ID, 2, Cancelled(5, "no")),
    "2c 0001020304050607 04 03 0d87b5de": Datagram(ID, 4, Pong(3)),
    "2d 0001020304050607 05 03 01 627965 6c447872": Datagram(ID, 5, Close(3, "bye", renew=True)),
}

NUMBERS = st.integers(0, MAX_VARINT)
PAYLOADS = st.binary(max_size=PAYLOAD_BUDGET)
TOKENS = st.binary(min_size=22, max_size=22)
REASONS = st.text(max_size=60)
STREAMS = st.sets(st.integers(0, 1 << 40), max_size=MAX_ASKED).map(lambda ids: tuple(sorted(ids)))
BODIES = st.one_of(
    st.just(Hello()),
    st.builds(Open, TOKENS, NUMBERS, st.binary(max_size=PAYLOAD_BUDGET - ADDRESS_TOKEN_SIZE)),
    st.builds(Request, NUMBERS, PAYLOADS),
    st.builds(AnswerAck, NUMBERS, PAYLOADS),
    st.builds(Cancel, NUMBERS),
    st.builds(Ping, STREAMS),
    st.builds(Leave, REASONS),
    st.builds(Retry, NUMBERS, TOKENS),
    st.builds(RequestAck, NUMBERS, PAYLOADS),
    st.builds(Answer, NUMBERS, PAYLOADS),
    st.builds(Cancelled, NUMBERS, REASONS),
    st.builds(Pong, NUMBERS),
    st.builds(Close, NUMBERS, REASONS, st.booleans()),
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
        "10 0001020304050607 00",  # version 1
        "27 0001020304050607 00",  # no such kind
        "2e 0001020304050607 00",
        "20 0001020304050607 00" + "00" * 23,  # a hello with too little padding
        "20 0001020304050607 00" + "00" * 23 + "01",
        "25 0001020304050607 00" + "00" * 257,  # a ping about too many streams
        "25 0001020304050607 00 ffffffffffffffff 00",  # and about one beyond the highest id
        "24 0001020304050607 00",  # no stream
        "2d 0001020304050607 00 00 00 ff",  # a reason that is not UTF-8
        "2d 0001020304050607 00 00 02",  # renewed more than once
        "2d 0001020304050607 00 00 00" + "61" * 257,
    ],
)
def test_malformed_though_the_checksum_agrees(content: str) -> None:
    with pytest.raises(MalformedPacket):
        decode_datagram(seal(bytes.fromhex(content)))


def test_a_datagram_too_long_is_malformed() -> None:
    with pytest.raises(MalformedPacket):
        decode_datagram(seal(bytes.fromhex("2a 0001020304050607 00 00") + bytes(1300)))


@pytest.mark.parametrize(
    "datagram",
    [
        Datagram(b"short", 0, Ping()),
        Datagram(ID, 0, Answer(0, bytes(MAX_DATAGRAM))),
        Datagram(ID, 0, Close(0, "x" * 257)),
        Datagram(ID, -1, Ping()),
        Datagram(ID, 0, Ping((3, 2))),
        Datagram(ID, 0, Ping(tuple(range(257)))),
        Datagram(ID, 0, Retry(0, b"short")),
    ],
)
def test_illegal_datagrams_are_not_encoded(datagram: Datagram) -> None:
    with pytest.raises(ValueError, match=r".+"):
        encode_datagram(datagram)


@pytest.mark.parametrize(
    ("body", "name"),
    [(Open(TOKEN, 0, b""), "open"), (Ping(), "ping"), (Close(0, ""), "close"), (AnswerAck(0, b""), "answer_ack")],
)
def test_kind_names(body: Body, name: str) -> None:
    assert kind_name(body) == name
