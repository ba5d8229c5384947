"""The adaptive sender: exactly once in order on a terrible network, within its budgets, and quiet towards a silent peer."""

import math
from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from eloquent import scenarios, schemes
from eloquent.channel.scenario import Scenario
from eloquent.channel.schedule import Direction
from eloquent.errors import ConfigurationError
from eloquent.protocol.contract import PeerLost, StreamAcknowledged, StreamFinished, TokenReceived
from eloquent.protocol.frames import Ack, Data, ReaderState, decode_payload, encode_payload
from eloquent.protocol.receiver import Receiver
from eloquent.protocol.rtt import RttEstimator
from eloquent.protocol.sender import GIVE_UP_AFTER, IP_UDP_HEADERS
from eloquent.protocol.senders.adaptive import MAX_TIMEOUT_INTERVAL, REPAIR, SILENCE_TIMEOUT, AdaptiveSender
from eloquent.protocol.senders.adaptive_budget import TCP_HEADERS, CreditLimits
from eloquent.protocol.senders.adaptive_path import WARM_UP
from eloquent.qoe.playout import Playout, measure_playout
from eloquent.sim.engine.bound import stall_ratio_bound
from eloquent.sim.engine.choices import Choices
from eloquent.sim.engine.reader import Reader
from eloquent.sim.engine.session import constant_rate, run_session
from eloquent.sim.engine.trace import PacketLog

NAMES = ["eloquent-adaptive", "eloquent-adaptive-10pps", "eloquent-adaptive-3pps", "eloquent-adaptive-100pps"]
LOSSY_ACKS = Choices(ack_loss=True, token_bytes=5)


def sender_of(name: str) -> AdaptiveSender:
    sender = schemes.get(name).make_sender()
    assert isinstance(sender, AdaptiveSender)
    return sender


def contents(datagrams: list[bytes]) -> list[list[int]]:
    packets = [decode_payload(data) for data in datagrams]
    return [[f.index for f in packet.fragments] for packet in packets if isinstance(packet, Data)]


def give(sender: AdaptiveSender, now: float, token: bytes = b"token") -> list[list[int]]:
    sender.send_token(token, now=now)
    return contents(sender.datagrams_to_send(now=now))


def stream(net: Any, sender: AdaptiveSender, path: Any, count: int, gap: float = 0.1, size: int = 5) -> Any:
    pair = net.EndpointPair(sender, Receiver(), path)
    for i in range(count):
        pair.at(i * gap, lambda i=i: sender.send_token(b"%0*d" % (size, i), now=pair.now))
    pair.at((count - 1) * gap, lambda: sender.finish(trailer=b"end", now=pair.now))
    pair.run(until=200.0)
    return pair


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(6))
def test_exactly_once_in_order_on_a_terrible_network(net: Any, name: str, seed: int) -> None:
    gap, size = (0.1, 5) if seed % 2 else (0.02, 400)
    path = net.terrible(seed, corrupt=0.0)
    pair = stream(net, sender_of(name), path, 120, gap, size)
    tokens = [event for event in pair.events["b"] if isinstance(event, TokenReceived)]
    assert [event.index for event in tokens] == list(range(120))
    assert [event.data for event in tokens] == [b"%0*d" % (size, i) for i in range(120)]
    assert pair.events["b"][-1] == StreamFinished(b"end")
    assert pair.events["a"] == [StreamAcknowledged()]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("size", [0, 5, 300, 3000])
def test_bytes_stay_within_the_credit(net: Any, seed: int, size: int) -> None:
    sender = sender_of("eloquent-adaptive")
    path = net.Path(drop=0.1 * (seed % 6), late=0.05, seed=seed, delay=0.02 * seed)
    pair = stream(net, sender, path, 150, size=size)
    bucket, limits = sender.bucket, CreditLimits()
    assert sender.account.wire_bytes == bucket.spent == sum(len(data) + IP_UDP_HEADERS for _, data in pair.sent["a"])
    assert bucket.spent <= bucket.credited + bucket.overdrawn + 1e-6
    assert limits.copies is not None
    fragments = 150 * max(1, math.ceil(size / 1158))
    alone = sum(IP_UDP_HEADERS + 16 + min(size, 1171) for _ in range(fragments + 1))
    most = limits.copies / (1 - 0.7)
    quantum = most * (IP_UDP_HEADERS + 1171 if size > 1000 else IP_UDP_HEADERS + size + 20)
    tail = len([instant for instant, _ in pair.sent["a"] if instant > 14.9])
    assert bucket.credited <= most * alone + (limits.start + limits.aside + tail) * quantum
    timeouts = sum(b - a >= 0.2 for (a, _), (b, _) in pairwise(pair.sent["a"]))
    assert bucket.overdrawn <= timeouts * (IP_UDP_HEADERS + 1171)


@pytest.mark.parametrize(("name", "rate"), [("eloquent-adaptive-10pps", 10), ("eloquent-adaptive-3pps", 3)])
@pytest.mark.parametrize("seed", range(6))
def test_packets_stay_within_their_rate(net: Any, name: str, rate: int, seed: int) -> None:
    path = net.Path(drop=0.3, late=0.1, seed=seed)
    pair = stream(net, sender_of(name), path, 150, gap=0.03 * (1 + seed))
    instants = [instant for instant, _ in pair.sent["a"]]
    for first, start in enumerate(instants):
        for count, end in enumerate(instants[first:], start=1):
            assert count <= (end - start) * rate + 2 + 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_a_silent_peer_gets_less_and_less_and_is_given_up(net: Any, name: str) -> None:
    sender = sender_of(name)
    path = net.Path(blackouts=[(5.0, math.inf)])
    pair = stream(net, sender, path, 300)
    instants = [instant for instant, _ in pair.sent["a"]]
    assert isinstance(pair.events["a"][-1], PeerLost)
    assert instants[-1] <= 5.1 + GIVE_UP_AFTER
    late = [b - a for a, b in pairwise(instants) if a > 5.0 + SILENCE_TIMEOUT + 2.5]
    assert len(late) < 25
    assert late == pytest.approx(sorted(late))
    assert late[-1] == pytest.approx(MAX_TIMEOUT_INTERVAL)


def test_ascending_order_and_all_that_may_be_missing_while_the_path_is_unknown() -> None:
    sender = sender_of("eloquent-adaptive-10pps")
    assert [give(sender, i / 10) for i in range(4)] == [[[0]], [[0, 1]], [[0, 1, 2]], [[0, 1, 2, 3]]]
    sender.receive_datagram(encode_payload(Ack(1, ((2, 3),))), now=0.35)
    assert give(sender, 0.4) == [[1, 3, 4]]


def test_redundancy_shrinks_on_a_clean_path_and_returns_with_loss(net: Any) -> None:
    sender = sender_of("eloquent-adaptive")
    path = net.Path(delay=0.2, blackouts=[(30.0, 31.0)])
    pair = stream(net, sender, path, 400)

    def mean(start: float, stop: float) -> float:
        sizes = [len(data) + IP_UDP_HEADERS for instant, data in pair.sent["a"] if start <= instant < stop]
        return sum(sizes) / round((stop - start) * 10)

    clean = CreditLimits().clean * (TCP_HEADERS + 5)
    assert mean(WARM_UP + 1, 30.0) <= 1.01 * clean
    assert mean(30.0, 32.5) > 1.3 * clean


def test_the_tail_is_repeated_at_the_pace_of_the_tokens(net: Any) -> None:
    sender = sender_of("eloquent-adaptive")
    path = net.Path(delay=0.2, blackouts=[(19.85, 20.05)])
    pair = stream(net, sender, path, 200)
    assert pair.events["b"][-1] == StreamFinished(b"end")
    tail = [instant for instant, _ in pair.sent["a"] if instant > 19.85]
    assert all(after - before <= 0.101 for before, after in pairwise(tail[:3]))  # no timeout was needed


def test_an_ambiguous_acknowledgement_tells_only_what_is_sure(net: Any) -> None:
    rtt = RttEstimator()
    sender = AdaptiveSender(rtt=rtt)
    stream(net, sender, net.Path(delay=0.15, drop=0.2, seed=3), 300)
    assert rtt.smoothed == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize(
    ("size", "outages"),
    [(3, [1, 2, 3, 4, 8, 16, 19]), (5, [1, 2, 3, 4, 5, 8, 12, 16]), (18, [1, 5, 6, 7, 8, 9])],
    ids=["3-bytes", "5-bytes", "18-bytes"],
)
def test_a_clean_minute_is_cheap_and_the_first_outage_after_it_short(
    net: Any, size: int, outages: Sequence[int]
) -> None:
    """RTT 400 ms. With tokens of 18 bytes, outages of 200 to 400 ms are missing: the clean budget cannot cover them."""
    for tenths in outages:
        path = net.Path(delay=0.2, blackouts=[(59.95, 59.95 + tenths / 10)])
        pair, rendered = reading(net, sender_of("eloquent-adaptive"), path, size)
        clean_minute = [len(data) + IP_UDP_HEADERS for instant, data in pair.sent["a"] if instant < 59.95]
        assert sum(clean_minute) / 600 <= 1.2 * (TCP_HEADERS + size)
        assert len(rendered) == 720
        assert max(after - before for before, after in pairwise(rendered)) <= tenths / 10 + 0.1 + 1e-6


def reading(net: Any, sender: AdaptiveSender, path: Any, size: int) -> tuple[Any, list[float]]:
    """Let 72 seconds of text pass, and return the instants of rendering."""
    pair = net.EndpointPair(sender, Receiver(), path)
    rendered: list[float] = []
    pair.on_event = lambda side, event: rendered.append(pair.now) if isinstance(event, TokenReceived) else None
    for i in range(720):
        pair.at(i / 10, lambda: sender.send_token(bytes(size), now=pair.now))
    pair.run(until=100.0)
    return pair, rendered


def sums(name: str, scenario: Scenario, sessions: int, choices: Choices = LOSSY_ACKS) -> tuple[float, float]:
    """Stall ratio, and bytes a token."""
    stall = time = wire = tokens = 0.0
    for seed in range(sessions):
        trace = run_session(schemes.get(name), scenario, seed=seed, generated_s=constant_rate(30.0), choices=choices)
        measures = trace.measure()
        stall, time = stall + measures.stall_s, time + measures.stream_s
        wire, tokens = wire + trace.account.wire_bytes, tokens + len(trace.generated_s)
    return stall / time, wire / tokens


@pytest.mark.parametrize("name", ["paper-default", "paper-frequent-rtt100", "paper-long"])
def test_ten_packets_a_second_come_near_the_bound(name: str) -> None:
    """8 sessions of 30 s; over the same losses with an oracle there is next to no chance: docs/adaptive.md has 0.2 %."""
    scenario = scenarios.load(name)
    ratio, _ = sums("eloquent-adaptive-10pps", scenario, 8)
    oracle, _ = sums("bound", scenario, 8)
    assert oracle == pytest.approx(stall_ratio_bound(scenario.loss_down), rel=0.4)
    assert ratio <= 1.02 * oracle


@pytest.mark.parametrize(
    ("name", "size", "most"),
    [
        ("paper-frequent", 5, 0.90),
        ("paper-frequent-rtt100", 5, 0.92),
        ("paper-long-rtt100", 5, 0.95),
        ("paper-default-rtt100", 18, 0.98),
        ("paper-frequent", 18, 1.0),
    ],
)
def test_better_than_eloquent_within_the_bytes_of_duplication(name: str, size: int, most: float) -> None:
    """8 paired sessions of fixed seeds; the bounds leave 7 to 13 % above the ratios of docs/adaptive.md for chance."""
    scenario, choices = scenarios.load(name), Choices(ack_loss=True, token_bytes=size)
    ratio, wire = sums("eloquent-adaptive", scenario, 8, choices)
    assert ratio <= most * sums("eloquent", scenario, 8, choices)[0]
    assert wire <= sums("duplicate-2", scenario, 8, choices)[1]


DEEP, AWAY, EMPTY = ReaderState(60.0), ReaderState(looking=False), ReaderState(0.0)


def acknowledge(sender: AdaptiveSender, ack: Ack, now: float) -> None:
    sender.receive_datagram(encode_payload(ack), now=now)


def at_work(sender: AdaptiveSender) -> AdaptiveSender:
    """Let 20 tokens be given and acknowledged after 200 ms; the last acknowledgement comes at 2.1."""
    for index in range(22):
        if index < 20:
            give(sender, index / 10)
        if index >= 2:
            acknowledge(sender, Ack(index - 1, reader=EMPTY), index / 10)
    return sender


@pytest.mark.parametrize("name", ["eloquent-adaptive", "eloquent-adaptive-10pps"])
@pytest.mark.parametrize("calm", [DEEP, AWAY], ids=["deep", "away"])
def test_a_reader_who_needs_none_gets_no_redundancy_but_what_is_lost(name: str, calm: ReaderState) -> None:
    sender = at_work(sender_of(name))
    acknowledge(sender, Ack(20, reader=calm), 2.1)
    assert [give(sender, 2.1 + i / 10) for i in range(3)] == [[[20]], [[21]], [[22]]]
    acknowledge(sender, Ack(20, ((21, 22),), reader=calm), 2.4)
    assert [give(sender, 2.4 + i / 10) for i in range(3)] == [[[20, 23]], [[24]], [[22, 25]]]  # after a round trip
    acknowledge(sender, Ack(22, ((24, 25),), reader=EMPTY), 2.7)
    assert give(sender, 2.7) == [[22, 23, 25, 26]]


def test_between_tokens_only_the_timeout_repeats_for_a_reader_who_is_away() -> None:
    repeated = {}
    for state in (EMPTY, AWAY):
        sender = at_work(AdaptiveSender(limits=CreditLimits(start=60.0)))
        acknowledge(sender, Ack(20, reader=state), 2.1)
        give(sender, 2.1)
        instants = []
        while (timer := sender.get_timer()) is not None and timer < 5.0:
            sender.handle_timer(now=timer)
            instants += [timer] * len(sender.datagrams_to_send(now=timer))
        repeated[state] = [after - before for before, after in pairwise([2.1, *instants])]
    assert repeated[AWAY][0] > 0.2
    assert repeated[AWAY][1:] == pytest.approx([2 * gap for gap in repeated[AWAY][:-1]])
    assert 2 <= len(repeated[AWAY]) < len(repeated[EMPTY])


def test_a_report_is_believed_until_the_buffer_is_near_empty() -> None:
    sender = at_work(sender_of("eloquent-adaptive"))
    acknowledge(sender, Ack(20, reader=ReaderState(1.0)), 2.1)
    packets = [give(sender, 2.1 + i / 20)[0] for i in range(20)]
    redundant = [packet[0] == 20 and len(packet) > 2 for packet in packets]
    first = redundant.index(True)
    assert all(redundant[first:])
    assert 1.0 - REPAIR - 0.3 <= first / 20 <= 1.0 - REPAIR - 0.2 + 0.05  # a round trip of 200 ms, and its margin


def test_an_overtaken_report_is_not_believed() -> None:
    sender = sender_of("eloquent-adaptive")
    for index in range(3):
        give(sender, index / 10)
    acknowledge(sender, Ack(2, reader=EMPTY), 0.4)
    acknowledge(sender, Ack(1, reader=AWAY), 0.45)
    assert give(sender, 0.5) == [[2, 3]]
    acknowledge(sender, Ack(2, reader=AWAY), 0.55)
    assert len(give(sender, 0.6)[0]) < 3


class Downlink(PacketLog):
    """A packet log that keeps what the sender of a session sends, byte for byte."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[float, bytes]] = []

    def add(self, *, sent_s: float, data: bytes, direction: Direction, **_: object) -> None:
        """Keep a packet."""
        if direction is Direction.DOWN:
            self.sent.append((sent_s, data))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scenario", ["paper-default", "paper-long-rtt100"])
def test_without_reports_it_is_as_for_a_reader_who_always_waits(name: str, scenario: str) -> None:
    """Byte for byte: a reader whose client shows each token as it comes has an empty buffer all the time."""
    sent = []
    for reader in (None, Reader()):
        log, choices = Downlink(), Choices(ack_loss=True, reader=reader)
        link, generated = scenarios.load(scenario), constant_rate(20.0)
        run_session(schemes.get(name), link, seed=3, generated_s=generated, choices=choices, record=log)
        sent.append(log.sent)
    assert sent[0] == sent[1]
    assert len(sent[0]) > 50


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(4))
def test_exactly_once_in_order_whatever_the_reader_does(net: Any, name: str, seed: int) -> None:
    sender, path, states = sender_of(name), net.terrible(seed), Random(seed)
    pair = net.EndpointPair(sender, Receiver(), path)
    for i in range(120):
        pair.at(i / 10, lambda i=i: sender.send_token(b"%d" % i, now=pair.now))
        state = ReaderState(3 * states.random(), looking=states.random() < 0.5)
        pair.at(i / 10, lambda state=state: pair.ends["b"].report(state, now=pair.now), "b")
    pair.at(12.0, lambda: sender.finish(trailer=b"end", now=pair.now))
    pair.run(until=200.0)
    assert pair.events["b"] == [*(TokenReceived(i, b"%d" % i) for i in range(120)), StreamFinished(b"end")]
    assert pair.events["a"] == [StreamAcknowledged()]
    assert sender.bucket.spent <= sender.bucket.credited + sender.bucket.overdrawn + 1e-6


@pytest.mark.parametrize("name", ["paper-default", "paper-long"])
def test_a_buffer_that_fills_saves_bytes_and_costs_no_stalls(name: str) -> None:
    """4 paired sessions of 30 s: a token is read in 150 ms, so that the buffer fills. docs/adaptive.md has 46 % less."""
    scenario, playout = scenarios.load(name), Playout(0.15)
    wire, starved = [], []
    for reader in (None, Reader(playout)):
        choices = Choices(ack_loss=True, token_bytes=5, reader=reader)
        runs = [
            run_session(
                schemes.get("eloquent-adaptive"), scenario, seed=seed, generated_s=constant_rate(30.0), choices=choices
            )
            for seed in range(4)
        ]
        wire.append(sum(run.account.wire_bytes for run in runs))
        starved.append(sum(measure_playout(run.rendered_s, run.generated_s, playout).session.stall_s for run in runs))
    assert wire[1] <= 0.65 * wire[0]
    assert starved[1] <= starved[0] + 0.01 * 120


def test_names() -> None:
    assert [schemes.get(name).name for name in NAMES] == list(NAMES)
    with pytest.raises(ConfigurationError):
        schemes.get("eloquent-adaptive-0pps")
