"""From a capture file to TCP packets.

Rules of this file:

- Capture files of libpcap and pcapng, with Ethernet, Linux cooked (`tcpdump -i any`), loopback or raw IP framing.
- A capture may hold only the first bytes of each packet: lengths come from the IP header, not from what was kept.
- A packet that a capture of all interfaces holds twice (a bridge and its port, say) is one packet: a copy has the IP
  identification, sequence number and timestamps of the first within a few milliseconds; a retransmission has not.
"""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import dpkt

from eloquent.errors import ConfigurationError

_COPY_TIME = 0.005  # seconds within which the copies of one packet pass all interfaces of a host
_REMEMBERED = 10_000  # packets after which those that can have no more copies are forgotten
_OPTION_SACK, _OPTION_TIMESTAMP = 5, 8  # RFC 2018, RFC 7323
_RAW_LINK_TYPES = {12, 14, 101, 228, 229}  # LINKTYPE_RAW and its older values, IPV4, IPV6

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
    payload_bytes: int
    wire_bytes: int
    sacks: tuple[tuple[int, int], ...] = ()
    ts_value: int | None = None
    ts_echo: int | None = None


def read_capture(path: Path) -> Iterator[TcpPacket]:
    """Yield the TCP packets of a capture file, in its order.

    Args:
        path: A pcap or pcapng file, as `tcpdump -w` writes it.

    Raises:
        ConfigurationError: There is no such file, or it is not a capture that can be read.
    """
    try:
        with path.open("rb") as file:
            yield from _read(file)
    except OSError as error:
        raise ConfigurationError(f"cannot read the capture {path}: {error.strerror}") from None
    except (ValueError, dpkt.Error) as error:
        raise ConfigurationError(f"{path} is not a capture of IP packets: {error}") from None


def _read(file: BinaryIO) -> Iterator[TcpPacket]:
    reader = dpkt.pcap.UniversalReader(file)
    link_type = reader.datalink()
    recent: dict[tuple[Any, ...], float] = {}
    for at, frame in reader:
        packet = _network_packet(link_type, frame)
        tcp = getattr(packet, "data", None)
        if not isinstance(tcp, dpkt.tcp.TCP):
            continue
        at_s = float(at)
        parsed, identification = _parse(at_s, packet, tcp)
        key = (
            parsed.source,
            parsed.target,
            identification,
            tcp.seq,
            tcp.ack,
            tcp.flags,
            bytes(tcp.opts),
            len(tcp.data),
        )
        if at_s - recent.get(key, float("-inf")) < _COPY_TIME:
            continue
        if len(recent) >= _REMEMBERED:
            recent = {old: seen_s for old, seen_s in recent.items() if at_s - seen_s < _COPY_TIME}
        recent[key] = at_s
        yield parsed


def _network_packet(link_type: int, frame: bytes) -> Any:
    """Return the IP packet in a frame; None where there is none."""
    try:
        match link_type:
            case dpkt.pcap.DLT_EN10MB:
                return dpkt.ethernet.Ethernet(frame).data
            case dpkt.pcap.DLT_LINUX_SLL:
                return dpkt.sll.SLL(frame).data
            case dpkt.pcap.DLT_LINUX_SLL2:
                return dpkt.sll2.SLL2(frame).data
            case dpkt.pcap.DLT_NULL | dpkt.pcap.DLT_LOOP:
                return dpkt.loopback.Loopback(frame).data
            case _ if link_type in _RAW_LINK_TYPES:
                return dpkt.ip6.IP6(frame) if frame[0] >> 4 == 6 else dpkt.ip.IP(frame)
    except (dpkt.UnpackError, IndexError):
        return None  # no IP, or too little of it was kept
    raise ConfigurationError(f"this capture has link type {link_type}: capture on Ethernet, or with tcpdump -i any")


def _parse(at_s: float, packet: Any, tcp: Any) -> tuple[TcpPacket, int | None]:
    """Return a packet, and the IP identification that tells its copies from its retransmissions."""
    if isinstance(packet, dpkt.ip6.IP6):
        family, identification, total = socket.AF_INET6, None, 40 + packet.plen
        headers = 40 + tcp.off * 4 + (0 if packet.nxt == dpkt.ip.IP_PROTO_TCP else packet.plen - len(bytes(tcp)))
    else:
        family, identification, total = socket.AF_INET, packet.id, packet.len
        headers = packet.hl * 4 + tcp.off * 4
    if total <= 40 and tcp.data:  # segmentation offload leaves the length out
        total = headers + len(tcp.data)
    options = _options(tcp.opts)
    timestamps = options.get(_OPTION_TIMESTAMP, b"")
    sacks = options.get(_OPTION_SACK, b"")
    numbers = [int.from_bytes(sacks[place : place + 4], "big") for place in range(0, len(sacks) // 8 * 8, 4)]
    has_timestamps = len(timestamps) == 8
    parsed = TcpPacket(
        at_s=at_s,
        source=(socket.inet_ntop(family, packet.src), tcp.sport),
        target=(socket.inet_ntop(family, packet.dst), tcp.dport),
        sequence=tcp.seq,
        acknowledged=tcp.ack if tcp.flags & dpkt.tcp.TH_ACK else None,
        syn=bool(tcp.flags & dpkt.tcp.TH_SYN),
        payload_bytes=max(0, total - headers),
        wire_bytes=total,
        sacks=tuple(zip(numbers[::2], numbers[1::2], strict=True)),
        ts_value=int.from_bytes(timestamps[:4], "big") if has_timestamps else None,
        ts_echo=int.from_bytes(timestamps[4:], "big") if has_timestamps else None,
    )
    return parsed, identification


def _options(raw: bytes) -> dict[int, bytes]:
    try:
        return dict(filter(None, dpkt.tcp.parse_opts(raw)))
    except (TypeError, ValueError):
        return {}
