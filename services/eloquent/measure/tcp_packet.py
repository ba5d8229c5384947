"""One TCP packet: what its header says (RFC 9293, 7323, 2018)."""

import socket
import struct
from dataclasses import dataclass

from eloquent.measure.wrappings import CapturedDatagram

_SYN, _FIN, _RST, _ACK = 0x02, 0x01, 0x04, 0x10
_OPTION_END, _OPTION_PADDING = 0, 1
_OPTION_SEGMENT, _OPTION_SCALE, _OPTION_SACK_PERMITTED, _OPTION_SACK, _OPTION_TIMESTAMP = 2, 3, 4, 5, 8

Address = tuple[str, int]
"""Host and port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpPacket:
    """One TCP packet of a capture.

    Attributes:
        at_s: When it passed the capture, in seconds of the wall clock.
        source: Where it comes from.
        target: Where it goes.
        sequence: Its sequence number, 32 bits.
        acknowledged: What it acknowledges, 32 bits; None without the flag.
        syn: Whether it opens the connection.
        closes: Whether it ends it (FIN or RST).
        window: The window that it advertises, not scaled.
        scale: By how many bits windows are scaled, where it is a SYN that says so (RFC 7323).
        segment: Longest segment that its sender takes in bytes, where it is a SYN that says so.
        sack_permitted: Whether it is a SYN that permits SACK (RFC 2018).
        payload_bytes: Bytes of data.
        wire_bytes: Bytes with IP and TCP headers.
        sacks: Its SACK blocks, each a first byte and the byte after the last, 32 bits; the first may be a DSACK (RFC 2883).
        ts_value: Its timestamp, where it has one.
        ts_echo: The timestamp that it echoes.
    """

    at_s: float
    source: Address
    target: Address
    sequence: int
    acknowledged: int | None
    syn: bool
    closes: bool = False
    window: int = 0xFFFF
    scale: int | None = None
    segment: int | None = None
    sack_permitted: bool = False
    payload_bytes: int
    wire_bytes: int
    sacks: tuple[tuple[int, int], ...] = ()
    ts_value: int | None = None
    ts_echo: int | None = None


def header_length(datagram: CapturedDatagram) -> int:
    """Return how many bytes the TCP header of a datagram says to have."""
    return (datagram.tcp[12] >> 4) * 4


def parse_tcp(at_s: float, datagram: CapturedDatagram) -> TcpPacket | None:
    """Return the TCP packet of a datagram; None where its header is malformed.

    Args:
        at_s: When it was captured.
        datagram: What holds it.
    """
    source, target, sequence, acknowledged, _, flags, window = struct.unpack_from(">HHIIBBH", datagram.tcp)
    header = header_length(datagram)
    headers = datagram.headers + header
    if header < 20 or headers > datagram.total:
        return None
    family = socket.AF_INET if len(datagram.source) == 4 else socket.AF_INET6
    options = _options(datagram.tcp[20:header])
    stamps = options.get(_OPTION_TIMESTAMP, b"")
    sacks = options.get(_OPTION_SACK, b"")
    numbers = [int.from_bytes(sacks[place : place + 4], "big") for place in range(0, len(sacks) // 8 * 8, 4)]
    is_syn, has_stamps = bool(flags & _SYN), len(stamps) == 8
    return TcpPacket(
        at_s=at_s,
        source=(socket.inet_ntop(family, datagram.source), source),
        target=(socket.inet_ntop(family, datagram.target), target),
        sequence=sequence,
        acknowledged=acknowledged if flags & _ACK else None,
        syn=is_syn,
        closes=bool(flags & (_FIN | _RST)),
        window=window,
        scale=_value(options, _OPTION_SCALE, is_syn=is_syn),
        segment=_value(options, _OPTION_SEGMENT, is_syn=is_syn),
        sack_permitted=is_syn and _OPTION_SACK_PERMITTED in options,
        payload_bytes=datagram.total - headers,
        wire_bytes=datagram.total,
        sacks=tuple(zip(numbers[::2], numbers[1::2], strict=True)),
        ts_value=int.from_bytes(stamps[:4], "big") if has_stamps else None,
        ts_echo=int.from_bytes(stamps[4:], "big") if has_stamps else None,
    )


def _value(options: dict[int, bytes], kind: int, *, is_syn: bool) -> int | None:
    return int.from_bytes(options[kind], "big") if is_syn and options.get(kind) else None


def _options(raw: bytes) -> dict[int, bytes]:
    """Return the options of a TCP header by their kind, as far as they were kept and make sense."""
    found: dict[int, bytes] = {}
    place = 0
    while place < len(raw) and raw[place] != _OPTION_END:
        if raw[place] == _OPTION_PADDING:
            place += 1
            continue
        length = raw[place + 1] if place + 1 < len(raw) else 0
        if length < 2 or place + length > len(raw):
            break
        found.setdefault(raw[place], raw[place + 2 : place + length])
        place += length
    return found
