"""Mosh's timing and heuristics step by step, in virtual time."""

from typing import Any

import pytest

from eloquent.baselines.ssp import ACK_DELAY, MIN_DELAY, RARE_INTERVAL, SspReceiver, SspSender
from eloquent.protocol.contract import PeerLost, StreamFinished, TokenReceived
from eloquent.protocol.frames import Ack, Data, Fragment, decode_payload, encode_payload
from eloquent.protocol.rtt import RttEstimator


def make(srtt: float | None = 0.4) -> SspSender:
    rtt = RttEstimator()
    for _ in range(50 if srtt else 0):
        rtt.sample(srtt or 0.0)
    return SspSender(budget=1171, rtt=rtt)


def contents(sender: Any, now: float) -> list[list[int]]:
    packets = [decode_payload(data[2:]) for data in sender.datagrams_to_send(now=now)]
    return [[f.index for f in packet.fragments] for packet in packets if isinstance(packet, Data)]


def give(sender: Any, now: float, token: bytes = b"token") -> list[list[int]]:
    sender.send_token(token, now=now)
    return contents(sender, now)


def fire(sender: Any) -> tuple[float, list[list[int]]]:
    now = sender.get_timer()
    sender.handle_timer(now=now)
    return now, contents(sender, now)


def ack(sender: Any, next_index: int, *, now: float, sent: float) -> None:
    stamp = round(sent * 1000) % 65536
    sender.receive_datagram(stamp.to_bytes(2) + encode_payload(Ack(next_index)), now=now)


def test_changes_are_collected_and_frames_are_half_a_round_trip_apart() -> None:
    sender = make(0.4)
    assert give(sender, 0.0) == []
    assert give(sender, 0.003) == []
    assert fire(sender) == (MIN_DELAY, [[0, 1]])
    assert give(sender, 0.1) == []
    assert fire(sender) == (pytest.approx(MIN_DELAY + 0.2), [[0, 1, 2]])


@pytest.mark.parametrize(("srtt", "interval"), [(0.010, 0.020), (0.1, 0.05), (2.0, 0.250), (None, 0.250)])
def test_the_frame_interval_is_bounded(srtt: float | None, interval: float) -> None:
    sender = make(srtt)
    give(sender, 0.0)
    fire(sender)
    give(sender, 0.009)
    assert fire(sender)[0] == pytest.approx(max(MIN_DELAY + interval, 0.009 + MIN_DELAY))


def test_large_differences_build_on_what_should_have_arrived() -> None:
    sender = make(0.4)
    give(sender, 0.0, bytes(300))
    assert fire(sender)[1] == [[0]]
    give(sender, 0.1, bytes(300))
    assert fire(sender)[1] == [[1]]  # state 1 is assumed: to repeat it would cost 300 bytes more
    now, frames = fire(sender)  # a timeout after the last frame, both have lapsed
    assert (now, frames) == (pytest.approx(0.208 + 0.4 + ACK_DELAY, abs=0.01), [[0, 1]])


def test_small_differences_go_from_the_acknowledged_state() -> None:
    sender = make(0.1)
    for i in range(4):
        give(sender, i / 10)
        frames = fire(sender)[1]
    assert frames == [[0, 1, 2, 3]]
    ack(sender, 3, now=0.45, sent=0.35)
    give(sender, 0.5)
    assert fire(sender)[1] == [[3, 4]]


def test_repetitions_become_rare_and_end() -> None:
    sender = make(0.1)
    give(sender, 0.0)
    instants = []
    while sender.get_timer() is not None:
        instants.append(fire(sender)[0])
    assert instants[-2] - instants[-3] == pytest.approx(RARE_INTERVAL)
    assert instants[-1] == pytest.approx(MIN_DELAY + 40.0)
    assert isinstance(sender.next_event(), PeerLost)


def test_each_acknowledgement_measures_the_round_trip() -> None:
    rtt = RttEstimator()
    sender = SspSender(budget=1171, rtt=rtt)
    give(sender, 65.0)
    fire(sender)
    ack(sender, 1, now=65.9, sent=65.5)  # across the wrap of the 16 bits
    assert rtt.smoothed == pytest.approx(0.4)


def instruction(*fragments: Fragment, sent: float = 0.0) -> bytes:
    return round(sent * 1000).to_bytes(2) + encode_payload(Data(fragments))


def test_the_receiver_drops_what_builds_on_an_unknown_state() -> None:
    receiver = SspReceiver()
    receiver.receive_datagram(instruction(Fragment(1, b"b")), now=0.0)
    assert receiver.get_timer() is None
    receiver.receive_datagram(instruction(Fragment(0, b"a"), Fragment(1, b"b")), now=0.1)
    assert [receiver.next_event(), receiver.next_event()] == [TokenReceived(0, b"a"), TokenReceived(1, b"b")]


def test_acknowledgements_wait_and_tell_how_long() -> None:
    receiver = SspReceiver()
    receiver.receive_datagram(instruction(Fragment(0, b"a"), sent=1.0), now=1.2)
    assert receiver.datagrams_to_send(now=1.2) == []
    receiver.receive_datagram(instruction(Fragment(1, b"b"), sent=1.05), now=1.25)
    assert receiver.get_timer() == pytest.approx(1.2 + ACK_DELAY)
    [data] = receiver.datagrams_to_send(now=1.2 + ACK_DELAY)
    assert data == (1050 + 50).to_bytes(2) + encode_payload(Ack(2))
    assert receiver.get_timer() is None


def test_the_end_is_acknowledged_at_once() -> None:
    sender, receiver = make(), SspReceiver()
    sender.finish(now=0.0)
    sender.datagrams_to_send(now=0.0)
    [data] = sender.datagrams_to_send(now=MIN_DELAY)
    receiver.receive_datagram(data, now=0.2)
    assert receiver.next_event() == StreamFinished(b"")
    assert len(receiver.datagrams_to_send(now=0.2)) == 1


def test_a_receiver_with_room_again_says_so_until_something_new_comes() -> None:
    receiver = SspReceiver()
    for index in range(0, 2048, 128):
        data = encode_payload(Data(tuple(Fragment(index + i, b"x") for i in range(128))))
        receiver.receive_datagram(b"\0\0" + data, now=0.0)
    receiver.datagrams_to_send(now=ACK_DELAY)
    for _ in range(2048):
        assert isinstance(receiver.next_event(), TokenReceived)
    for _ in range(3):
        now = receiver.get_timer()
        assert now is not None
        receiver.handle_timer(now=now + ACK_DELAY)
        (again,) = receiver.datagrams_to_send(now=now + ACK_DELAY)
        assert decode_payload(again[2:]) == Ack(2048)
