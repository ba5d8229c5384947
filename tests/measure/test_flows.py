from dataclasses import replace
from pathlib import Path

import pytest

from eloquent.measure.flows import Vantage, directions
from eloquent.measure.packets import TcpPacket, read_capture

from .conftest import CLIENT, EPOCH, SERVER, Story


def test_offsets_count_from_the_first_byte_though_the_numbers_wrap(tmp_path: Path):
    story = Story(lambda number, now: number == 1, tokens=10)
    (direction,) = directions(read_capture(story.write(tmp_path / "a.pcap", "sender")))
    assert (direction.sender, direction.receiver) == (SERVER, CLIENT)
    assert [(packet.start, packet.end) for packet in direction.data] == [(one.start, one.end) for one in story.sent]
    assert direction.payload_bytes == 1000
    assert direction.acks[-1].up_to == 1000
    assert {block for ack in direction.acks for block in ack.blocks} >= {(200, 300), (300, 400)}
    assert direction.data[0].at_s == pytest.approx(EPOCH)


@pytest.mark.parametrize("vantage", list(Vantage))
def test_the_handshake_tells_vantage_and_round_trip(tmp_path: Path, vantage: Vantage):
    story = Story(lambda number, now: False, tokens=3)
    (direction,) = directions(read_capture(story.write(tmp_path / "a.pcap", vantage.value)))
    assert direction.vantage is vantage
    assert direction.rtt_s == pytest.approx(story.rtt + 2e-4, abs=1.1e-4)


def packet(sequence: int, *, syn: bool = False, payload: int = 0, at_s: float = 1.0) -> TcpPacket:
    return TcpPacket(
        at_s=at_s,
        source=CLIENT,
        target=SERVER,
        sequence=sequence,
        acknowledged=None if syn else 1,
        syn=syn,
        payload_bytes=payload,
        wire_bytes=40 + payload,
    )


def answer(payload: int) -> TcpPacket:
    return replace(packet(800, payload=payload), source=SERVER, target=CLIENT)


def test_a_new_syn_on_the_same_addresses_is_a_new_connection():
    first = [packet(10, syn=True), packet(10, syn=True), answer(payload=5)]
    second = [packet(500, syn=True), answer(payload=7)]
    assert [one.payload_bytes for one in directions([*first, *second])] == [5, 7]


def test_the_server_sends_the_tokens_however_long_the_question():
    (direction,) = directions([packet(10, syn=True), packet(11, payload=900), answer(payload=7)])
    assert (direction.sender, direction.payload_bytes) == (SERVER, 7)
    assert directions([packet(10, syn=True), packet(11, payload=900)]) == []


def test_what_carried_no_data_is_left_out_and_a_capture_may_begin_in_the_middle():
    assert directions([packet(10, syn=True)]) == []
    (direction,) = directions([packet(1000, payload=5), packet(1005, payload=5)])
    assert [one.start for one in direction.data] == [0, 5]
    assert (direction.vantage, direction.rtt_s) == (None, None)


def test_a_handshake_whose_packets_were_sent_again_tells_the_same():
    def step(at_s: float, *, client: bool, syn: bool) -> TcpPacket:
        ends = (CLIENT, SERVER) if client else (SERVER, CLIENT)
        return TcpPacket(
            at_s=at_s,
            source=ends[0],
            target=ends[1],
            sequence=5,
            acknowledged=None if client and syn else 6,
            syn=syn,
            payload_bytes=0 if syn or client else 9,
            wire_bytes=60,
        )

    # At the server: the SYN-ACK is lost, and both ends try again.
    story = [(0.0, True, True), (0.0001, False, True), (1.0, True, True), (1.0001, False, True), (1.0401, True, False)]
    packets = [step(at_s, client=client, syn=syn) for at_s, client, syn in story]
    (direction,) = directions([*packets, step(1.05, client=False, syn=False)])
    assert direction.vantage is Vantage.SENDER
    assert direction.rtt_s == pytest.approx(0.0401)


def acknowledged(up_to: int, *, window: int = 100, at_s: float = 1.0) -> TcpPacket:
    return replace(packet(1, at_s=at_s), acknowledged=800 + up_to, window=window)


def test_a_keep_alive_that_repeats_a_byte_is_no_data():
    story = [packet(10, syn=True), answer(payload=60), acknowledged(60), replace(answer(payload=1), sequence=859)]
    (direction,) = directions([*story, acknowledged(60), story[3]])
    assert [(one.start, one.end) for one in direction.data] == [(0, 60)]


def test_a_byte_that_was_not_acknowledged_is_sent_again():
    (direction,) = directions([packet(10, syn=True), answer(payload=1), acknowledged(0), answer(payload=1)])
    assert len(direction.data) == 2


def test_a_probe_of_a_closed_window_is_no_data():
    probe = replace(answer(payload=1), sequence=860)
    story = [packet(10, syn=True), answer(payload=60), acknowledged(60, window=0), probe]
    (direction,) = directions([*story, acknowledged(60), replace(probe, payload_bytes=50)])
    assert [(one.start, one.end) for one in direction.data] == [(0, 60), (60, 110)]


def test_the_syn_that_was_answered_is_the_one_that_the_answer_echoes():
    """At the client, where the round trip is longer than its patience."""
    asked = [replace(packet(10, syn=True, at_s=at_s), ts_value=stamp) for at_s, stamp in ((0.0, 7), (1.0, 8))]
    answered = replace(answer(0), at_s=1.2, syn=True, acknowledged=11, ts_echo=7)
    (direction,) = directions([*asked, answered, packet(11, at_s=1.2), replace(answer(5), sequence=801)])
    assert direction.rtt_s == pytest.approx(1.2)
    assert direction.vantage is Vantage.RECEIVER


def test_an_acknowledgement_that_stands_before_the_syn_ack_came_at_once():
    answered = replace(answer(0), at_s=0.05, syn=True, acknowledged=11)
    story = [packet(10, syn=True, at_s=0.0), replace(packet(11, at_s=0.05), acknowledged=801), answered]
    (direction,) = directions([*story, packet(11, payload=90, at_s=0.4), replace(answer(5), sequence=801)])
    assert direction.rtt_s == pytest.approx(0.05)
    assert direction.vantage is Vantage.RECEIVER


def test_the_same_addresses_tell_the_vantage_of_a_connection_without_handshake():
    old = [packet(5000, payload=3), answer(payload=90)]
    new = [packet(10, syn=True, at_s=0.0), replace(answer(0), at_s=0.05, syn=True, acknowledged=11)]
    new += [packet(11, at_s=0.0501), replace(answer(payload=7), sequence=801)]
    first, second = directions([*old, *new])
    assert (first.payload_bytes, second.payload_bytes) == (90, 7)
    assert first.vantage is second.vantage is Vantage.RECEIVER
    assert first.rtt_s is None


def test_bytes_that_were_acknowledged_and_not_captured_are_missed():
    story = [packet(10, syn=True), answer(payload=60), replace(answer(payload=40), sequence=900)]
    assert directions([*story, acknowledged(60)])[0].missed_bytes == 0
    assert directions([*story, acknowledged(141)])[0].missed_bytes == 40  # and the FIN
    assert directions([*story, acknowledged(180)])[0].missed_bytes == 80


def test_an_acknowledgement_from_afar_is_none_of_the_stream():
    (direction,) = directions([packet(10, syn=True), answer(payload=60), acknowledged(1 << 30), acknowledged(60)])
    assert [ack.up_to for ack in direction.acks] == [60]
