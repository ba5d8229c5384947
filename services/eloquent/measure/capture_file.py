"""The records of a capture file: pcap (also with nanoseconds, of either byte order) and pcapng.

Rules of this file:

- Each interface of a pcapng file has its own link type, clock resolution and clock offset.
- What is whole is read. A file that ends within a record, or is damaged, is read up to there, and a sentence says so.
- Memory is bounded by the longest record allowed, whatever lengths the file claims.

Source: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
"""

import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

_LONGEST = 1 << 24  # bytes of a record or block; libpcap's own largest packet has 256 KiB
_MICRO, _NANO = 10**6, 10**9
_PCAP = {  # magic: byte order, ticks a second, bytes of a record's header beyond 16
    b"\xd4\xc3\xb2\xa1": ("<", _MICRO, 0),
    b"\xa1\xb2\xc3\xd4": (">", _MICRO, 0),
    b"\x4d\x3c\xb2\xa1": ("<", _NANO, 0),
    b"\xa1\xb2\x3c\x4d": (">", _NANO, 0),
    b"\x34\xcd\xb2\xa1": ("<", _MICRO, 8),  # a patched libpcap of long ago
    b"\xa1\xb2\xcd\x34": (">", _MICRO, 8),
}
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _STATISTICS, _PACKET = 0x0A0D0D0A, 1, 2, 3, 5, 6
_BYTE_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_OPTION_RESOLUTION, _OPTION_OFFSET, _OPTION_DROPPED, _OPTION_DROPPED_BY_SYSTEM = 9, 14, 5, 7
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5": "zstd", b"BZ": "bzip2", b"\xfd7": "xz", b"PK": "zip"}

Warn = Callable[[str], None]
"""Told, in a sentence without a full stop, of what the reader should know of the file."""


@dataclass(frozen=True, slots=True)
class Record:
    """One captured frame.

    Attributes:
        at_s: When, in seconds of the capture's clock.
        link_type: How it is framed (LINKTYPE_ of libpcap).
        interface: Where it was captured: a number within the file.
        frame: The bytes that were kept.
        length: The bytes that it had.
    """

    at_s: float
    link_type: int
    interface: int
    frame: bytes
    length: int


class NoCapture(ValueError):
    """The file is no capture; the message says why."""


class _Damage(Exception):
    """The file is damaged from here on; the message says what is wrong."""


def read_records(file: BinaryIO, warn: Warn) -> Iterator[Record]:
    """Yield the records of a capture file, in its order.

    Args:
        file: Open for reading, at its begin.
        warn: Told of what was left out, when all has been read.

    Raises:
        NoCapture: It is neither pcap nor pcapng.
    """
    magic = file.read(4)
    if magic in _PCAP:
        records = _read_pcap(file, *_PCAP[magic])
    elif magic == _SECTION.to_bytes(4, "big"):
        records = _Blocks(file, warn).read()
    elif not magic:
        raise NoCapture("it is empty")
    elif magic[:2] in _COMPRESSED:
        raise NoCapture(f"it is compressed ({_COMPRESSED[magic[:2]]}): unpack it first")
    else:
        raise NoCapture("it is neither pcap nor pcapng, as tcpdump -w writes them")
    count = 0
    try:
        for record in records:
            count += 1
            yield record
    except EOFError:
        warn(f"the file ends within a record: what stands before it was read, {count} packets")
    except _Damage as damage:
        warn(f"the file is damaged, {damage}: what stands before that was read, {count} packets")


def _read_pcap(file: BinaryIO, order: str, ticks: int, beyond: int) -> Iterator[Record]:
    head = file.read(20)
    if len(head) < 20:
        raise NoCapture("it ends within its first 24 bytes")
    link_type = struct.unpack_from(order + "I", head, 16)[0] & 0xFFFF  # above it, how long a check sum the frames have
    while head := file.read(16 + beyond):
        if len(head) < 16 + beyond:
            raise EOFError
        seconds, fraction, kept, length = struct.unpack_from(order + "IIII", head)
        if kept > _LONGEST:
            raise _Damage(f"a packet of {kept} bytes")
        yield Record(seconds + fraction / ticks, link_type, 0, _exactly(file, kept), length)


def _exactly(file: BinaryIO, size: int) -> bytes:
    found = file.read(size)
    if len(found) < size:
        raise EOFError
    return found


@dataclass(slots=True)
class _Interface:
    number: int
    link_type: int
    snaplen: int
    ticks: int = _MICRO
    offset_s: int = 0


@dataclass(slots=True)
class _Blocks:
    """The blocks of a pcapng file, whose first four bytes have been read."""

    file: BinaryIO
    warn: Warn
    order: str = "<"
    interfaces: list[_Interface] = field(default_factory=list)  # of the section
    described: int = 0  # interfaces of all sections
    dropped: dict[int, int] = field(default_factory=dict)  # by interface: its last statistics
    left_out: Counter[str] = field(default_factory=Counter)

    def read(self) -> Iterator[Record]:
        kind = _SECTION.to_bytes(4, "big")
        try:
            while kind:
                if len(kind) < 4:
                    raise EOFError
                number = struct.unpack(self.order + "I", kind)[0]
                yield from self._block(number, self._body(is_section=number == _SECTION))
                kind = self.file.read(4)
        finally:
            for why, count in self.left_out.items():
                self.warn(f"{count} packets {why} were left out")
            if sum(self.dropped.values()):
                self.warn(f"the capturing program missed {sum(self.dropped.values())} packets, as the file itself says")

    def _body(self, *, is_section: bool) -> bytes:
        """Read a block after its type, and return what stands between its two lengths."""
        head = _exactly(self.file, 8 if is_section else 4)
        if is_section:
            if head[4:] not in _BYTE_ORDERS:
                raise _Damage("a section of unknown byte order")
            self.order = _BYTE_ORDERS[head[4:]]
        (length,) = struct.unpack_from(self.order + "I", head)
        rest = length - 8 - len(head)
        if length % 4 or rest < 0 or length > _LONGEST:
            raise _Damage(f"a block of {length} bytes")
        body = _exactly(self.file, rest)
        if _exactly(self.file, 4) != struct.pack(self.order + "I", length):
            raise _Damage("a block whose two lengths differ")
        return body

    def _block(self, kind: int, body: bytes) -> Iterator[Record]:
        if kind == _SECTION:
            self.interfaces = []
        elif kind == _INTERFACE:
            self.interfaces.append(self._interface(body))
        elif kind == _STATISTICS:
            self._note_dropped(body)
        elif kind == _SIMPLE_PACKET:
            self.left_out["without a time (simple packet blocks)"] += 1
        elif kind in {_PACKET, _OLD_PACKET}:
            if len(body) < 20:
                raise _Damage(f"a packet block of {len(body)} bytes")
            which, high, low, kept, length = struct.unpack_from(self.order + "IIIII", body)
            if kind == _OLD_PACKET:
                (which,) = struct.unpack_from(self.order + "H", body)
            if kept > len(body) - 20:
                raise _Damage(f"a packet of {kept} bytes in a block of {len(body)}")
            if which >= len(self.interfaces):
                self.left_out["of an interface that the file does not describe"] += 1
                return
            one = self.interfaces[which]
            at_s = (high << 32 | low) / one.ticks + one.offset_s
            yield Record(at_s, one.link_type, one.number, body[20 : 20 + kept], length)

    def _interface(self, body: bytes) -> _Interface:
        if len(body) < 8:
            raise _Damage(f"an interface block of {len(body)} bytes")
        link_type, _, snaplen = struct.unpack_from(self.order + "HHI", body)
        found = _Interface(self.described, link_type, snaplen)
        self.described += 1
        options = self._options(body[8:])
        if resolution := options.get(_OPTION_RESOLUTION):
            base, exponent = 2 if resolution[0] & 0x80 else 10, resolution[0] & 0x7F
            found.ticks = base**exponent
        if len(offset := options.get(_OPTION_OFFSET, b"")) == 8:
            (found.offset_s,) = struct.unpack(self.order + "q", offset)
        return found

    def _note_dropped(self, body: bytes) -> None:
        if len(body) < 12:
            raise _Damage(f"a statistics block of {len(body)} bytes")
        (which,) = struct.unpack_from(self.order + "I", body)
        options = self._options(body[12:])
        counts = [options.get(code, b"") for code in (_OPTION_DROPPED, _OPTION_DROPPED_BY_SYSTEM)]
        if which < len(self.interfaces):
            known = [struct.unpack(self.order + "Q", one)[0] for one in counts if len(one) == 8]
            self.dropped[self.interfaces[which].number] = max(known, default=0)

    def _options(self, raw: bytes) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        place = 0
        while place + 4 <= len(raw):
            code, length = struct.unpack_from(self.order + "HH", raw, place)
            if code == 0:
                break
            found.setdefault(code, raw[place + 4 : place + 4 + length])
            place += 4 + (length + 3) // 4 * 4
        return found
