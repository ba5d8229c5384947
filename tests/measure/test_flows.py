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


def packet(sequence: int, *, syn: bool = False, payload: int = 0) -> TcpPacket:
    return TcpPacket(
        at_s=1.0,
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
