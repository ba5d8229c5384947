from typing import Any

import pytest

from eloquent import schemes
from eloquent.baselines.fec import FecReceiver, FecSender
from eloquent.errors import ConfigurationError, RemoteProtocolError
from eloquent.protocol.contract import TokenReceived
from eloquent.protocol.frames import Ack, decode_payload


def give(sender: Any, now: float, token: bytes = b"token") -> list[bytes]:
    sender.send_token(token, now=now)
    packets: list[bytes] = sender.datagrams_to_send(now=now)
    return packets


def tokens(receiver: Any) -> list[int]:
    return [event.index for event in iter(receiver.next_event, None) if isinstance(event, TokenReceived)]


def test_a_loss_is_repaired_by_the_next_packet() -> None:
    sender, receiver = schemes.get("fec-8-1").make_sender(), schemes.get("fec-8-1").make_receiver()
    packets = [give(sender, i / 10, bytes([65 + i] * (i + 1)))[0] for i in range(6)]
    released = []
    for i, packet in enumerate(packets):
        if i != 2:
            receiver.receive_datagram(packet, now=i / 10)
            released.append(tokens(receiver))
    assert released == [[0], [1], [2, 3], [4], [5]]
    assert decode_payload(receiver.datagrams_to_send(now=1.0)[0]) == Ack(6)


def test_a_burst_is_repaired_by_as_many_parities() -> None:
    sender, receiver = schemes.get("fec-8-1").make_sender(), FecReceiver()
    packets = [give(sender, i / 10)[0] for i in range(8)]
    released = []
    for i, packet in enumerate(packets):
        if i not in {2, 3, 4}:
            receiver.receive_datagram(packet, now=i / 10)
            released.append(tokens(receiver))
    assert released == [[0], [1], [], [], [2, 3, 4, 5, 6, 7]]


def test_the_account_counts_parities_as_redundant() -> None:
    sender = schemes.get("fec-4-2").make_sender()
    packets = [give(sender, i / 10)[0] for i in range(3)]
    account = sender.account
    assert (account.original_bytes, account.redundant_bytes) == (15, 2 * 2 * (5 + 2))
    assert account.wire_bytes == sum(len(packet) + 28 for packet in packets)


def test_parities_go_only_where_they_fit() -> None:
    sender = FecSender(budget=1100, window=4, parities=2)
    sizes = [len(packet) for i in range(10) for packet in give(sender, i / 10, bytes(100 * i))]
    assert max(sizes) <= 1100


@pytest.mark.parametrize(
    "data", [b"\x20", b"\x20\x00\x00\x08hi", b"\x20\x01\x00\x00\x00\x00\x00\x08hi", b"\x20\x01\x00"]
)
def test_malformed_parities_change_nothing(data: bytes) -> None:
    receiver = FecReceiver()
    with pytest.raises(RemoteProtocolError):
        receiver.receive_datagram(data, now=0.0)
    assert receiver.datagrams_to_send(now=0.0) == []


def test_bounds() -> None:
    for name in ("fec-0-1", "fec-65-1", "fec-8-0", "fec-8-9"):
        with pytest.raises(ConfigurationError):
            schemes.get(name)
