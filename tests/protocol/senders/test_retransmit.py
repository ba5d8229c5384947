import pytest

from eloquent import schemes
from eloquent.errors import ConfigurationError
from eloquent.protocol.rtt import KnownRtt, RttEstimator
from eloquent.protocol.senders.retransmit import RetransmitSender

from .conftest import ack, contents, fire, give


def test_one_packet_for_each_burst_without_redundancy() -> None:
    sender = RetransmitSender()
    assert [give(sender, n, i / 10) for i, n in enumerate((1, 1, 3))] == [[[0]], [[1]], [[2, 3, 4]]]
    assert sender.account.redundant_bytes == 0


def test_the_timeout_doubles_at_each_retransmission() -> None:
    sender = RetransmitSender()
    give(sender, 1, 0.0)
    assert [fire(sender) for _ in range(4)] == [(1.0, [[0]]), (3.0, [[0]]), (7.0, [[0]]), (15.0, [[0]])]


def test_three_later_packets_prove_a_loss() -> None:
    sender = RetransmitSender()
    for i in range(5):
        give(sender, 1, i / 10)
    ack(sender, 0, (1, 2), now=0.5)
    ack(sender, 0, (1, 3), now=0.6)
    assert contents(sender, 0.6) == []
    ack(sender, 0, (1, 4), now=0.7)
    assert contents(sender, 0.7) == [[0]]
    ack(sender, 0, (1, 5), now=0.8)
    assert contents(sender, 0.8) == []


def test_one_acknowledgement_counts_all_that_it_covers_for_the_first_time() -> None:
    sender = RetransmitSender()
    for i in range(4):
        give(sender, 1, i / 10)
    ack(sender, 0, (1, 4), now=0.5)
    assert contents(sender, 0.5) == [[0]]


@pytest.mark.parametrize(("every_ack", "repaired"), [(False, []), (True, [[0]])])
def test_acknowledgements_of_retransmissions_count_as_later_ones_where_every_one_does(
    every_ack: bool, repaired: list[list[int]]
) -> None:
    rtt = KnownRtt(0.4)
    sender = RetransmitSender(rtt=rtt, every_ack=every_ack)
    give(sender, 1, 0.0)
    assert fire(sender)[1] == [[0]]
    give(sender, 1, 0.61)
    give(sender, 1, 0.62)
    give(sender, 1, 0.63)
    sender.handle_timer(now=1.24)
    assert contents(sender, 1.24) == [[1], [2], [3]]
    for index in (1, 2, 3):
        ack(sender, 0, (1, index + 1), now=1.64 + index / 100)
    assert contents(sender, 1.68) == repaired


@pytest.mark.parametrize(("every_ack", "repaired"), [(False, []), (True, [[0], [0]])])
def test_acknowledgements_of_further_copies_count_as_later_ones_where_every_one_does(
    every_ack: bool, repaired: list[list[int]]
) -> None:
    sender = RetransmitSender(rtt=KnownRtt(0.4), copies=2, spacing=0.0, every_ack=every_ack)
    give(sender, 1, 0.0)
    give(sender, 1, 0.1)
    for instant in (0.50, 0.51):
        ack(sender, 0, (1, 2), now=instant)
    assert contents(sender, 0.51) == []
    ack(sender, 0, (1, 2), now=0.52)
    assert contents(sender, 0.52) == repaired


def test_only_packets_sent_once_tell_the_round_trip_time() -> None:
    rtt = RttEstimator()
    sender = RetransmitSender(rtt=rtt)
    give(sender, 1, 0.0)
    fire(sender)
    ack(sender, 1, now=1.1)
    assert rtt.smoothed is None
    give(sender, 1, 2.0)
    ack(sender, 2, now=2.4)
    assert rtt.smoothed == pytest.approx(0.4)


@pytest.mark.parametrize(("name", "instants"), [("duplicate-3", [0.0, 0.03, 0.06]), ("duplicate-2-5ms", [0.0, 0.005])])
def test_copies_some_time_apart(name: str, instants: list[float]) -> None:
    sender = schemes.get(name).make_sender()
    sent = [(0.0, packet) for packet in give(sender, 1, 0.0)]
    while (timer := sender.get_timer()) is not None and timer < 0.9:
        now, packets = fire(sender)
        sent += [(now, packet) for packet in packets]
    assert sent == [(pytest.approx(instant), [0]) for instant in instants]
    assert sender.account.redundant_bytes == 5 * (len(instants) - 1)
    assert fire(sender)[0] == 1.0


def test_copies_back_to_back() -> None:
    assert give(schemes.get("duplicate-3-0ms").make_sender(), 1, 0.0) == [[0], [0], [0]]


def test_no_copy_of_what_was_acknowledged() -> None:
    sender = schemes.get("duplicate-2").make_sender()
    give(sender, 1, 0.0)
    ack(sender, 1, now=0.01)
    assert sender.get_timer() is None


def test_bounds() -> None:
    for name in ("duplicate-1", "duplicate-11"):
        with pytest.raises(ConfigurationError):
            schemes.get(name)
