"""From a capture file to TCP packets.

Rules of this file:

- Of each frame the TCP packet in it is read, through its wrappings; what cannot be looked into is named and counted.
- A capture may hold only the first bytes of each packet: lengths come from the IP header, not from what was kept.
- A packet that was captured on several interfaces of a host is one packet (`copies.py`).
- The order is the capture's. Its clock may have been set back meanwhile.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from eloquent.errors import ConfigurationError
from eloquent.measure.capture_file import NoCapture, Warn, read_records
from eloquent.measure.copies import Copies
from eloquent.measure.tcp_packet import Address, TcpPacket, header_length, parse_tcp
from eloquent.measure.wrappings import Undecoded, unwrap

__all__ = ["Address", "TcpPacket", "no_warning", "read_capture"]


def no_warning(text: str) -> None:
    """Take a warning that nobody wants to hear."""


def read_capture(path: Path, warn: Warn = no_warning) -> Iterator[TcpPacket]:
    """Yield the TCP packets of a capture file, in its order.

    Args:
        path: A pcap or pcapng file, as `tcpdump -w` writes it.
        warn: Told of what was left out, when all has been read.

    Raises:
        ConfigurationError: There is no such file, it is not a capture, or nothing in it could be decoded.
    """
    try:
        with path.open("rb") as file:
            yield from _read(path, file, warn)
    except OSError as error:
        raise ConfigurationError(f"cannot read the capture {path}: {error.strerror}") from None
    except NoCapture as error:
        raise ConfigurationError(f"{path} is not a capture of IP packets: {error}") from None


def _read(path: Path, file: BinaryIO, warn: Warn) -> Iterator[TcpPacket]:
    copies = Copies()
    undecoded: Counter[str] = Counter()
    is_decoded, shortened = False, 0
    for record in read_records(file, warn):
        try:
            datagram = unwrap(record.link_type, record.frame, record.length)
        except Undecoded as reason:
            undecoded[str(reason)] += 1
            continue
        is_decoded = True
        shortened += datagram is not None and len(datagram.tcp) < header_length(datagram)
        parsed = None if datagram is None else parse_tcp(record.at_s, datagram)
        if datagram is not None and parsed is not None:
            packet = copies.original(parsed, datagram.identification, record)
            if packet is not None:
                yield packet
    if shortened:
        warn(
            f"of {shortened} packets the TCP options were cut off, with their timestamps and SACKs: capture 128 bytes or more"
        )
    names = ", ".join(f"{count} of {name}" for name, count in undecoded.most_common())
    if names and not is_decoded:
        raise ConfigurationError(
            f"{path} holds only packets that are not decoded ({names}): capture on Ethernet, or with tcpdump -i any"
        )
    if names:
        warn(f"packets that are not decoded were left out: {names}")
