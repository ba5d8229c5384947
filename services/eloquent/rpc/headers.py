"""What gRPC writes into headers: statuses, their messages, deadlines, metadata (grpc/doc/PROTOCOL-HTTP2.md)."""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote_to_bytes

import grpc

CONTENT_TYPE = b"application/grpc"
CODES = {code.value[0]: code for code in grpc.StatusCode}
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}  # seconds
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_LONGEST = 99_999_999  # what has room in a timeout
_RESERVED_PREFIXES = (b":", b"grpc-")
_RESERVED = {b"content-type", b"user-agent", b"te"}
_HTTP = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}  # codes for answers that are not gRPC's

Pairs = list[tuple[bytes, bytes]]


def encode_message(text: str) -> bytes:
    """Write a status message: what is not printable ASCII goes by its numbers."""
    return b"".join(bytes((one,)) if 0x20 <= one <= 0x7E and one != 0x25 else b"%%%02X" % one for one in text.encode())


def decode_message(value: bytes) -> str:
    """Read a status message."""
    return unquote_to_bytes(value).decode(errors="replace")


def encode_timeout(seconds: float) -> bytes:
    """Write a deadline, in the finest unit that has room for it."""
    for unit in ("n", "u", "m", "S", "M"):
        if (number := int(seconds / _UNITS[unit])) <= _LONGEST:
            return f"{number}{unit}".encode()
    return f"{min(int(seconds / 3600), _LONGEST)}H".encode()


def decode_timeout(value: bytes) -> float | None:
    """Read a deadline in seconds; None for what is none."""
    found = _TIMEOUT.fullmatch(value.decode("latin-1"))
    return int(found[1]) * _UNITS[found[2]] if found else None


def metadata_pairs(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Return the text metadata of headers: what is neither HTTP/2's nor gRPC's own, and no bytes."""
    return [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in headers
        if not (name in _RESERVED or name.startswith(_RESERVED_PREFIXES) or name.endswith(b"-bin"))
    ]


def status_headers(code: grpc.StatusCode, details: str = "") -> Pairs:
    """Return the headers that end a call."""
    number: int = code.value[0]
    found = [(b"grpc-status", b"%d" % number)]
    return [*found, (b"grpc-message", encode_message(details))] if details else found


def status_of(headers: Mapping[bytes, bytes]) -> tuple[grpc.StatusCode, str]:
    """Return how a call ended, by the headers that ended it."""
    if (number := headers.get(b"grpc-status")) is not None:
        code = CODES.get(int(number) if number.isdigit() else 2, grpc.StatusCode.UNKNOWN)
        return code, decode_message(headers.get(b"grpc-message", b""))
    status = headers.get(b":status", b"")
    number_of_code = _HTTP.get(int(status) if status.isdigit() else 0, 2)
    return CODES[number_of_code], f"the answer has no status of gRPC, and {status.decode('latin-1') or 'none'} of HTTP"
