from dataclasses import replace

from eloquent.measure.capture_file import Record
from eloquent.measure.copies import Copies
from eloquent.measure.tcp_packet import TcpPacket

SERVER, INSIDE, OUTSIDE = ("203.0.113.5", 8000), ("172.17.0.2", 40000), ("192.168.1.7", 61000)
ETHERNET, COOKED, COOKED2 = 1, 113, 276


def data(at_s: float = 1.0, *, source=SERVER, target=INSIDE, sequence: int = 5) -> TcpPacket:
    return TcpPacket(
        at_s=at_s, source=source, target=target, sequence=sequence, acknowledged=6, syn=False,
        payload_bytes=3, wire_bytes=43, ts_value=100,
    )  # fmt: skip


def on(interface: int, link_type: int = COOKED2) -> Record:
    return Record(0.0, link_type, 0, bytes([0, 0, 0, 0, 0, 0, 0, interface]) + bytes(40), 48)


def test_a_copy_on_another_interface_is_no_retransmission():
    copies = Copies()
    assert copies.original(data(), 7, on(1)) == data()
    assert copies.original(data(1.0001), 7, on(2)) is None
    assert copies.original(data(0.9999), 7, on(2)) is None  # the clocks of two processors
    assert copies.original(data(1.3), 8, on(1)) is not None
    assert copies.original(data(2.3), 8, on(1)) is not None


def test_both_sides_of_a_nat_are_one_connection_in_both_ways():
    copies = Copies()
    asked = data(source=INSIDE, target=SERVER)
    assert copies.original(asked, 7, on(1)) == asked
    assert copies.original(replace(asked, at_s=1.00002, source=OUTSIDE), 7, on(2)) is None
    # The answer is seen outside first.
    answer = data(1.2, target=OUTSIDE, sequence=900)
    assert copies.original(answer, 8, on(2)) == replace(answer, target=INSIDE)
    assert copies.original(replace(answer, at_s=1.20002, target=INSIDE), 8, on(1)) is None
    # What was lost between them is seen outside alone, and belongs to the same connection.
    assert copies.original(replace(answer, at_s=1.4, sequence=903), 9, on(2)) == data(1.4, sequence=903)


def test_two_connections_that_look_alike_on_one_interface_are_two():
    for link_type in (ETHERNET, COOKED2):
        copies = Copies()
        assert copies.original(data(), 7, on(1, link_type)) is not None
        other = data(1.0001, target=OUTSIDE)
        assert copies.original(other, 7, on(1, link_type)) == other
    copies = Copies()
    assert copies.original(data(), 7, on(1)) is not None
    assert copies.original(data(source=("203.0.113.6", 1), target=OUTSIDE), 7, on(2)) is not None
    assert copies.original(data(1.1, target=OUTSIDE), 7, on(2)) is not None  # long after


def test_the_first_cooked_form_does_not_tell_its_interfaces():
    copies = Copies()
    assert copies.original(data(), 7, on(1, COOKED)) is not None
    assert copies.original(data(1.0001, target=OUTSIDE), 7, on(1, COOKED)) is None


def test_what_is_remembered_is_bounded():
    copies = Copies()
    for number in range(30_000):
        copies.original(data(sequence=number), 7, on(1))
    assert len(copies._seen) <= 20_000
