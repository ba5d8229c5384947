"""The packed sender: that each packet brings a reader up to date, its pace and budget, large backlogs, and silence."""

import math
import random
from itertools import pairwise
from typing import Any

import pytest

from eloquent import scenarios, schemes
from eloquent.errors import ConfigurationError
from eloquent.protocol.contract import PeerLost, StreamAcknowledged, StreamFinished, TokenReceived
from eloquent.protocol.datagram import PAYLOAD_BUDGET
from eloquent.protocol.frames import ReaderState
from eloquent.protocol.packed import read_packed
from eloquent.protocol.senders.packed import CALM_HOLD, MAX_HOLD, MIN_SPACING, TCP_HEADERS
from eloquent.sim.engine.choices import Choices
from eloquent.sim.engine.reader import Reader
from eloquent.sim.engine.session import constant_rate, run_session

TEXT = [word for line in (b" Call me Ishmael . Some years ago never mind how long",) for word in line.split(b" ")[1:]]


def tokens(count: int) -> list[bytes]:
    return [
        b" " + TEXT[number % len(TEXT)] + (b"%d" % (number % 7) if number % 5 == 0 else b"") for number in range(count)
    ]


def pair(net: Any, path: Any, data: list[bytes], gap: float, name: str = "eloquent-packed") -> Any:
    scheme = schemes.get(name)
    sender = scheme.make_sender()
    made = net.EndpointPair(sender, scheme.make_receiver(), path)
    for number, token in enumerate(data):
        made.at(gap * number, lambda token=token: sender.send_token(token, now=made.now))
    made.at(gap * len(data), lambda: sender.finish(trailer=b"bye", now=made.now))
    return made


def received(made: Any) -> list[bytes]:
    return [event.data for event in made.events["b"] if isinstance(event, TokenReceived)]


@pytest.mark.parametrize("name", ["eloquent-packed", "eloquent-packed-2x", "eloquent-packed-0.5x"])
def test_each_packet_alone_brings_the_reader_up_to_date(net: Any, name: str) -> None:
    """One packet in five gets through, and no acknowledgement for 3 s: all that was given is there with each."""
    data = tokens(150)
    path = net.Path(judge=lambda side, count, _: (side == "a" and count % 5 != 0) or (side == "b" and made.now < 3.0))
    made = pair(net, path, data, 0.02, name)
    made.run(until=3.0)
    came = [at for at, _ in made.sent["a"]][4::5]
    newest = [read_packed(payload)[-1] for _, payload in made.sent["a"]][4::5]
    expected = max(index for at, index in zip(came, newest, strict=True) if at + 0.05 <= 3.0)
    assert len(received(made)) == expected + 1
    made.run(until=30.0)
    assert received(made) == data
    assert isinstance(made.events["b"][-1], StreamFinished)
    assert isinstance(made.events["a"][-1], StreamAcknowledged)


@pytest.mark.parametrize(("gap", "slowest"), [(0.02, MAX_HOLD), (0.005, MAX_HOLD), (0.1, 0.1)])
def test_packets_keep_their_distance_and_no_token_waits_long(net: Any, gap: float, slowest: float) -> None:
    made = pair(net, net.Path(delay=0.2), tokens(int(10 / gap)), gap)
    made.run(until=9.9)
    instants = [at for at, _ in made.sent["a"]]
    apart = [later - before for before, later in pairwise(instants)]
    assert min(apart) >= MIN_SPACING - 1e-9
    assert max(apart) <= slowest + gap + 1e-9


@pytest.mark.parametrize("gap", [0.02, 0.005])
@pytest.mark.parametrize("lost", [0.0, 0.3])
def test_the_bytes_are_tcps_or_less(net: Any, gap: float, lost: float) -> None:
    data = tokens(int(20 / gap))
    made = pair(net, net.Path(delay=0.2, drop=lost), data, gap)
    made.run(until=60.0)
    wire = made.ends["a"].account.wire_bytes / len(data)
    tcp = TCP_HEADERS + sum(map(len, data)) / len(data)
    assert wire <= 1.02 * tcp
    assert received(made) == data


def test_more_may_be_spent(net: Any) -> None:
    counts = {}
    for name in ("eloquent-packed-0.2x", "eloquent-packed-0.4x", "eloquent-packed-0.8x"):
        made = pair(net, net.Path(delay=0.2), tokens(2000), 0.005, name)
        made.run(until=60.0)
        counts[name] = made.ends["a"].account.packets
    assert counts["eloquent-packed-0.2x"] * 1.3 < counts["eloquent-packed-0.4x"]
    assert counts["eloquent-packed-0.4x"] * 1.3 < counts["eloquent-packed-0.8x"]


def test_what_does_not_fit_goes_in_two_datagrams(net: Any) -> None:
    """An outage of 1 s at 200 random tokens a second: the reader waits for no more than that, and one pace."""
    draw = random.Random(1)
    data = [draw.randbytes(12) for _ in range(800)]
    made = pair(net, net.Path(delay=0.05, blackouts=[(2.0, 3.0)]), data, 0.005)
    arrivals: list[float] = []
    made.on_event = lambda side, event: arrivals.append(made.now) if isinstance(event, TokenReceived) else None
    made.run(until=30.0)
    assert received(made) == data
    gaps = [later - before for before, later in pairwise(arrivals)]
    assert max(gaps) < 1.0 + 2 * MAX_HOLD
    assert all(len(payload) <= PAYLOAD_BUDGET for _, payload in made.sent["a"])


def test_a_pause_and_the_end_are_repeated_until_they_are_known(net: Any) -> None:
    made = pair(net, net.Path(judge=lambda side, count, _: side == "a" and made.now < 2.0), tokens(5), 0.02)
    made.run(until=5.0)
    assert received(made) == tokens(5)
    assert len(made.sent["a"]) < 60


def test_a_dead_peer_gets_less_and_is_given_up(net: Any) -> None:
    made = pair(net, net.Path(blackouts=[(1.0, 1e9)]), tokens(5000), 0.02)
    made.run(until=120.0)
    late = [at for at, _ in made.sent["a"] if at > 12.0]
    assert len(late) < 25
    assert isinstance(made.events["a"][-1], PeerLost)
    assert not math.isinf(made.now)


def test_a_long_token_goes_in_fragments(net: Any) -> None:
    data = [b"x" * 5000, b"y" * 3000, b"z"]
    made = pair(net, net.Path(drop=0.2, seed=4, until=5.0), data, 0.1)
    made.run(until=30.0)
    assert received(made) == data


def test_nothing_cannot_be_spent() -> None:
    with pytest.raises(ConfigurationError, match="eloquent-packed-0x"):
        schemes.get("eloquent-packed-0x")


AWAY, WAITING = ReaderState(0.0, looking=False), ReaderState(0.0)


@pytest.mark.parametrize(
    ("state", "slow_until"), [(AWAY, math.inf), (ReaderState(2.0), 2.2), (ReaderState(0.4), 0.0), (WAITING, 0.0)]
)
def test_a_reader_who_needs_nothing_soon_gets_a_packet_less_often(
    net: Any, state: ReaderState, slow_until: float
) -> None:
    """The report comes after 0.5 s, and no other; a buffer of 2 s lasts for 1.7 s and less what it takes to find a loss."""
    made = pair(net, net.Path(delay=0.05), tokens(400), 0.02)
    made.at(0.5, lambda: made.ends["b"].report(state, now=made.now), "b")
    made.run(until=4.0)
    instants = [at for at, _ in made.sent["a"]]
    slow = [before for before, after in pairwise(instants) if after - before > MAX_HOLD + 1e-9]
    if slow_until:
        assert len(slow) > 5
        assert min(slow) >= 0.5
        assert max(after - before for before, after in pairwise(instants)) <= CALM_HOLD + 0.02 + 1e-9
        last = max(slow)
        assert last > 3.5 if slow_until == math.inf else 1.0 < last < slow_until
    else:
        assert not slow


def test_whoever_looks_again_is_brought_up_to_date_at_once(net: Any) -> None:
    made = pair(net, net.Path(delay=0.05), tokens(400), 0.02)
    made.at(0.5, lambda: made.ends["b"].report(AWAY, now=made.now), "b")
    made.at(2.0, lambda: made.ends["b"].report(WAITING, now=made.now), "b")
    made.run(until=3.0)
    after = [at for at, _ in made.sent["a"] if at >= 2.05]
    assert after[0] <= 2.07 + 1e-9
    assert max(later - before for before, later in pairwise(after)) <= MAX_HOLD + 1e-9


def test_without_reports_it_is_as_for_a_reader_who_always_waits() -> None:
    spent = []
    for reader in (None, Reader(), Reader(away=(0.25, 0.75))):
        choices = Choices(ack_loss=True, content="text", reader=reader)
        link = scenarios.load("paper-default-rtt100")
        trace = run_session(
            schemes.get("eloquent-packed"), link, seed=2, generated_s=constant_rate(20.0, 0.02), choices=choices
        )
        assert len(trace.rendered_s) == 1000
        spent.append(trace.account.wire_bytes)
    assert spent[0] == spent[1]
    assert spent[2] < 0.75 * spent[0]
