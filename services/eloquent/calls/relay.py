"""How a call travels between relays: a gRPC call, wrapped into the request of one Eloquent stream, its status in the trailer.

Rules of this file: a stream that ends in any way but with a status in its trailer is UNAVAILABLE, never a clean end.
"""

from collections.abc import Mapping
from contextlib import suppress

import grpc
from google.protobuf.message import DecodeError

from eloquent.api.v1.relay_pb2 import RelayRequest, RelayStatus
from eloquent.calls.names import GENERATE

_CODES = {code.value[0]: code for code in grpc.StatusCode}


def generate_request(body: bytes, metadata: Mapping[str, str], timeout: float | None) -> bytes:
    """Wrap a call of `Generate`.

    Args:
        body: The serialised request message.
        metadata: The caller's.
        timeout: Seconds until the caller's deadline, `None` if it has none.
    """
    request = RelayRequest(method=GENERATE, body=body, metadata=metadata)
    if timeout is not None:
        request.timeout.FromNanoseconds(int(timeout * 1e9))
    return request.SerializeToString()


def status_of_trailer(trailer: bytes) -> tuple[grpc.StatusCode, str]:
    """Read how the call ended at the origin relay, and what it said of that."""
    status = RelayStatus()
    with suppress(DecodeError):
        status.ParseFromString(trailer)
    if not status.HasField("code"):
        return grpc.StatusCode.UNAVAILABLE, "the origin relay ended the stream without a status"
    return _CODES.get(status.code, grpc.StatusCode.UNKNOWN), status.message


def status_of_loss(reason: str) -> tuple[grpc.StatusCode, str]:
    """Return the status of a stream that was lost on its way."""
    return grpc.StatusCode.UNAVAILABLE, f"the path to the origin relay was lost: {reason}"
