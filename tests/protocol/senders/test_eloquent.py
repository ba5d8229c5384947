"""Algorithm 1 step by step: the contents of each packet in their order, and when it is sent."""

import random
from typing import Any

import pytest

from eloquent import schemes
from eloquent.errors import ConfigurationError
from eloquent.protocol.contract import PeerLost, StreamAcknowledged
from eloquent.protocol.frames import Ack, Data, decode_payload, encode_payload
from eloquent.protocol.receiver import Receiver
from eloquent.protocol.rtt import RttEstimator
from eloquent.protocol.sender import GIVE_UP_AFTER, QUIET_AFTER
from eloquent.protocol.senders.eloquent import (
    MAX_RESEND_TIMEOUT,
    RESEND_TIMEOUT,
    SILENCE_TIMEOUT,
    EloquentSender,
)


def contents(datagrams: list[bytes]) -> list[tuple[list[int], bool]]:
    """Indices in their order, and whether the end is there, of each packet."""
    packets = [decode_payload(data) for data in datagrams]
    assert all(isinstance(packet, Data) for packet in packets)
    return [([f.index for f in packet.fragments], packet.end is not None) for packet in packets]  # type: ignore[union-attr]


def give(sender: Any, count: int, now: float) -> list[tuple[list[int], bool]]:
    for _ in range(count):
        sender.send_token(b"token", now=now)
    return contents(sender.datagrams_to_send(now=now))


def ack(sender: Any, next_index: int, *ranges: tuple[int, int], now: float, end: bool = False) -> None:
    sender.receive_datagram(encode_payload(Ack(next_index, ranges, end)), now=now)


def fire(sender: Any) -> tuple[float, list[tuple[list[int], bool]]]:
    now = sender.get_timer()
    sender.handle_timer(now=now)
    return now, contents(sender.datagrams_to_send(now=now))


def test_the_new_token_comes_first_then_the_unacknowledged_oldest_first() -> None:
    sender = EloquentSender()
    assert [give(sender, 1, i / 10) for i in range(4)] == [
        [([0], False)],
        [([1, 0], False)],
        [([2, 0, 1], False)],
        [([3, 0, 1, 2], False)],
    ]
    ack(sender, 1, (2, 3), now=0.35)
    assert give(sender, 1, 0.4) == [([4, 1, 3], False)]


def test_ten_tokens_a_packet_and_the_new_one_always_goes() -> None:
    sender = EloquentSender()
    packets = [give(sender, 1, i / 10)[0][0] for i in range(15)]
    assert packets[9] == [9, *range(9)]
    assert packets[14] == [14, *range(9)]


def test_without_a_limit_the_bytes_decide() -> None:
    sender = EloquentSender(max_tokens=None, budget=1100)
    packets = [give(sender, 1, i / 100)[0][0] for i in range(200)]
    assert packets[100] == [100, *range(100)]
    assert packets[199] == [199, *range(len(packets[199]) - 1)]
    assert len(packets[199]) < 190


def test_bytes_stop_at_the_first_that_does_not_fit() -> None:
    sender = EloquentSender()
    sender.send_token(b"a" * 900, now=0.0)
    assert contents(sender.datagrams_to_send(now=0.0)) == [([0], False)]
    sender.send_token(b"b", now=0.1)
    assert contents(sender.datagrams_to_send(now=0.1)) == [([1, 0], False)]
    sender.send_token(b"c" * 500, now=0.2)
    assert contents(sender.datagrams_to_send(now=0.2)) == [([2], False)]


def test_tokens_of_one_instant_share_a_packet_and_the_end_rides_along() -> None:
    sender = EloquentSender()
    for token in (b"a", b"b", b"c"):
        sender.send_token(token, now=0.0)
    sender.finish(now=0.0)
    assert contents(sender.datagrams_to_send(now=0.0)) == [([0, 1, 2], True)]
    assert sender.datagrams_to_send(now=0.0) == []


def test_a_burst_beyond_one_packet_takes_several() -> None:
    assert give(EloquentSender(), 12, 0.0) == [([*range(10)], False), ([10, 11, *range(8)], False)]


def test_the_end_alone_is_sent_at_once_with_the_oldest() -> None:
    sender = EloquentSender()
    give(sender, 2, 0.0)
    sender.finish(trailer=bytes(512), now=0.1)
    assert contents(sender.datagrams_to_send(now=0.1)) == [([0, 1], True)]


def test_resend_200_ms_after_the_last_packet_with_the_oldest_alone() -> None:
    sender = EloquentSender()
    give(sender, 1, 0.0)
    give(sender, 1, 0.1)
    assert sender.get_timer() == pytest.approx(0.1 + RESEND_TIMEOUT)
    sender.handle_timer(now=0.25)  # too early
    assert sender.datagrams_to_send(now=0.25) == []
    assert fire(sender) == (pytest.approx(0.3), [([0, 1], False)])
    assert sender.get_timer() == pytest.approx(0.5)
    ack(sender, 2, now=0.4)
    assert sender.get_timer() is None


def test_an_acknowledgement_replaces_all_lost_ones() -> None:
    sender = EloquentSender()
    for i in range(5):
        give(sender, 1, i / 10)
    ack(sender, 5, now=0.45)
    assert (sender.backlog, sender.get_timer()) == (0, None)
    ack(sender, 3, now=0.46)  # an old one, reordered, takes nothing back
    assert sender.backlog == 0


def test_stops_when_the_end_is_acknowledged() -> None:
    sender = EloquentSender()
    give(sender, 1, 0.0)
    sender.finish(now=0.0)
    sender.datagrams_to_send(now=0.0)
    ack(sender, 0, now=0.1, end=True)
    assert sender.next_event() is None
    assert fire(sender)[1] == [([0], False)]
    ack(sender, 1, now=0.4, end=True)
    assert sender.next_event() == StreamAcknowledged()
    assert sender.get_timer() is None
    assert sender.datagrams_to_send(now=1.0) == []


def test_a_silent_peer_gets_less_and_less_and_is_given_up() -> None:
    sender = EloquentSender()
    give(sender, 1, 0.0)
    instants = []
    while (timer := sender.get_timer()) is not None and len(instants) < 100:
        instants.append(timer)
        fire(sender)
    gaps = [b - a for a, b in zip([0.0, *instants], instants, strict=False)]
    assert all(gap == pytest.approx(RESEND_TIMEOUT) for gap in gaps[: int(SILENCE_TIMEOUT / RESEND_TIMEOUT) - 1])
    assert max(gaps) == pytest.approx(MAX_RESEND_TIMEOUT)
    assert sorted(gaps[:-1]) == pytest.approx(gaps[:-1])
    assert instants[-1] == pytest.approx(GIVE_UP_AFTER)
    assert isinstance(sender.next_event(), PeerLost)
    assert sender.get_timer() is None
    sender.send_token(b"late", now=50.0)
    assert sender.datagrams_to_send(now=50.0) == []


def test_new_tokens_wait_for_a_sign_of_life_after_some_seconds() -> None:
    sender = EloquentSender()
    give(sender, 1, 0.0)
    assert give(sender, 1, QUIET_AFTER - 0.1) != []
    assert give(sender, 3, QUIET_AFTER + 0.1) == []
    assert fire(sender)[1] == [([0, 1], False)]
    ack(sender, 2, now=9.0)
    assert contents(sender.datagrams_to_send(now=9.0)) == [([2, 3, 4], False)]


def test_the_account() -> None:
    sender = EloquentSender()
    give(sender, 1, 0.0)
    give(sender, 1, 0.1)
    ack(sender, 1, now=0.2)
    fire(sender)
    account = sender.account
    assert (account.tokens, account.original_bytes, account.redundant_bytes) == (2, 10, 5 + 5)
    assert (account.packets, account.acks_received) == (3, 1)
    assert account.wire_bytes == 3 * 28 + (1 + 6) + (1 + 7 + 7) + (1 + 7)


def test_names() -> None:
    assert give(schemes.get("eloquent-2").make_sender(), 3, 0.0) == [([0, 1], False), ([2, 0], False)]
    assert give(schemes.get("eloquent-all").make_sender(), 30, 0.0) == [([*range(30)], False)]
    with pytest.raises(ConfigurationError):
        schemes.get("eloquent-0")


def repair_time(net: Any, size: int, seed: int) -> float:
    """Send 12 tokens over a path of 40 ms that loses 30 % in bursts of 3, and return when all was acknowledged."""
    draw, left = random.Random(seed), 0

    def lost(side: str, _count: int, _data: bytes) -> bool:
        nonlocal left
        if side == "b":
            return False
        if not left and draw.random() < 1 / 7:  # 3 are lost for 7 that are not
            left = 3
        left -= (gone := left > 0)
        return gone

    sender = EloquentSender(rtt=RttEstimator())
    pair = net.EndpointPair(sender, Receiver(), net.Path(delay=0.02, judge=lost))
    tokens = [bytes([number]) * size for number in range(12)]
    for number, token in enumerate(tokens):
        pair.at(0.1 * number, lambda token=token: sender.send_token(token, now=pair.now))
    pair.at(1.2, lambda: sender.finish(now=pair.now))
    pair.run(until=60.0)
    assert [event.data for event in pair.events["b"][:-1]] == tokens
    now: float = pair.now
    return now


@pytest.mark.parametrize("size", [500, 1100, 5000])
def test_large_tokens_are_repaired_at_the_paths_rate(net: Any, size: int) -> None:
    """Before, one packet in 200 ms repaired the answer, and tokens of 5 kB took 53 s."""
    took = sorted(repair_time(net, size, seed) for seed in range(20))
    assert took[10] < 2.5
    assert took[-1] < 6.0
