"""How a gRPC call travels between the relays, and how it ended: the one place where gRPC's status codes and outcomes meet.

Rules of this file: a stream that ends in any way but with a status is UNAVAILABLE, never a clean end.
"""

from collections.abc import Mapping

import grpc

from eloquent.api.v1.exchange_pb2 import GrpcCall, Outcome
from eloquent.relay.exchange import encode_outcome

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_REFUSALS = {
    Outcome.REFUSED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Outcome.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Outcome.UNSUPPORTED: grpc.StatusCode.UNIMPLEMENTED,
}


def make_call(method: str, body: bytes, metadata: Mapping[str, str], *, timeout: float | None) -> GrpcCall:
    """Return a call as it travels.

    Args:
        method: Its full name.
        body: The serialised request message.
        metadata: The caller's.
        timeout: Seconds until the caller's deadline; None if it has none.
    """
    call = GrpcCall(method=method, body=body, metadata=metadata)
    if timeout is not None:
        call.timeout.FromNanoseconds(int(timeout * 1e9))
    return call


def encode_status(code: grpc.StatusCode, message: str = "") -> bytes:
    """Return the trailer of a call that the model server has ended, in whatever way."""
    number: int = code.value[0]
    return encode_outcome(Outcome.COMPLETE, message, grpc_status=number)


def status_of(outcome: Outcome) -> tuple[grpc.StatusCode, str]:
    """Return what a caller is told."""
    if outcome.HasField("grpc_status"):
        return _CODES.get(outcome.grpc_status, grpc.StatusCode.UNKNOWN), outcome.message
    message = outcome.message or "the origin relay ended the stream without a status"
    return _REFUSALS.get(outcome.kind, grpc.StatusCode.UNAVAILABLE), message
