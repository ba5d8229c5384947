import pytest
from tests.protocol.senders.conftest import ack, contents, fire, give

from eloquent import schemes
from eloquent.baselines.red import IDLE_INTERVAL, RedSender
from eloquent.errors import ConfigurationError
from eloquent.protocol.rtt import RttEstimator


def test_each_packet_repeats_the_last_blocks_newest_first() -> None:
    sender = schemes.get("red-2").make_sender()
    packets = [give(sender, count, at / 10) for at, count in enumerate((1, 2, 1, 1))]
    assert packets == [[[0]], [[1, 2, 0]], [[3, 1, 2, 0]], [[4, 3, 1, 2]]]
    account = sender.account
    assert (account.original_bytes, account.redundant_bytes) == (5 * 5, 5 * (0 + 1 + 3 + 3))


def test_acknowledgements_change_nothing_about_it() -> None:
    sender = schemes.get("red-1").make_sender()
    give(sender, 1, 0.0)
    ack(sender, 1, now=0.05)
    assert give(sender, 1, 0.1) == [[1, 0]]


def test_a_pause_is_no_reason_to_wait_with_redundancy() -> None:
    sender = schemes.get("red-2").make_sender()
    give(sender, 1, 0.0)
    give(sender, 1, 0.1)
    assert fire(sender) == (pytest.approx(0.1 + IDLE_INTERVAL), [[1, 0]])
    assert fire(sender) == (pytest.approx(0.1 + 2 * IDLE_INTERVAL), [[1]])
    assert sender.get_timer() == pytest.approx(2.0)  # both blocks were repeated twice: now only the timeout


def test_no_repetition_of_what_has_all_arrived() -> None:
    sender = schemes.get("red-2").make_sender()
    give(sender, 1, 0.0)
    ack(sender, 1, now=0.1)
    assert sender.get_timer() is None


def test_a_repetition_tells_no_round_trip_time() -> None:
    rtt = RttEstimator()
    sender = RedSender(budget=1171, rtt=rtt, blocks=1)
    give(sender, 1, 0.0)
    fire(sender)
    ack(sender, 1, now=0.5)
    assert rtt.smoothed is None


def test_what_is_lost_too_often_is_retransmitted() -> None:
    sender = schemes.get("red-1").make_sender()
    for i in range(6):
        give(sender, 1, i / 10)
    ack(sender, 0, (2, 4), now=0.6)  # 0 and 1 lost, and so were the packets that repeated 0
    assert contents(sender, 0.6) == []
    ack(sender, 0, (2, 5), now=0.7)
    assert contents(sender, 0.7) == [[0], [1]]


def test_the_byte_budget_holds() -> None:
    sender = RedSender(budget=1100, blocks=10)
    for i in range(20):
        sender.send_token(bytes(400), now=i / 10)
        packets = sender.datagrams_to_send(now=i / 10)
        assert all(len(data) <= 1100 for data in packets)


def test_bounds() -> None:
    for name in ("red-0", "red-11"):
        with pytest.raises(ConfigurationError):
            schemes.get(name)
