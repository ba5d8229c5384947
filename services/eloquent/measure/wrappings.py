"""From a captured frame to the TCP packet in it, through whatever it is wrapped in; what is not decoded is named.

Rules of this file:

- A wrapping is a function from a place in a frame to the next wrapping and its place; the tables say which follows which.
- `None` is a frame that surely has no TCP (ARP, UDP, …). What might have some, and cannot be looked into, raises `Undecoded`
  with its name, so that nothing is left out silently. docs/measurement.md lists both.
- Lengths come from the IP header, not from what was kept; where segmentation offload leaves them out, from the frame's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

_DEEPEST = 16  # wrappings in one another
_TCP_HEADER = 20  # bytes
_IP_TO_TCP = 6


class Undecoded(Exception):
    """A frame that may hold TCP, and why it was not found; the message is a noun such as `IP fragments`."""


class _TooShort(Exception):
    """Less of the frame was kept than its headers are long."""


@dataclass(frozen=True, slots=True)
class CapturedDatagram:
    """An IP packet with TCP in a frame.

    Attributes:
        source: Address of the sender, 4 or 16 bytes.
        target: Address of the receiver.
        identification: What IPv4 tells copies from retransmissions by; None in IPv6.
        total: Bytes of the packet with its IP header, as it was on the wire.
        headers: Bytes of its IP headers.
        tcp: What was kept of it from the TCP header on.
    """

    source: bytes
    target: bytes
    identification: int | None
    total: int
    headers: int
    tcp: bytes


class _Frame(NamedTuple):
    data: bytes
    length: int  # on the wire


_Step = Callable[["_Frame", int], "tuple[_Step, int] | CapturedDatagram | None"]


def unwrap(link_type: int, frame: bytes, length: int) -> CapturedDatagram | None:
    """Return the IP packet with TCP in a frame; None where there is none.

    Args:
        link_type: How it is framed (LINKTYPE_ of libpcap).
        frame: What was kept of it.
        length: Bytes that it had.

    Raises:
        Undecoded: It may hold TCP that cannot be reached.
    """
    step = _LINK_TYPES.get(link_type)
    if step is None:
        raise Undecoded(_UNDECODED_LINKS.get(link_type, f"link type {link_type}"))
    whole, place = _Frame(frame, length), 0
    for _ in range(_DEEPEST):
        try:
            found = step(whole, place)
        except _TooShort:
            if len(frame) >= length:
                return None  # a malformed frame, and no TCP
            raise Undecoded("packets of which less was kept than their headers") from None
        if found is None or isinstance(found, CapturedDatagram):
            return found
        step, place = found
    raise Undecoded(f"more than {_DEEPEST} wrappings in one another")


def _number(frame: _Frame, place: int, size: int) -> int:
    return int.from_bytes(_bytes(frame, place, size), "big")


def _bytes(frame: _Frame, place: int, size: int) -> bytes:
    if place + size > len(frame.data):
        raise _TooShort
    return frame.data[place : place + size]


def _name(what: str) -> _Step:
    """Return the step that gives up and says what it stands before."""

    def step(_: _Frame, __: int) -> None:
        raise Undecoded(what)

    return step


def _skip(size: int, then: _Step) -> _Step:
    return lambda _, place: (then, place + size)


def _nothing(frame: _Frame, place: int) -> None:
    """End where no TCP can follow."""


# --- the network layer -----------------------------------------------------------------------------------------------------


def _ip(frame: _Frame, place: int) -> tuple[_Step, int] | None:
    version = _number(frame, place, 1) >> 4
    return (_ipv4, place) if version == 4 else (_ipv6, place) if version == 6 else None


def _ipv4(frame: _Frame, place: int) -> tuple[_Step, int] | CapturedDatagram | None:
    if _number(frame, place, 1) >> 4 != 4:
        return None
    headers = (_number(frame, place, 1) & 0xF) * 4
    protocol = _number(frame, place + 9, 1)
    if headers < 20:
        return None
    if protocol == 51:  # an authentication header (RFC 4302)
        protocol, headers = (
            _number(frame, place + headers, 1),
            headers + (_number(frame, place + headers + 1, 1) + 2) * 4,
        )
    if _number(frame, place + 6, 2) & 0x3FFF and (protocol == _IP_TO_TCP or protocol in _PROTOCOLS):
        raise Undecoded("IP fragments")
    if protocol != _IP_TO_TCP:
        return _PROTOCOLS.get(protocol, _nothing), place + headers
    return _datagram(
        frame,
        place,
        addresses=(_bytes(frame, place + 12, 4), _bytes(frame, place + 16, 4)),
        identification=_number(frame, place + 4, 2),
        total=_number(frame, place + 2, 2),
        headers=headers,
    )


def _ipv6(frame: _Frame, place: int) -> tuple[_Step, int] | CapturedDatagram | None:
    if _number(frame, place, 1) >> 4 != 6:
        return None
    protocol, headers = _number(frame, place + 6, 1), 40
    while protocol in {0, 43, 44, 51, 60}:  # hop by hop, routing, fragment, authentication, destination (RFC 8200)
        at = place + headers
        if protocol == 44 and _number(frame, at + 2, 2) & 0xFFF9:
            raise Undecoded("IP fragments")
        size = _number(frame, at + 1, 1)
        headers += 8 if protocol == 44 else (size + 2) * 4 if protocol == 51 else (size + 1) * 8
        protocol = _number(frame, at, 1)
    if protocol != _IP_TO_TCP:
        return _PROTOCOLS.get(protocol, _nothing), place + headers
    size = _number(frame, place + 4, 2)
    return _datagram(
        frame,
        place,
        addresses=(_bytes(frame, place + 8, 16), _bytes(frame, place + 24, 16)),
        identification=None,
        total=40 + size if size else 0,
        headers=headers,
    )


def _datagram(
    frame: _Frame, place: int, *, addresses: tuple[bytes, bytes], identification: int | None, total: int, headers: int
) -> CapturedDatagram | None:
    total = total or frame.length - place
    if total < headers + _TCP_HEADER:
        return None  # malformed
    kept = frame.data[place + headers : place + total]
    if len(kept) < _TCP_HEADER:
        raise _TooShort
    return CapturedDatagram(*addresses, identification, total, headers, kept)


def _gre(frame: _Frame, place: int) -> tuple[_Step, int]:
    """Step over GRE (RFC 2784, 2890) or PPTP's (RFC 2637)."""
    flags, protocol = _number(frame, place, 2), _number(frame, place + 2, 2)
    if flags & 0x4000:
        raise Undecoded("GRE with routing")
    sequence = 4 if flags & 0x1000 else 0
    if flags & 7 == 1:
        return _ppp, place + 8 + sequence + (4 if flags & 0x80 else 0)
    place += 4 + (4 if flags & 0x8000 else 0) + (4 if flags & 0x2000 else 0) + sequence
    if protocol == 0x88BE:  # a mirrored port: ERSPAN, of type II where it has a sequence number
        return _ethernet, place + (8 if sequence else 0)
    return _ethertype(protocol), place


def _udp(frame: _Frame, place: int) -> tuple[_Step, int] | None:
    """Look for a tunnel behind its port."""
    then = _TUNNELS.get(_number(frame, place + 2, 2))
    return None if then is None else (then, place + 8)


def _vxlan(frame: _Frame, place: int) -> tuple[_Step, int] | None:
    """Step over VXLAN (RFC 7348)."""
    return (_ethernet, place + 8) if _number(frame, place, 1) & 0x08 and _number(frame, place + 7, 1) == 0 else None


def _geneve(frame: _Frame, place: int) -> tuple[_Step, int] | None:
    """Step over Geneve (RFC 8926)."""
    first = _number(frame, place, 1)
    return (_ethertype(_number(frame, place + 2, 2)), place + 8 + (first & 0x3F) * 4) if first >> 6 == 0 else None


def _gtp(frame: _Frame, place: int) -> tuple[_Step, int] | None:
    """Step over GTP-U (3GPP TS 29.281), which carries the traffic of mobile networks."""
    flags, kind = _number(frame, place, 1), _number(frame, place + 1, 1)
    if flags >> 5 != 1 or kind != 0xFF:
        return None
    place += 8
    if flags & 7:
        extension, place = _number(frame, place + 3, 1), place + 4
        while extension:
            size = _number(frame, place, 1) * 4
            if not size:
                return None
            extension, place = _number(frame, place + size - 1, 1), place + size
    return _ip, place


# --- the link layer --------------------------------------------------------------------------------------------------------


def _ethertype_or_length(frame: _Frame, place: int) -> tuple[_Step, int]:
    """Read the type of an Ethernet frame, or the length that IEEE 802.3 has in its place."""
    kind = _number(frame, place, 2)
    return (_ethertype(kind) if kind > 1500 else _llc), place + 2


_ethernet = _skip(12, _ethertype_or_length)
_vlan = _skip(2, _ethertype_or_length)


def _ethertype(kind: int) -> _Step:
    return _nothing if kind in _NO_TCP else _ETHERTYPES.get(kind) or _name(f"EtherType {kind:#06x}")


def _llc(frame: _Frame, place: int) -> tuple[_Step, int] | None:
    is_snap = _bytes(frame, place, 3) == b"\xaa\xaa\x03" and _bytes(frame, place + 3, 3) == b"\0\0\0"
    return (_ethertype(_number(frame, place + 6, 2)), place + 8) if is_snap else None


def _mpls(frame: _Frame, place: int) -> tuple[_Step, int]:
    """Step over a label; behind the last one stands IP, or else a pseudowire's Ethernet (RFC 3032, 4928)."""
    if not _number(frame, place + 2, 1) & 1:
        return _mpls, place + 4
    if _number(frame, place + 4, 1) >> 4 not in {4, 6}:
        raise Undecoded("Ethernet in MPLS (a pseudowire)")
    return _ip, place + 4


def _ppp(frame: _Frame, place: int) -> tuple[_Step, int]:
    """Read the protocol of PPP, which may be compressed to a byte (RFC 1661, 1662)."""
    if _bytes(frame, place, 2) == b"\xff\x03":
        place += 2
    short = _number(frame, place, 1) & 1
    protocol = _number(frame, place, 1 if short else 2)
    place += 1 if short else 2
    if protocol in _PPP:
        return _PPP[protocol], place
    return (_nothing if protocol >= 0x8000 else _name(f"PPP of protocol {protocol:#06x}")), place


_pppoe = _skip(6, _ppp)


def _cooked(frame: _Frame, place: int) -> tuple[_Step, int]:
    return _cooked_protocol(frame, device=place + 2, protocol=place + 14), place + 16


def _cooked2(frame: _Frame, place: int) -> tuple[_Step, int]:
    return _cooked_protocol(frame, device=place + 8, protocol=place), place + 20


def _cooked_protocol(frame: _Frame, *, device: int, protocol: int) -> _Step:
    kind, hardware = _number(frame, protocol, 2), _number(frame, device, 2)
    if hardware == 824:  # ARPHRD_NETLINK
        return _nothing
    if hardware in {801, 802, 803}:
        return _name("IEEE 802.11 frames")
    return _llc if kind in {1, 4} else _nothing if kind < 0x600 else _ethertype(kind)


def _loopback(frame: _Frame, place: int) -> tuple[_Step, int] | None:
    """Step over BSD's address family, in the byte order of whoever captured."""
    _bytes(frame, place, 4)
    return _ip, place + 4


_ETHERTYPES: dict[int, _Step] = {
    0x0800: _ipv4,
    0x86DD: _ipv6,
    0x8100: _vlan,
    0x88A8: _vlan,  # 802.1ad, QinQ
    0x9100: _vlan,
    0x9200: _vlan,
    0x8847: _mpls,
    0x8848: _mpls,
    0x8864: _pppoe,
    0x6558: _ethernet,  # in GRE
    0x880B: _ppp,
    0x88E5: _name("MACsec, which is encrypted"),
}
# ARP, Wake-on-LAN, RARP, AppleTalk, IPX, flow control, link aggregation, PPPoE discovery, 802.1X, LLDP, PTP, loopback test
_NO_TCP = {0x0806, 0x0842, 0x8035, 0x809B, 0x80F3, 0x8137, 0x8808, 0x8809, 0x8863, 0x888E, 0x88CC, 0x88F7, 0x9000}
_PPP: dict[int, _Step] = {0x21: _ipv4, 0x57: _ipv6, 0x281: _mpls, 0x283: _mpls}
_PROTOCOLS: dict[int, _Step] = {
    4: _ipv4,
    41: _ipv6,
    17: _udp,
    47: _gre,
    50: _name("IPsec ESP, which is encrypted"),
    97: _skip(2, _ethernet),  # EtherIP
    115: _name("L2TP"),
    137: _mpls,
}
_TUNNELS: dict[int, _Step] = {
    4789: _vxlan,
    8472: _vxlan,  # Linux's own old port
    6081: _geneve,
    2152: _gtp,
    1701: _name("L2TP"),
    4500: _name("IPsec ESP, which is encrypted"),
}
_LINK_TYPES: dict[int, _Step] = {
    0: _loopback,
    108: _loopback,
    1: _ethernet,
    9: _ppp,
    50: _ppp,
    51: _pppoe,
    166: _skip(1, _ppp),
    204: _skip(1, _ppp),
    12: _ip,  # raw IP, as a tun has it, and its older numbers
    14: _ip,
    101: _ip,
    228: _ipv4,
    229: _ipv6,
    104: _skip(2, lambda frame, place: (_ethertype(_number(frame, place, 2)), place + 2)),  # Cisco's HDLC
    113: _cooked,
    276: _cooked2,
}
_UNDECODED_LINKS = {
    105: "IEEE 802.11 frames (link type 105)",
    119: "IEEE 802.11 frames (link type 119)",
    127: "IEEE 802.11 frames (link type 127)",
    163: "IEEE 802.11 frames (link type 163)",
    192: "PPI frames (link type 192)",
    107: "frame relay (link type 107)",
    239: "NFLOG messages (link type 239)",
}
