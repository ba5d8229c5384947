import pytest
from tests.protocol.senders.conftest import ack, contents, fire, give

from eloquent.baselines.kcp import FLUSH_INTERVAL, GROWTH, INITIAL_TIMEOUT, MIN_TIMEOUT, KcpSender
from eloquent.protocol.contract import PeerLost
from eloquent.protocol.rtt import RttEstimator
from eloquent.protocol.sender import GIVE_UP_AFTER, QUIET_AFTER


def make(rtt: RttEstimator | None = None) -> KcpSender:
    return KcpSender(budget=1171, rtt=rtt if rtt is not None else RttEstimator())


def test_flushes_are_ten_milliseconds_apart_and_shared() -> None:
    sender = make()
    assert give(sender, 1, 0.0) == [[0]]
    assert give(sender, 1, 0.002) == []
    assert give(sender, 1, 0.004) == []
    assert fire(sender) == (FLUSH_INTERVAL, [[1, 2]])


def test_the_timeout_grows_by_half() -> None:
    sender = make()
    give(sender, 1, 0.0)
    instants = [fire(sender)[0] for _ in range(4)]
    gaps = [after - before for before, after in zip([0.0, *instants], instants, strict=False)]
    assert gaps == pytest.approx([INITIAL_TIMEOUT * GROWTH**n for n in range(4)])


def test_two_skips_send_again_at_the_next_flush() -> None:
    sender = make()
    for i in range(4):
        give(sender, 1, i / 50)
    ack(sender, 0, (1, 2), now=0.10)
    assert contents(sender, 0.10) == []
    ack(sender, 0, (1, 3), now=0.12)
    assert contents(sender, 0.12) == [[0]]
    assert sender.account.redundant_bytes == 5


def test_the_timeout_follows_the_path_down_to_thirty_milliseconds() -> None:
    rtt = RttEstimator()
    for _ in range(100):
        rtt.sample(0.005)
    sender = make(rtt)
    give(sender, 1, 0.0)
    assert sender.get_timer() == pytest.approx(MIN_TIMEOUT)


def test_only_segments_sent_once_tell_the_round_trip_time() -> None:
    rtt = RttEstimator()
    sender = make(rtt)
    give(sender, 1, 0.0)
    fire(sender)
    ack(sender, 1, now=0.3)
    assert rtt.smoothed is None
    give(sender, 1, 1.0)
    ack(sender, 2, now=1.4)
    assert rtt.smoothed == pytest.approx(0.4)


def test_a_silent_peer_is_given_up_and_gets_nothing_new() -> None:
    sender = make()
    give(sender, 1, 0.0)
    timer = sender.get_timer()
    while timer is not None and timer < QUIET_AFTER + 0.1:
        fire(sender)
        timer = sender.get_timer()
    assert give(sender, 1, QUIET_AFTER + 0.1) == []
    steps = 0
    while sender.get_timer() is not None:
        now, _ = fire(sender)
        steps += 1
    assert (now, isinstance(sender.next_event(), PeerLost)) == (GIVE_UP_AFTER, True)
    assert steps < 20


def test_a_stream_may_begin_long_after_the_first_flush() -> None:
    sender = make()
    give(sender, 1, 0.0)
    ack(sender, 1, now=0.1)
    assert give(sender, 1, 100.0) == [[1]]
    assert give(sender, 1, 100.001) == []
    assert fire(sender) == (pytest.approx(100.0 + FLUSH_INTERVAL), [[2]])
    assert sender.next_event() is None
