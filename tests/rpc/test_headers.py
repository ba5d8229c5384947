import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.rpc.headers import (
    decode_message,
    decode_timeout,
    encode_message,
    encode_timeout,
    metadata_pairs,
    status_headers,
    status_of,
)


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_a_message_comes_back_as_it_was_in_printable_ascii(text: str) -> None:
    written = encode_message(text)
    assert all(0x20 <= one <= 0x7E for one in written)
    assert decode_message(written) == text


@given(st.floats(0.0, 1e9))
def test_a_deadline_has_eight_digits_and_is_hardly_earlier(seconds: float) -> None:
    written = encode_timeout(seconds)
    assert len(written) <= 9
    read = decode_timeout(written)
    assert read is not None
    assert seconds * (1 - 1e-4) - 1e-8 <= read <= seconds * (1 + 1e-9)


@pytest.mark.parametrize("value", [b"", b"1", b"S", b"123456789S", b"1s", b"-1S", b"1.5S"])
def test_what_is_no_deadline_is_none(value: bytes) -> None:
    assert decode_timeout(value) is None


def test_metadata_is_without_what_is_http2s_and_grpcs_own_and_without_bytes() -> None:
    names = (b":path", b"grpc-timeout", b"content-type", b"user-agent", b"te", b"x-trace-bin", b"x-tag")
    assert metadata_pairs((name, b"v") for name in names) == [("x-tag", "v")]


@pytest.mark.parametrize("name", [b"tenant", b"user-agent-hint", b"content-type-wanted", b"grpcish"])
def test_metadata_whose_name_only_begins_like_one_of_theirs_is_kept(name: bytes) -> None:
    assert metadata_pairs([(name, b"v")]) == [(name.decode(), "v")]


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_a_status_comes_back_as_it_was(code: grpc.StatusCode) -> None:
    assert status_of(dict(status_headers(code, "why: 100 %"))) == (code, "why: 100 %")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({b":status": b"503"}, grpc.StatusCode.UNAVAILABLE),
        ({b":status": b"404"}, grpc.StatusCode.UNIMPLEMENTED),
        ({b":status": b"200"}, grpc.StatusCode.UNKNOWN),
        ({}, grpc.StatusCode.UNKNOWN),
        ({b"grpc-status": b"x"}, grpc.StatusCode.UNKNOWN),
        ({b"grpc-status": b"99"}, grpc.StatusCode.UNKNOWN),
    ],
)
def test_what_has_no_status_of_grpc_never_ended_well(headers: dict[bytes, bytes], code: grpc.StatusCode) -> None:
    assert status_of(headers)[0] is code
