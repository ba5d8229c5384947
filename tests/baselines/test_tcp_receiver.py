import pytest

from eloquent.baselines.tcp_receiver import MAX_PIECES, RECEIVE_WINDOW, TcpReceiver
from eloquent.baselines.tcp_segment import Segment, SegmentAck, decode_segment, encode_end, encode_segment, encode_token
from eloquent.errors import RemoteProtocolError
from eloquent.protocol.checksum import extend_checksum
from eloquent.protocol.contract import StreamBroken, StreamFinished, TokenReceived

STREAM = b"\x02a\x02b\x02c\x02d\x02e\x02f\x02g"  # tokens of one byte, two bytes each


def take(receiver: TcpReceiver, *offsets: int, now: float = 0.0, stream: bytes = STREAM) -> SegmentAck | None:
    for offset in offsets:
        receiver.receive_datagram(encode_segment(Segment(offset, stream[offset : offset + 2])), now=now)
    acks = receiver.datagrams_to_send(now=now)
    assert len(acks) <= 1
    ack = decode_segment(acks[0]) if acks else None
    assert ack is None or isinstance(ack, SegmentAck)
    return ack


def events(receiver: TcpReceiver) -> list[object]:
    return list(iter(receiver.next_event, None))


def test_a_gap_holds_up_all_that_follows() -> None:
    receiver = TcpReceiver()
    assert take(receiver, 0) == SegmentAck(2)
    assert take(receiver, 4) == SegmentAck(2, ((4, 6),))
    assert take(receiver, 6) == SegmentAck(2, ((4, 8),))
    assert events(receiver) == [TokenReceived(0, b"a")]
    assert take(receiver, 2) == SegmentAck(8)
    assert events(receiver) == [TokenReceived(i, STREAM[2 * i + 1 : 2 * i + 2]) for i in (1, 2, 3)]


def test_three_blocks_the_newest_first() -> None:
    receiver = TcpReceiver()
    assert take(receiver, 4, 8, 12) == SegmentAck(0, ((12, 14), (8, 10), (4, 6)))
    assert take(receiver, 6) == SegmentAck(0, ((4, 10), (12, 14)))


def test_what_comes_once_more_is_told_once_and_first() -> None:
    """RFC 2883 §4.1 and §4.3: below the acknowledgement, and within a block that is then the second."""
    receiver = TcpReceiver()
    take(receiver, 0, 2, 8)
    assert take(receiver, 2) == SegmentAck(4, ((2, 4), (8, 10)))
    assert take(receiver, 12) == SegmentAck(4, ((12, 14), (8, 10)))
    ack = take(receiver, 8)
    assert ack == SegmentAck(4, ((8, 10), (8, 10), (12, 14)))
    assert ack.repeated == (8, 10)
    assert take(receiver, 4) == SegmentAck(6, ((12, 14), (8, 10)))


def test_only_the_bytes_that_were_here_are_told_to_have_come_once_more() -> None:
    """RFC 2883 §4.2: a retransmission that was joined with what came next, and with what was here before."""
    receiver = TcpReceiver()
    take(receiver, 0, 6, 10)
    receiver.receive_datagram(encode_segment(Segment(2, STREAM[2:12])), now=0.0)
    [answer] = receiver.datagrams_to_send(now=0.0)
    assert decode_segment(answer) == SegmentAck(12, ((6, 8),))  # of two parts, the first
    receiver.receive_datagram(encode_segment(Segment(8, STREAM[8:14])), now=0.0)
    [answer] = receiver.datagrams_to_send(now=0.0)
    assert decode_segment(answer) == SegmentAck(14, ((8, 12),))


def test_overlapping_segments_are_joined() -> None:
    receiver = TcpReceiver()
    receiver.receive_datagram(encode_segment(Segment(3, STREAM[3:9])), now=0.0)
    receiver.receive_datagram(encode_segment(Segment(5, STREAM[5:14])), now=0.0)
    receiver.receive_datagram(encode_segment(Segment(0, STREAM[:5])), now=0.0)
    assert [event.data for event in events(receiver) if isinstance(event, TokenReceived)] == [
        bytes([byte]) for byte in b"abcdefg"
    ]


def test_a_delayed_acknowledgement_waits_for_a_second_segment_or_its_time() -> None:
    receiver = TcpReceiver(ack_delay=0.04)
    assert take(receiver, 0) is None
    assert receiver.get_timer() == 0.04
    assert take(receiver, 2, now=0.01) == SegmentAck(4)
    assert take(receiver, 4, now=0.1) is None
    [ack] = receiver.datagrams_to_send(now=0.14)
    assert decode_segment(ack) == SegmentAck(6)
    assert take(receiver, 8, now=0.2) == SegmentAck(6, ((8, 10),))  # out of order: at once


def test_the_end_and_repetitions_after_it() -> None:
    receiver = TcpReceiver(ack_delay=0.04)
    stream = b"\x02a" + encode_end(extend_checksum(0, b"a"), b"ok")
    receiver.receive_datagram(encode_segment(Segment(0, stream)), now=0.0)
    assert events(receiver) == [TokenReceived(0, b"a"), StreamFinished(b"ok")]
    assert receiver.datagrams_to_send(now=0.0) == [encode_segment(SegmentAck(len(stream)))]
    assert take(receiver, 0, stream=stream) == SegmentAck(len(stream), ((0, 2),))
    assert events(receiver) == []


@pytest.mark.parametrize("stream", [encode_end(7, b""), encode_end(0, b"") + b"\x02a", b"\xbf\0\0\0"])
def test_a_wrong_stream_is_broken_and_not_acknowledged(stream: bytes) -> None:
    receiver = TcpReceiver()
    receiver.receive_datagram(encode_segment(Segment(0, stream)), now=0.0)
    assert [type(event) for event in events(receiver)] == [StreamBroken]
    assert receiver.datagrams_to_send(now=0.0) == []
    assert receiver.get_timer() is None


def test_memory_is_bounded_and_acknowledgements_are_not_for_receivers() -> None:
    receiver = TcpReceiver()
    receiver.receive_datagram(encode_segment(Segment(RECEIVE_WINDOW, b"x")), now=0.0)
    assert decode_segment(receiver.datagrams_to_send(now=0.0)[0]) == SegmentAck(0)
    with pytest.raises(RemoteProtocolError):
        receiver.receive_datagram(encode_segment(SegmentAck(0)), now=0.0)


def test_overlapping_segments_and_single_bytes_take_no_more_than_the_window() -> None:
    overlapping, single = TcpReceiver(), TcpReceiver()
    for offset in range(1, 4000):
        overlapping.receive_datagram(encode_segment(Segment(offset, bytes(1100))), now=0.0)
    for offset in range(1, 10_000, 2):
        single.receive_datagram(encode_segment(Segment(offset, b"x")), now=0.0)
    assert sum(map(len, overlapping._waiting.values())) < 4000 + 1100
    assert len(single._waiting) == MAX_PIECES
    assert take(single, 0, stream=bytes(2)) == SegmentAck(2, ((1, 2), (4095, 4096), (4093, 4094)))


def test_a_reader_who_does_not_read_bounds_what_is_kept_and_loses_nothing() -> None:
    receiver, token = TcpReceiver(), encode_token(bytes(1000))
    stream = b"".join(token) * 3000
    sent = 0
    for _ in range(2):  # all of it, and what was dropped once more, after he has read
        for offset in range(sent, len(stream), 1100):
            receiver.receive_datagram(encode_segment(Segment(offset, stream[offset : offset + 1100])), now=0.0)
        acked = decode_segment(receiver.datagrams_to_send(now=0.0)[0])
        assert isinstance(acked, SegmentAck)
        assert acked.next_offset - sent <= RECEIVE_WINDOW
        sent = acked.next_offset
        assert len(events(receiver)) > 900
    assert sent > 1.9e6
