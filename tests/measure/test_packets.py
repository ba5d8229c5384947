import socket
from pathlib import Path

import dpkt
import pytest

from eloquent.errors import ConfigurationError
from eloquent.measure.packets import read_capture

from .conftest import ACK, CLIENT, EPOCH, SERVER, Story


def test_a_truncated_capture_tells_the_same(tmp_path: Path):
    story = Story(lambda number, now: number == 3, tokens=10)
    whole = list(read_capture(story.write(tmp_path / "a.pcap", "sender")))
    short = list(read_capture(story.write(tmp_path / "b.pcap", "sender", snaplen=96)))
    assert whole == short
    data = [packet for packet in whole if packet.payload_bytes]
    assert {(packet.source, packet.target, packet.payload_bytes) for packet in data} == {(SERVER, CLIENT, 100)}
    assert data[0].at_s == pytest.approx(EPOCH)
    assert data[0].wire_bytes == 20 + 20 + 12 + 100
    assert data[1].ts_value == 100
    assert any(packet.sacks for packet in whole)


def frame(data: bytes = b"abc", *, identification: int = 7) -> dpkt.ip.IP:
    tcp = dpkt.tcp.TCP(sport=SERVER[1], dport=CLIENT[1], seq=5, ack=6, flags=ACK, data=data)
    addresses = {"src": socket.inet_aton(SERVER[0]), "dst": socket.inet_aton(CLIENT[0])}
    packet = dpkt.ip.IP(**addresses, p=6, data=tcp, id=identification)
    packet.len = 40 + len(data)
    return packet


def ipv6() -> dpkt.ip6.IP6:
    tcp = dpkt.tcp.TCP(sport=1, dport=2, seq=5, ack=6, flags=ACK, data=b"abc")
    packet = dpkt.ip6.IP6(src=b"\0" * 15 + b"\1", dst=b"\0" * 15 + b"\2", nxt=6, plen=23, hlim=9, data=tcp)
    packet.extension_hdrs = {}
    return packet


def capture(path: Path, frames: list[tuple[float, bytes]], link_type: int) -> Path:
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file, linktype=link_type)
        for at, raw in frames:
            writer.writepkt(raw, ts=at)
    return path


@pytest.mark.parametrize(
    ("link_type", "wrap"),
    [
        (1, lambda ip: bytes(dpkt.ethernet.Ethernet(src=b"\2" * 6, dst=b"\4" * 6, data=ip))),
        (113, lambda ip: b"\0\0\0\1\0\6" + bytes(8) + b"\x08\0" + bytes(ip)),
        (276, lambda ip: b"\x08\0\0\0" + bytes(4) + b"\0\1\0\6" + bytes(8) + bytes(ip)),
        (101, bytes),
        (12, bytes),
        (0, lambda ip: b"\2\0\0\0" + bytes(ip)),
    ],
)
def test_framings(tmp_path: Path, link_type: int, wrap):
    (packet,) = read_capture(capture(tmp_path / "a.pcap", [(1.5, wrap(frame()))], link_type))
    assert (packet.source, packet.target, packet.payload_bytes) == (SERVER, CLIENT, 3)
    assert packet.at_s == pytest.approx(1.5)


def test_ipv6(tmp_path: Path):
    (packet,) = read_capture(capture(tmp_path / "a.pcap", [(1.0, bytes(ipv6()))], 101))
    assert (packet.source, packet.target, packet.payload_bytes) == (("::1", 1), ("::2", 2), 3)


def test_a_copy_on_another_interface_is_no_retransmission(tmp_path: Path):
    first, again = bytes(frame()), bytes(frame(identification=8))
    frames = [(1.0, first), (1.0001, first), (1.3, again)]
    assert [packet.at_s for packet in read_capture(capture(tmp_path / "a.pcap", frames, 101))] == pytest.approx(
        [1.0, 1.3]
    )


def test_what_is_no_tcp_is_left_out(tmp_path: Path):
    udp = dpkt.ip.IP(src=b"\1" * 4, dst=b"\2" * 4, p=17, data=dpkt.udp.UDP(sport=1, dport=2))
    frames = [(1.0, bytes(udp)), (1.1, b""), (1.2, bytes(frame()))]
    assert len(list(read_capture(capture(tmp_path / "a.pcap", frames, 101)))) == 1


def test_what_is_no_capture_is_refused(tmp_path: Path):
    (tmp_path / "a.txt").write_text("this is no capture, it is text")
    for name in ("a.txt", "gone.pcap"):
        with pytest.raises(ConfigurationError):
            list(read_capture(tmp_path / name))
    with pytest.raises(ConfigurationError, match="link type 147"):
        list(read_capture(capture(tmp_path / "b.pcap", [(1.0, b"xxxx")], 147)))
