from dataclasses import replace

from eloquent.measure.connections import connections, distance
from eloquent.measure.tcp_packet import TcpPacket

CLIENT, SERVER = ("10.0.0.1", 40000), ("10.0.0.2", 8000)


def data(sequence: int, payload: int = 100, **changes) -> TcpPacket:
    packet = TcpPacket(
        at_s=1.0, source=SERVER, target=CLIENT, sequence=sequence % 2**32, acknowledged=11, syn=False, window=1000,
        payload_bytes=payload, wire_bytes=40 + payload,
    )  # fmt: skip
    return replace(packet, **changes)


def opening(sequence: int, *, scale: int | None = 0) -> TcpPacket:
    return data(sequence, 0, source=CLIENT, target=SERVER, acknowledged=None, syn=True, scale=scale)


def opened(sequence: int, asked: int, *, scale: int | None = 0) -> TcpPacket:
    return data(sequence, 0, acknowledged=(asked + 1) % 2**32, syn=True, scale=scale)


def sizes(packets: list[TcpPacket]) -> list[int]:
    return [len(one.packets) for one in connections(packets)]


def test_sequence_numbers_wrap():
    assert distance(5, 2**32 - 5) == 10
    assert distance(2**32 - 5, 5) == -10
    assert distance(2**31 + 5, 5) == -(2**31)
    assert sizes([data(2**32 - 150), data(2**32 - 50), data(50), data(150)]) == [4]


def test_a_syn_begins_a_connection_and_sent_again_it_does_not():
    assert sizes([opening(10), opening(10), opened(800, 10), data(801)]) == [4]
    assert sizes([opening(10), opened(800, 10), data(801), opening(500), opened(90, 500), data(91)]) == [3, 3]
    assert sizes([data(801), opening(500), opened(90, 500), data(91)]) == [1, 3]  # the first one's was not captured
    assert sizes([opened(800, 10), opening(10), data(801)]) == [3]  # captured on two processors
    assert sizes([opening(10), opened(800, 10), opened(800, 10), data(801)]) == [4]
    assert sizes([opening(10), data(801), opened(800, 10)]) == [3]


def test_the_same_numbers_again_behind_a_fin_are_a_new_connection():
    story = [opening(10), opened(800, 10), data(801), data(901, 0, closes=True)]
    assert sizes([*story, *story]) == [4, 4]


def test_a_syn_ack_of_another_number_begins_a_connection_whose_syn_was_not_captured():
    assert sizes([opened(800, 10), data(801), opened(70_000, 90), data(70_001)]) == [2, 2]


def test_data_beyond_every_window_does_not_belong_to_the_connection():
    story = [opening(10), opened(800, 10), data(801), data(901)]
    far = 800 + 10**6
    assert sizes([*story, data(far), data(1001)]) == [5]  # a stray one
    assert sizes([*story, data(far), data(far + 100), data(far + 200)]) == [4, 3]
    assert sizes([*story, data(far), data(1001), data(far + 5 * 10**5), data(1101)]) == [6]
    assert sizes([*story, data(801 + 60_000)]) == [5]


def test_the_window_is_scaled_where_both_ends_offer_it():
    def limit(client: int | None, server: int | None) -> int:
        (one,) = connections([opening(10, scale=client), opened(800, 10, scale=server), data(801)])
        return one.limit

    assert limit(10, 7) == 2 * 1000 << 10
    assert limit(10, None) == limit(None, None) == 1 << 16
    assert limit(99, 99) == 2 * 1000 << 14
    assert connections([data(801)])[0].limit == 1 << 24
