import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.errors import MalformedPacket, RemoteProtocolError
from eloquent.protocol.schemes.tcp_segment import (
    HEADER_SIZE,
    RecordParser,
    Segment,
    SegmentAck,
    decode_segment,
    encode_end,
    encode_segment,
    encode_token,
)

MESSAGES = [
    Segment(0, b"x"),
    Segment(1 << 40, bytes(1448)),
    SegmentAck(0),
    SegmentAck(7, ((9, 10),)),
    SegmentAck(1 << 40, ((1 << 40 | 9, 1 << 40 | 99), (1 << 40 | 2, 1 << 40 | 3), (1 << 40 | 5, 1 << 40 | 6))),
]


@pytest.mark.parametrize("message", MESSAGES, ids=str)
def test_decoding_undoes_encoding_and_finds_damage(message: Segment | SegmentAck) -> None:
    data = encode_segment(message)
    assert decode_segment(data) == message
    for position in range(min(len(data), 60)):
        with pytest.raises(MalformedPacket):
            decode_segment(data[:position])
        with pytest.raises(MalformedPacket):
            decode_segment(data[:position] + bytes([data[position] ^ 0x41]) + data[position + 1 :])


def test_headers_are_as_long_as_the_real_ones_less_28_bytes() -> None:
    assert len(encode_segment(Segment(0, b"x"))) - 1 == HEADER_SIZE == 20 + 32 - 28
    assert len(encode_segment(SegmentAck(0, ((1, 2), (3, 4))))) == 20 + 32 + 4 + 2 * 8 - 28


@given(st.binary(max_size=80))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedPacket):
        decode_segment(data)


@given(st.lists(st.binary(max_size=100)), st.binary(max_size=80), st.integers(1, 30))
def test_records_come_out_as_they_went_in(tokens: list[bytes], trailer: bytes, step: int) -> None:
    stream = b"".join(part for token in tokens for part in encode_token(token)) + encode_end(0xBEEF, trailer)
    parser = RecordParser()
    records = []
    for start in range(0, len(stream), step):
        parser.feed(stream[start : start + step])
        records += list(iter(parser.next_token, None))
    assert records == [*tokens, (0xBEEF, trailer)]
    assert parser.is_empty


@pytest.mark.parametrize("stream", [bytes([0xBF, 0, 0, 0]), bytes([0, 0, 0, 0, 0, 0x42, 1])])
def test_what_is_too_long_is_refused_before_it_has_come(stream: bytes) -> None:
    parser = RecordParser()
    parser.feed(stream)
    with pytest.raises(RemoteProtocolError, match="longer than"):
        parser.next_token()
