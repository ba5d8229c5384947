"""The fate of packets, against the truth of a small TCP."""

from dataclasses import replace
from pathlib import Path

import pytest

from eloquent.errors import ConfigurationError
from eloquent.measure.flows import FlowDirection, Vantage, directions
from eloquent.measure.losses import fates, loss_trace
from eloquent.measure.packets import read_capture
from eloquent.measure.transmissions import Fate

from .conftest import EPOCH, Story


def only_direction(path: Path) -> FlowDirection:
    (direction,) = directions(read_capture(path))
    return direction


def test_near_the_sender_every_fate_is_known(lossy: Story, tmp_path: Path):
    stream = fates(only_direction(lossy.write(tmp_path / "a.pcap", "sender")))
    assert stream.vantage is Vantage.SENDER
    assert [(one.start, one.end, one.is_retransmission) for one in stream.transmissions] == [
        (one.start, one.end, one.again) for one in lossy.sent
    ]
    assert [one.fate is Fate.LOST for one in stream.transmissions] == [one.lost for one in lossy.sent]
    assert stream.loss_rate == len(lossy.lost) / len(lossy.sent)
    assert any(one.lost and one.again for one in lossy.sent)  # the case that only this end can see


def test_without_timestamps_the_round_trip_decides(tmp_path: Path):
    story = Story(lambda number, now: number % 7 in {2, 3}, timestamps=False)
    stream = fates(only_direction(story.write(tmp_path / "a.pcap", "sender")))
    assert [one.fate is Fate.LOST for one in stream.transmissions] == [one.lost for one in story.sent]


def test_near_the_receiver_holes_are_lost_packets(tmp_path: Path):
    rounds = {3, 10, 11, 12, 30}  # packets without a lost retransmission, and none at the end
    story = Story(lambda number, now: round(now * 10) in rounds and now * 10 % 1 < 1e-6)
    stream = fates(only_direction(story.write(tmp_path / "a.pcap", "receiver")))
    assert stream.vantage is Vantage.RECEIVER
    lost = [one for one in stream.transmissions if one.fate is Fate.LOST]
    assert [(one.start, one.end) for one in lost] == [(one.start, one.end) for one in story.lost]
    for seen, true in zip(lost, story.lost, strict=True):
        assert seen.sent_s - EPOCH == pytest.approx(true.at_s, abs=0.01)
    assert sum(one.is_retransmission for one in stream.transmissions) == sum(one.again for one in story.sent)


def test_the_receivers_loss_rate_is_too_low_where_retransmissions_are_lost(lossy: Story, tmp_path: Path):
    near_sender, near_receiver = (
        fates(only_direction(lossy.write(tmp_path / f"{where}.pcap", where))) for where in ("sender", "receiver")
    )
    assert near_receiver.loss_rate is not None
    assert near_sender.loss_rate is not None
    assert 0.5 * near_sender.loss_rate < near_receiver.loss_rate <= near_sender.loss_rate


@pytest.mark.parametrize("timestamps", [True, False])
def test_reordering_is_no_loss(tmp_path: Path, timestamps: bool):
    story = Story(lambda number, now: False, jitter=0.15, timestamps=timestamps, rtt=0.4)
    arrived = [at for at, _ in story.arrivals]
    assert len(arrived) < 50  # tokens did overtake one another
    for where in ("sender", "receiver"):
        stream = fates(only_direction(story.write(tmp_path / "a.pcap", where)))
        assert stream.lost == 0
        assert not any(one.blocking for one in stream.transmissions)


def test_blocked_packets_and_what_blocked_them(tmp_path: Path):
    story = Story(lambda number, now: number == 5, tokens=20)
    for where in ("sender", "receiver"):
        stream = fates(only_direction(story.write(tmp_path / "a.pcap", where)))
        (blocking,) = [one for one in stream.transmissions if one.blocking]
        again = next(one for one in story.sent if one.again)
        assert (blocking.start, blocking.is_retransmission) == (500, True)
        assert blocking.arrived_s == pytest.approx(EPOCH + again.at_s + story.rtt / 2, abs=1e-5)
        blocked = [one.start // 100 for one in stream.transmissions if one.blocked]
        # Sent every 100 ms after token 5, up to the instant of the retransmission.
        assert blocked == [token for token in range(6, 20) if token / 10 <= again.at_s + 1e-9]
        assert [offset for _, offset in stream.delivered] == [offset for _, offset in story.arrivals]
        assert [at - EPOCH for at, _ in stream.delivered] == pytest.approx([at for at, _ in story.arrivals], abs=1e-5)


def test_a_stream_that_was_cut_leaves_fates_unknown(tmp_path: Path):
    story = Story(lambda number, now: number >= 10, tokens=12)  # and TCP goes on trying, in vain
    stream = fates(only_direction(story.write(tmp_path / "a.pcap", "sender")))
    # No acknowledgement came after them: the packets were lost, or their acknowledgements were.
    assert {one.fate for one in stream.transmissions if one.start >= 1000} == {Fate.UNKNOWN}
    assert (stream.known, stream.lost) == (10, 0)


def test_what_later_acknowledgements_do_not_tell_of_was_lost(tmp_path: Path):
    story = Story(lambda number, now: 1.0 <= now < 1.05 or now >= 3.0, tokens=40)
    seen = only_direction(story.write(tmp_path / "a.pcap", "sender"))
    until = [ack for ack in seen.acks if ack.at_s < EPOCH + 1.55]
    stream = fates(replace(seen, acks=tuple(until)))
    assert [one.start for one in stream.transmissions if one.fate is Fate.LOST] == [1000]
    assert {one.fate for one in stream.transmissions if one.sent_s > EPOCH + 1.35} == {Fate.UNKNOWN}


def test_a_hole_that_nothing_fills_is_unknown(tmp_path: Path):
    """The capture has missed the packet, or ends before it was sent again."""
    story = Story(lambda number, now: number == 5, tokens=20)
    seen = only_direction(story.write(tmp_path / "a.pcap", "receiver"))
    stream = fates(replace(seen, data=tuple(one for one in seen.data if one.start not in {500, 900})))
    assert [(one.start, one.end, one.fate) for one in stream.transmissions if one.arrived_s is None] == [
        (500, 600, Fate.UNKNOWN),
        (900, 1000, Fate.UNKNOWN),
    ]
    assert stream.loss_rate == 0


def test_what_a_capture_near_the_sender_has_missed_is_no_packet(tmp_path: Path):
    story = Story(lambda number, now: number == 5, tokens=20)
    seen = only_direction(story.write(tmp_path / "a.pcap", "sender"))
    stream = fates(replace(seen, data=tuple(one for one in seen.data if one.start != 900)))
    assert [one.start for one in stream.transmissions if one.fate is Fate.LOST] == [500]
    assert stream.direction.missed_bytes == 100


def test_a_needless_retransmission_has_no_known_fate_where_duplicates_are_not_told(tmp_path: Path):
    story = Story(lambda number, now: False, tokens=20)
    seen = only_direction(story.write(tmp_path / "a.pcap", "sender"))
    again = replace(seen.data[3], at_s=EPOCH + 1.01, ts_value=99_999)
    data = (*seen.data[:11], again, *seen.data[11:])
    quiet = fates(replace(seen, data=data, tells_duplicates=False))
    assert [one.fate for one in quiet.transmissions if one.start == 300] == [Fate.ARRIVED, Fate.UNKNOWN]
    assert quiet.lost == 0


@pytest.mark.parametrize("where", ["sender", "receiver"])
def test_the_order_is_the_captures_though_its_clock_is_set_back(tmp_path: Path, where: str):
    story = Story(lambda number, now: number in {3, 21}, tokens=40)
    seen = only_direction(story.write(tmp_path / "a.pcap", where))
    whole = fates(seen)

    def late(at_s: float) -> float:
        return at_s - 3600 if at_s > EPOCH + 1.0 else at_s

    back = replace(
        seen,
        data=tuple(replace(one, at_s=late(one.at_s)) for one in seen.data),
        acks=tuple(replace(one, at_s=late(one.at_s)) for one in seen.acks),
    )
    stream = fates(back)
    assert [(one.start, one.fate) for one in stream.transmissions] == [
        (one.start, one.fate) for one in whole.transmissions
    ]
    assert [offset for _, offset in stream.delivered] == [offset for _, offset in whole.delivered]
    trace = loss_trace([stream])
    assert [one.lost for one in trace.packets] == [one.lost for one in loss_trace([whole]).packets]
    assert trace.length_s < 5


def test_without_a_handshake_the_vantage_must_be_told(lossy: Story, tmp_path: Path):
    seen = replace(only_direction(lossy.write(tmp_path / "a.pcap", "sender")), vantage=None)
    with pytest.raises(ConfigurationError, match="sender or receiver"):
        fates(seen)
    assert fates(seen, Vantage.SENDER).lost == len(lossy.lost)


def test_the_loss_trace_is_the_truth(lossy: Story, tmp_path: Path):
    stream = fates(only_direction(lossy.write(tmp_path / "a.pcap", "sender")))
    trace = loss_trace([stream])
    assert [packet.lost for packet in trace.packets] == [one.lost for one in lossy.sent]
    assert [packet.sent_s for packet in trace.packets] == pytest.approx([one.at_s for one in lossy.sent], abs=1e-5)
    assert trace.loss_rate == stream.loss_rate


def test_long_pauses_are_cut(tmp_path: Path):
    story = Story(lambda number, now: False, tokens=3)
    stream = fates(only_direction(story.write(tmp_path / "a.pcap", "sender")))
    trace = loss_trace([stream], longest_pause=0.05)
    assert [packet.sent_s for packet in trace.packets] == pytest.approx([0.0, 0.05, 0.1])
    assert trace.length_s == pytest.approx(0.15)
    with pytest.raises(ConfigurationError, match="no packets"):
        loss_trace([])
