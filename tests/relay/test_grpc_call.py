import grpc
import pytest

from eloquent.api.v1.exchange_pb2 import GrpcCall, Outcome
from eloquent.relay import grpc_call
from eloquent.relay.exchange import decode_ask, decode_outcome, encode_begin, encode_outcome

Code = grpc.StatusCode


@pytest.mark.parametrize("timeout", [None, 1.5])
def test_a_call_travels_whole(timeout: float | None) -> None:
    call = grpc_call.make_call("/a.B/C", b"body", {"k": "v"}, timeout=timeout)
    read = decode_ask(encode_begin(bytes(16), call)).grpc
    assert (read.method, read.body, dict(read.metadata)) == ("/a.B/C", b"body", {"k": "v"})
    assert read.HasField("timeout") is (timeout is not None)
    assert read.timeout.ToNanoseconds() == (timeout or 0) * 1e9


def test_an_empty_call_is_one() -> None:
    assert decode_ask(encode_begin(bytes(16), GrpcCall())).HasField("grpc")


@pytest.mark.parametrize("code", list(Code))
def test_a_status_comes_as_the_server_gave_it(code: Code) -> None:
    assert grpc_call.status_of(decode_outcome(grpc_call.encode_status(code, "why"))) == (code, "why")


def test_a_message_that_is_too_long_is_cut() -> None:
    trailer = grpc_call.encode_status(Code.DATA_LOSS, "ü" * 1000)
    assert len(trailer) <= 512
    code, message = grpc_call.status_of(decode_outcome(trailer))
    assert (code, message) == (Code.DATA_LOSS, "ü" * 200)


@pytest.mark.parametrize(
    ("trailer", "code"),
    [
        (Outcome(kind=Outcome.COMPLETE, grpc_status=99).SerializeToString(), Code.UNKNOWN),
        (encode_outcome(Outcome.COMPLETE), Code.UNAVAILABLE),
        (encode_outcome(Outcome.BROKEN, "m"), Code.UNAVAILABLE),
        (encode_outcome(Outcome.GONE), Code.UNAVAILABLE),
        (encode_outcome(Outcome.STOPPING), Code.UNAVAILABLE),
        (encode_outcome(Outcome.REFUSED), Code.RESOURCE_EXHAUSTED),
        (encode_outcome(Outcome.INVALID), Code.INVALID_ARGUMENT),
        (encode_outcome(Outcome.UNSUPPORTED), Code.UNIMPLEMENTED),
        (b"", Code.UNAVAILABLE),
        (b"\xff\xff", Code.UNAVAILABLE),
    ],
)
def test_only_a_status_of_ok_is_a_good_end(trailer: bytes, code: Code) -> None:
    assert grpc_call.status_of(decode_outcome(trailer))[0] is code
