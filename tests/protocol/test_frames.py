import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.errors import MalformedPacket
from eloquent.protocol.frames import (
    MAX_BUFFERED,
    MAX_FRAGMENTS,
    MAX_RANGES,
    MAX_TRAILER,
    WINDOW,
    Ack,
    Data,
    DataBuilder,
    End,
    Fragment,
    Payload,
    ReaderState,
    decode_payload,
    encode_payload,
)

# docs/protocol.md §3 and §4 explain these byte by byte.
GOLDEN: dict[str, Payload] = {
    "00 08 6869": Data((Fragment(0, b"hi"),)),
    "00 05 07 79 05 03 61 04 62": Data((Fragment(7, b"y"), Fragment(3, b"a"), Fragment(4, b"b"))),
    "00 0b 4064 6162 04 63": Data((Fragment(100, b"ab", more=True), Fragment(101, b"c"))),
    "00 00": Data((Fragment(0, b""),)),
    "01 02 deadbeef 02 6f6b": Data((), End(2, 0xDEADBEEF, b"ok")),
    "01 02 deadbeef 00 05 01 62": Data((Fragment(1, b"b"),), End(2, 0xDEADBEEF)),
    "02 00": Ack(0),
    "02 05 02 03 01 01": Ack(5, ((7, 10), (11, 12))),
    "03 4064": Ack(100, end_seen=True),
    "04 49f7 05 02 03": Ack(5, ((7, 10),), reader=ReaderState(1.275, looking=True)),
    "04 00 00": Ack(0, reader=ReaderState(0.0, looking=False)),
    "05 01 05": Ack(5, end_seen=True, reader=ReaderState(0.0, looking=True)),
    "06 00 05": Ack(5, credit=0),
    "07 4400 05 02 03": Ack(5, ((7, 10),), end_seen=True, credit=1024),
    "08 01 05 4064": Ack(100, reader=ReaderState(0.0, looking=True), credit=5),
    "05 806ddd01 4064": Ack(100, end_seen=True, reader=ReaderState(MAX_BUFFERED, looking=True)),
}

INDICES = st.integers(0, 1 << 40)
FRAGMENTS = st.one_of(
    st.builds(Fragment, INDICES, st.binary(max_size=40)),
    st.builds(Fragment, INDICES, st.binary(min_size=1, max_size=40), st.just(True)),
)
READERS = st.builds(ReaderState, st.integers(0, round(MAX_BUFFERED * 1e3)).map(lambda ms: ms / 1e3), st.booleans())
ENDS = st.builds(End, INDICES, st.integers(0, 2**32 - 1), st.binary(max_size=MAX_TRAILER))
DATA = st.one_of(
    st.builds(Data, st.lists(FRAGMENTS, max_size=12).map(tuple), ENDS),
    st.builds(Data, st.lists(FRAGMENTS, min_size=1, max_size=12).map(tuple)),
)


@st.composite
def acks(draw: st.DrawFn) -> Ack:
    position = next_index = draw(INDICES)
    ranges = []
    for gap, length in draw(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=MAX_RANGES)):
        ranges.append((position + gap, position + gap + length))
        position += gap + length
    return Ack(next_index, tuple(ranges), draw(st.booleans()), draw(st.none() | READERS), draw(st.integers(0, WINDOW)))


@pytest.mark.parametrize(("encoding", "payload"), GOLDEN.items())
def test_golden(encoding: str, payload: Payload) -> None:
    assert encode_payload(payload).hex() == encoding.replace(" ", "")
    assert decode_payload(bytes.fromhex(encoding)) == payload


@given(st.one_of(DATA, acks()))
def test_decode_inverts_encode(payload: Payload) -> None:
    assert decode_payload(encode_payload(payload)) == payload


@given(st.one_of(st.binary(max_size=40), st.binary(max_size=20).map(lambda tail: bytes([len(tail) % 6]) + tail)))
def test_any_bytes_are_the_one_encoding_of_something_or_malformed(data: bytes) -> None:
    try:
        payload = decode_payload(data)
    except MalformedPacket:
        return
    assert encode_payload(payload) == data


@pytest.mark.parametrize(
    "encoding",
    [
        "",
        "0a",
        "0a 00 00",
        "06 00",  # a credit, and nothing acknowledged
        "06 5000 00",  # a credit that need not be told
        "00 03",  # an empty fragment that goes on
        "00 02",
        "00" + " 00" * (MAX_FRAGMENTS + 1),
        "00",
        "00 05 00 61",  # an index told though it is the expected one
        "00 08 68",
        "01 02 dead",
        "01 00 00000000 4201",
        "02",
        "02 05 00 01",
        "02 05 01 00",
        "02 05 01",
        "04",
        "04 01",  # a reader, and nothing acknowledged
        "04 4001 00",  # not the shortest form
        "04 806ddd02 00",  # more in the buffer than can be
        "05 01 05 01",
        "02 00" + " 01 01" * (MAX_RANGES + 1),
        "02 ffffffffffffffff 01 01",
        "00 01 ffffffffffffffff 00",
    ],
)
def test_malformed(encoding: str) -> None:
    with pytest.raises(MalformedPacket):
        decode_payload(bytes.fromhex(encoding))


@pytest.mark.parametrize(
    "payload",
    [
        Data(()),
        Data((), End(0, 0, bytes(MAX_TRAILER + 1))),
        Ack(5, ((5, 6),)),
        Ack(0, ((2, 2),)),
        Ack(0, tuple((3 * i + 1, 3 * i + 2) for i in range(MAX_RANGES + 1))),
        Data((Fragment(-1, b""),)),
        Ack(0, reader=ReaderState(-0.001)),
        Ack(0, reader=ReaderState(MAX_BUFFERED + 1)),
        Ack(0, reader=ReaderState(float("nan"))),
    ],
)
def test_illegal_payloads_are_not_encoded(payload: Payload) -> None:
    with pytest.raises(ValueError, match=r".+"):
        encode_payload(payload)


@given(st.lists(FRAGMENTS, max_size=30), st.one_of(st.none(), ENDS), st.integers(1, 300), st.integers(1, 12))
def test_a_builder_keeps_its_budget_to_the_byte(
    fragments: list[Fragment], end: End | None, budget: int, limit: int
) -> None:
    builder = DataBuilder(budget, limit)
    taken = [fragment for fragment in fragments if builder.add(fragment)]
    if end is not None:
        builder.add_end(end)
    assert len(taken) <= limit
    if builder:
        built = builder.build()
        assert len(built) <= budget
        assert decode_payload(built) == Data(tuple(taken), builder.end)
        exact = DataBuilder(len(built), limit)
        assert all(exact.add(fragment) for fragment in taken)
        assert builder.end is None or exact.add_end(builder.end)
