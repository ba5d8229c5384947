import grpc
import pytest

from eloquent.api.v1.relay_pb2 import RelayRequest, RelayStatus
from eloquent.calls import names, relay


@pytest.mark.parametrize("timeout", [None, 1.5])
def test_a_call_is_wrapped_whole(timeout):
    request = RelayRequest.FromString(relay.generate_request(b"body", {"k": "v"}, timeout))
    assert (request.method, request.body, dict(request.metadata)) == (names.GENERATE, b"body", {"k": "v"})
    assert request.HasField("timeout") is (timeout is not None)
    assert request.timeout.ToNanoseconds() == (timeout or 0) * 1e9


@pytest.mark.parametrize(
    ("trailer", "code"),
    [
        (RelayStatus(code=0).SerializeToString(), grpc.StatusCode.OK),
        (RelayStatus(code=8, message="m").SerializeToString(), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (RelayStatus(code=99).SerializeToString(), grpc.StatusCode.UNKNOWN),
        (b"", grpc.StatusCode.UNAVAILABLE),
        (b"\xff\xff", grpc.StatusCode.UNAVAILABLE),
    ],
)
def test_only_a_status_of_ok_is_a_good_end(trailer, code):
    assert relay.status_of_trailer(trailer)[0] is code


def test_a_lost_stream_is_unavailable():
    assert relay.status_of_loss("silence") == (
        grpc.StatusCode.UNAVAILABLE,
        "the path to the origin relay was lost: silence",
    )
