"""The packet of docs/rtp.md is one."""

import re
from pathlib import Path

from eloquent.protocol.contract import TokenReceived
from eloquent.protocol.frames import Data, Fragment, encode_payload
from eloquent.protocol.packed_receiver import PackedReceiver

PAGE = Path(__file__).parents[1] / "docs" / "rtp.md"
RTP_HEADER = 12  # bytes


def test_what_rides_in_rtp_is_unpacked():
    hexadecimal = re.findall(r"^    ([0-9a-f ]+?)  ", PAGE.read_text(), re.MULTILINE)
    packet = bytes.fromhex("".join(hexadecimal))
    version, payload_type = packet[0] >> 6, packet[1] & 0x7F
    assert (version, payload_type) == (2, 96)
    receiver = PackedReceiver()
    had = tuple(Fragment(index, data) for index, data in enumerate((b"Call", b" me", b" Ish")))
    receiver.receive_datagram(encode_payload(Data(had)), now=0.0)
    receiver.receive_datagram(packet[RTP_HEADER:], now=0.0)
    tokens = []
    while isinstance(event := receiver.next_event(), TokenReceived):
        tokens.append(event.data.decode())
    assert "".join(tokens) == "Call me Ishmael. Some years ago—never"
