import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.errors import MalformedPacket
from eloquent.protocol.varint import MAX_VARINT, ByteReader, encode_varint, varint_size

# RFC 9000 §A.1
VECTORS = {
    "c2197c5eff14e88c": 151_288_809_941_952_652,
    "9d7f3e7d": 494_878_333,
    "7bbd": 15_293,
    "25": 37,
}


@pytest.mark.parametrize(("encoding", "value"), VECTORS.items())
def test_vectors_of_rfc_9000(encoding: str, value: int) -> None:
    assert encode_varint(value).hex() == encoding
    assert ByteReader(bytes.fromhex(encoding)).varint() == value


@given(st.integers(0, MAX_VARINT))
def test_decode_inverts_encode(value: int) -> None:
    encoding = encode_varint(value)
    reader = ByteReader(encoding)
    assert reader.varint() == value
    assert reader.at_end
    assert varint_size(value) == len(encoding)


@pytest.mark.parametrize("value", [-1, MAX_VARINT + 1])
def test_out_of_range(value: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        encode_varint(value)


@pytest.mark.parametrize("encoding", ["4025", "80000025", "c000000000000025"])
def test_longer_forms_are_malformed(encoding: str) -> None:
    with pytest.raises(MalformedPacket):
        ByteReader(bytes.fromhex(encoding)).varint()


@given(st.binary(max_size=10))
def test_any_bytes_are_a_value_or_malformed(data: bytes) -> None:
    reader = ByteReader(data)
    try:
        value = reader.varint()
    except MalformedPacket:
        return
    assert encode_varint(value) == data[: varint_size(value)]


def test_rest_is_what_was_not_read() -> None:
    reader = ByteReader(b"abc")
    assert reader.take(1) == b"a"
    assert reader.rest() == b"bc"
    assert reader.at_end
