"""TCP through every wrapping that is decoded, and the names of those that are not."""

import struct

import dpkt
import pytest

from eloquent.measure.wrappings import CapturedDatagram, Undecoded, unwrap

TCP = struct.pack(">HHIIBBHHH", 8000, 40000, 5, 6, 5 << 4, 0x10, 100, 0, 0)
DATA = b"abc"


def ipv4(body: bytes, protocol: int = 6, *, offset: int = 0, total: int | None = None, options: bytes = b"") -> bytes:
    size = 20 + len(options)
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x40 | size // 4, 0, size + len(body) if total is None else total, 7, offset, 64, protocol, 0,
        b"\x0a\0\0\2", b"\x0a\0\0\1",
    )  # fmt: skip
    return head + options + body


def ipv6(body: bytes, protocol: int = 6, *, size: int | None = None) -> bytes:
    length = len(body) if size is None else size
    return struct.pack(">IHBB16s16s", 6 << 28, length, protocol, 64, b"\0" * 15 + b"\1", b"\0" * 15 + b"\2") + body


def ethernet(kind: int, body: bytes) -> bytes:
    return b"\2" * 6 + b"\4" * 6 + struct.pack(">H", kind) + body


def udp(port: int, body: bytes) -> bytes:
    return struct.pack(">HHHH", 50000, port, 8 + len(body), 0) + body


V4, V6 = ipv4(TCP + DATA), ipv6(TCP + DATA)
FRAME = ethernet(0x0800, V4)

DECODED = {
    "Ethernet": (1, FRAME),
    "Ethernet, padded": (1, FRAME + bytes(30)),
    "Ethernet, IPv6": (1, ethernet(0x86DD, V6)),
    "VLAN": (1, ethernet(0x8100, b"\0\5\x08\0" + V4)),
    "QinQ": (1, ethernet(0x88A8, b"\0\5\x81\0\0\6\x08\0" + V4)),
    "old QinQ": (1, ethernet(0x9100, b"\0\5\x81\0\0\6\x86\xdd" + V6)),
    "SNAP": (1, ethernet(8 + len(V4), b"\xaa\xaa\3\0\0\0\x08\0" + V4)),
    "PPPoE": (1, ethernet(0x8864, struct.pack(">BBHHH", 0x11, 0, 7, 2 + len(V4), 0x21) + V4)),
    "PPPoE in a VLAN, IPv6": (1, ethernet(0x8100, b"\0\7\x88\x64" + struct.pack(">BBHHH", 0x11, 0, 7, 9, 0x57) + V6)),
    "MPLS": (1, ethernet(0x8847, b"\0\1\0\x40\0\1\1\x40" + V4)),
    "Linux cooked": (113, b"\0\0\0\1\0\6" + bytes(8) + b"\x08\0" + V4),
    "Linux cooked, VLAN": (113, b"\0\0\0\1\0\6" + bytes(8) + b"\x81\0\0\5\x86\xdd" + V6),
    "Linux cooked, a tun": (113, b"\0\0\xff\xfe\0\0" + bytes(8) + b"\x08\0" + V4),
    "Linux cooked 2": (276, b"\x08\0\0\0" + bytes(4) + b"\0\1\0\6" + bytes(8) + V4),
    "Linux cooked 2, IPv6": (276, b"\x86\xdd\0\0" + bytes(4) + b"\0\1\0\6" + bytes(8) + V6),
    "BSD loopback": (0, b"\2\0\0\0" + V4),
    "BSD loopback, IPv6, big-endian": (108, b"\0\0\0\x1e" + V6),
    "raw IP": (101, V4),
    "raw IPv6": (101, V6),
    "raw IP, older": (12, V4),
    "IPv4": (228, V4),
    "IPv6": (229, V6),
    "PPP": (9, b"\xff\3\0\x21" + V4),
    "PPP, compressed protocol": (9, b"\x21" + V4),
    "PPP with direction": (204, b"\1\xff\3\0\x57" + V6),
    "HDLC": (104, b"\x0f\0\x08\0" + V4),
    "IP options": (101, ipv4(TCP + DATA, options=b"\x94\4\0\0")),
    "IP in IP": (101, ipv4(V4, 4)),
    "6in4": (101, ipv4(V6, 41)),
    "4in6": (101, ipv6(V4, 4)),
    "GRE": (101, ipv4(b"\0\0\x08\0" + V4, 47)),
    "GRE with check sum, key and number": (101, ipv4(b"\xb0\0\x86\xdd" + bytes(12) + V6, 47)),
    "GRE of Ethernet": (101, ipv4(b"\0\0\x65\x58" + FRAME, 47)),
    "PPTP": (101, ipv4(b"\x30\x81\x88\x0b" + bytes(12) + b"\xff\3\0\x21" + V4, 47)),
    "ERSPAN": (101, ipv4(b"\x10\0\x88\xbe" + bytes(12) + FRAME, 47)),
    "EtherIP": (101, ipv4(b"\x30\0" + FRAME, 97)),
    "MPLS in IP": (101, ipv4(b"\0\1\1\x40" + V4, 137)),
    "VXLAN": (1, ethernet(0x0800, ipv4(udp(4789, b"\x08\0\0\0\0\0\5\0" + FRAME), 17))),
    "VXLAN, Linux's port": (1, ethernet(0x86DD, ipv6(udp(8472, b"\x08\0\0\0\0\0\5\0" + FRAME), 17))),
    "Geneve": (101, ipv4(udp(6081, b"\1\0\x65\x58\0\0\5\0" + bytes(4) + FRAME), 17)),
    "GTP-U": (101, ipv4(udp(2152, b"\x30\xff\0\0\0\0\0\1" + V4), 17)),
    "GTP-U with extension": (101, ipv4(udp(2152, b"\x34\xff\0\0\0\0\0\1\0\0\0\x85\1\0\0\0" + V4), 17)),
    "IPv6 extensions": (229, ipv6(b"\x3c\0" + bytes(6) + b"\x2c\0" + bytes(6) + b"\6\0\0\0\0\0\0\5" + TCP + DATA, 0)),
    "IPv6 authentication": (229, ipv6(b"\6\4" + bytes(22) + TCP + DATA, 51)),
    "IPv4 authentication": (228, ipv4(b"\6\4" + bytes(22) + TCP + DATA, 51)),
}  # fmt: skip


@pytest.mark.parametrize("name", DECODED)
def test_decoded(name: str):
    link_type, frame = DECODED[name]
    found = unwrap(link_type, frame, len(frame))
    assert isinstance(found, CapturedDatagram)
    assert found.tcp == TCP + DATA
    assert found.total - found.headers == len(TCP + DATA)
    assert found.source in {b"\x0a\0\0\2", b"\0" * 15 + b"\1"}
    assert found.identification == (7 if len(found.source) == 4 else None)


@pytest.mark.parametrize("name", DECODED)
def test_less_than_the_headers_is_said_and_malformed_is_none(name: str):
    link_type, frame = DECODED[name]
    first = frame.index(TCP)
    for kept in range(first + 20):
        with pytest.raises(Undecoded, match="less was kept"):
            unwrap(link_type, frame[:kept], len(frame))
    short = unwrap(link_type, frame[: first + 20], len(frame))
    assert isinstance(short, CapturedDatagram)
    assert short.total - short.headers == len(TCP + DATA)


NAMED = {
    "IP fragments": (101, ipv4(TCP, offset=0x2000)),
    "IP fragments, of a tunnel": (101, ipv4(V4, 4, offset=0x2000)),
    "IP fragments, later ones": (101, ipv4(b"x" * 30, offset=100)),
    "IP fragments, IPv6": (229, ipv6(b"\6\0\0\1\0\0\0\5" + TCP, 44)),
    "IPsec ESP": (101, ipv4(b"x" * 40, 50)),
    "IPsec ESP, in UDP": (101, ipv4(udp(4500, b"x" * 40), 17)),
    "L2TP": (101, ipv4(udp(1701, b"x" * 40), 17)),
    "MACsec": (1, ethernet(0x88E5, b"x" * 40)),
    "EtherType 0x8903": (1, ethernet(0x8903, b"x" * 40)),
    "Ethernet in MPLS": (1, ethernet(0x8847, b"\0\1\1\x40" + bytes(4) + FRAME)),
    "PPP of protocol 0x00fd": (9, b"\0\xfd" + b"x" * 30),
    "IEEE 802.11 frames (link type 105)": (105, b"x" * 60),
    "IEEE 802.11 frames, cooked": (113, b"\0\0\3\x23\0\6" + bytes(8) + b"\0\x19" + b"x" * 30),
    "link type 147": (147, b"x"),
    "more than 16 wrappings": (1, ethernet(0x8100, b"\0\5\x81\0" * 40)),
}


@pytest.mark.parametrize("name", NAMED)
def test_named(name: str):
    link_type, frame = NAMED[name]
    with pytest.raises(Undecoded) as caught:
        unwrap(link_type, frame, len(frame))
    assert name.partition(",")[0] in str(caught.value)


@pytest.mark.parametrize(
    ("link_type", "frame"),
    [
        (1, ethernet(0x0806, bytes(28))),  # ARP
        (1, ethernet(0x88CC, bytes(28))),  # LLDP
        (1, ethernet(0x8863, bytes(28))),  # PPPoE discovery
        (1, ethernet(38, b"\x42\x42\3" + bytes(35))),  # spanning tree
        (101, ipv4(udp(53, b"question"), 17)),
        (101, ipv4(udp(4789, b"\0\0\0\0 no VXLAN"), 17)),
        (101, ipv4(b"ping", 1)),
        (9, b"\xff\3\xc0\x21" + bytes(8)),  # LCP
        (101, b"\x10 neither version"),
        (101, b"\x41" + V4[1:]),  # a header of 4 bytes
        (101, ipv4(TCP, total=30)),  # shorter than its headers
        (1, b""),
        (113, b"\0\0\3\x38\0\0" + bytes(8) + b"\0\0" + b"netlink"),
    ],
)
def test_what_has_no_tcp_is_none(link_type: int, frame: bytes):
    assert unwrap(link_type, frame, len(frame)) is None


def test_a_length_that_segmentation_offload_left_out_is_the_frames():
    frame = ethernet(0x0800, ipv4(TCP + DATA, total=0))
    found = unwrap(1, frame[:60], 70_000)
    assert isinstance(found, CapturedDatagram)
    assert found.total - found.headers == 70_000 - 14 - 20
    frame = ethernet(0x86DD, ipv6(TCP + DATA, size=0))
    found = unwrap(1, frame, 70_000)
    assert isinstance(found, CapturedDatagram)
    assert found.total - found.headers == 70_000 - 14 - 40


def test_another_encoder_says_the_same():
    packet = dpkt.ip.IP(src=b"\x0a\0\0\2", dst=b"\x0a\0\0\1", p=6, id=7, data=dpkt.tcp.TCP(sport=8000, dport=40000))
    packet.len = 40
    frame = bytes(dpkt.ethernet.Ethernet(data=packet))
    found = unwrap(1, frame, len(frame))
    assert isinstance(found, CapturedDatagram)
    assert found.tcp == bytes(packet.data)
