import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.baselines.tcp_segment import (
    HEADER_SIZE,
    RecordParser,
    Segment,
    SegmentAck,
    decode_segment,
    encode_end,
    encode_segment,
    encode_token,
)
from eloquent.errors import MalformedPacket, RemoteProtocolError

MESSAGES = [
    Segment(0, b"x"),
    Segment(1 << 40, bytes(1448)),
    SegmentAck(0),
    SegmentAck(7, ((9, 10),)),
    SegmentAck(7, ((0, 7),)),
    SegmentAck(7, ((9, 10), (9, 12))),
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


@pytest.mark.parametrize(
    ("blocks", "repeated"),
    [
        (((3000, 3500), (4500, 5000)), (3000, 3500)),  # below the acknowledgement
        (((5000, 5500), (4500, 6000)), (5000, 5500)),  # within the block that follows
        (((4500, 6000), (7000, 8000)), None),
        (((4500, 6000),), None),
        ((), None),
    ],
)
def test_a_first_block_that_is_no_news_tells_what_came_once_more(
    blocks: tuple[tuple[int, int], ...], repeated: tuple[int, int] | None
) -> None:
    """As in the examples of RFC 2883 §4."""
    assert SegmentAck(4000, blocks).repeated == repeated


@pytest.mark.parametrize("blocks", [((9, 9),), ((3, 9),), ((8, 9), (3, 4)), ((3, 2), (8, 9)), ((-1, 2),)])
def test_blocks_that_no_receiver_sends_are_refused(blocks: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(MalformedPacket, match="SACK block"):
        decode_segment(encode_segment(SegmentAck(7, blocks)))


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
