"""How an exchange is told between the relays: requests, heads and outcomes as protobuf messages.

Rules of this file
- What belongs to one connection only is not passed on (RFC 9110 §7.6.1); everything else is, in order, untouched.
- A stream that ends without an outcome has not ended well.
"""

from collections.abc import Iterable

from google.protobuf.message import DecodeError

from eloquent.api.v1.exchange_pb2 import Ask, GrpcCall, HttpField, HttpHead, HttpRequest, Outcome, Resume
from eloquent.errors import RemoteProtocolError

ANSWER_ID_SIZE = 16  # bytes
MAX_HEAD = 256 * 1024  # bytes of a request beside its content
MAX_OUTCOME = 400  # bytes of an outcome, so that a trailer fits into its 512
_CONNECTION_FIELDS = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding upgrade".split()
)

Fields = Iterable[tuple[bytes, bytes]]
ModelRequest = HttpRequest | GrpcCall


def passed_on(fields: Fields, *, without: frozenset[bytes] = frozenset()) -> list[HttpField]:
    """Return the fields that are for the other end, not for this connection.

    Args:
        fields: Names and values as they came.
        without: More names that are left out, in lower case.
    """
    fields = list(fields)
    named = {
        name.strip().lower() for key, value in fields if key.lower() == b"connection" for name in value.split(b",")
    }
    dropped = _CONNECTION_FIELDS | named | without
    return [
        HttpField(name=name.decode("latin-1"), value=value) for name, value in fields if name.lower() not in dropped
    ]


def encode_begin(answer_id: bytes, request: ModelRequest, *, is_resumable: bool = False) -> bytes:
    """Return the request of a stream that asks the model server.

    Args:
        answer_id: Names the answer from then on.
        request: The client's.
        is_resumable: Whether the client may come back for the rest.
    """
    ask = Ask(answer_id=answer_id, is_resumable=is_resumable)
    if isinstance(request, HttpRequest):
        ask.http.CopyFrom(request)
    else:
        ask.grpc.CopyFrom(request)
    return ask.SerializeToString()


def encode_resume(answer_id: bytes, following: int) -> bytes:
    """Return the request of a stream that goes on with an answer.

    Args:
        answer_id: Which answer.
        following: Index of the first token that is wanted.
    """
    return Ask(answer_id=answer_id, resume=Resume(next=following)).SerializeToString()


def decode_ask(request: bytes) -> Ask:
    """Read the request of a stream.

    Raises:
        RemoteProtocolError: It is none.
    """
    ask = Ask()
    try:
        ask.ParseFromString(request)
    except DecodeError as error:
        raise RemoteProtocolError("the request is not an Ask: it cannot be decoded") from error
    if len(ask.answer_id) != ANSWER_ID_SIZE or ask.WhichOneof("what") is None:
        raise RemoteProtocolError("the request names no answer, or asks nothing")
    if ask.HasField("http") and not ask.http.target.startswith("/"):  # appended to a base, it would name another host
        raise RemoteProtocolError("the target of the request is not a path")
    if not all(field.name.isascii() for field in ask.http.fields):
        raise RemoteProtocolError("a field of the request has a name that is not ASCII (RFC 9110 §5.1)")
    return ask


def decode_head(token: bytes) -> HttpHead:
    """Read the first token of an answer.

    Raises:
        RemoteProtocolError: It is no head of an HTTP answer.
    """
    head = HttpHead()
    try:
        head.ParseFromString(token)
    except DecodeError as error:
        raise RemoteProtocolError("the answer does not begin with a head") from error
    if not 200 <= head.status <= 599:
        raise RemoteProtocolError(f"the answer begins with the status {head.status}")
    return head


def encode_outcome(kind: Outcome.Kind.ValueType, message: str = "", *, grpc_status: int | None = None) -> bytes:
    """Return a trailer; a message that is too long for it is cut."""
    text = message.encode()[:MAX_OUTCOME].decode(errors="ignore")
    return Outcome(kind=kind, message=text, grpc_status=grpc_status).SerializeToString()


def decode_outcome(trailer: bytes) -> Outcome:
    """Read a trailer; one that cannot be read is of kind UNKNOWN."""
    outcome = Outcome()
    try:
        outcome.ParseFromString(trailer)
    except DecodeError:
        return Outcome()
    return outcome
