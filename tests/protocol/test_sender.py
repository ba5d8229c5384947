"""What all senders have in common, shown on each datagram scheme; and the pair with its receiver over a terrible network."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eloquent import schemes
from eloquent.errors import LocalProtocolError, RemoteProtocolError
from eloquent.protocol.contract import PeerLost, StreamAcknowledged, StreamFinished, StreamSender, TokenReceived
from eloquent.protocol.datagram import PAYLOAD_BUDGET
from eloquent.protocol.frames import MAX_TOKEN, Ack, Data, End, encode_payload
from eloquent.protocol.sender import FLIGHT_LIMIT, MAX_BACKLOG

NAMES = [scheme.name for scheme in schemes.defaults() if scheme.kind == "datagram"] + [
    "eloquent-all",
    "duplicate-3-0ms",
]


@pytest.fixture(params=NAMES)
def sender(request: pytest.FixtureRequest) -> StreamSender:
    return schemes.get(request.param).make_sender()


def test_misuse_is_the_callers_fault(sender: StreamSender) -> None:
    with pytest.raises(LocalProtocolError, match="too long"):
        sender.send_token(bytes(MAX_TOKEN + 1), now=0.0)
    with pytest.raises(LocalProtocolError, match="trailer"):
        sender.finish(trailer=bytes(513), now=0.0)
    sender.finish(now=0.0)
    with pytest.raises(LocalProtocolError, match="after the end"):
        sender.send_token(b"x", now=0.0)
    with pytest.raises(LocalProtocolError, match="twice"):
        sender.finish(now=0.0)


def test_who_ignores_the_backlog_is_stopped(sender: StreamSender) -> None:
    for _ in range(MAX_BACKLOG):
        sender.send_token(b"x", now=0.0)
    assert sender.backlog == MAX_BACKLOG
    with pytest.raises(LocalProtocolError, match="backlog"):
        sender.send_token(b"x", now=0.0)


@pytest.mark.parametrize("ack", [Ack(2), Ack(0, ((1, 2),)), Ack(1, end_seen=True)])
def test_an_acknowledgement_of_the_future_is_the_peers_fault(sender: StreamSender, ack: Ack) -> None:
    sender.send_token(b"x", now=0.0)
    sender.datagrams_to_send(now=0.0)
    for wrong in (encode_payload(ack), encode_payload(Data((), End(0, 0))), b"\x09"):
        with pytest.raises(RemoteProtocolError):
            sender.receive_datagram(wrong, now=0.1)
    assert (sender.backlog, sender.account.acks_received) == (1, 0)


def test_what_is_under_way_is_bounded(sender: StreamSender) -> None:
    sender.send_token(bytes(MAX_TOKEN), now=0.0)
    assert len(sender.datagrams_to_send(now=0.0)) <= 3 * (FLIGHT_LIMIT // 1100)
    assert sender.datagrams_to_send(now=0.0) == []


@pytest.mark.parametrize("size", [5, 1000])
def test_a_peer_that_never_answers_gets_less_and_less(sender: StreamSender, size: int) -> None:
    """All tokens at one instant, of which each fills a packet or hardly any of it: the path may have died."""
    for _ in range(40):
        sender.send_token(bytes(size), now=0.0)
    sender.finish(now=0.0)
    sent = {"at first": 0, "later": 0}
    now, turns = 0.0, 0
    while not isinstance(sender.next_event(), PeerLost):
        sent["later" if now >= 10.0 else "at first"] += len(sender.datagrams_to_send(now=now))
        timer = sender.get_timer()
        assert timer is not None
        now, turns = max(now, timer), turns + 1
        sender.handle_timer(now=now)
    assert sent["at first"] < 1500
    assert sent["later"] < 700
    assert turns < 600


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25)
@given(
    tokens=st.lists(st.one_of(st.binary(max_size=12), st.binary(min_size=900, max_size=4000)), max_size=40),
    gap=st.sampled_from([0.0, 0.01, 0.1]),
    seed=st.integers(0, 2**16),
)
def test_exactly_the_tokens_once_in_order(net: Any, name: str, tokens: list[bytes], gap: float, seed: int) -> None:
    scheme = schemes.get(name)
    pair = net.EndpointPair(scheme.make_sender(), scheme.make_receiver(), net.terrible(seed))
    sender = pair.ends["a"]
    for i, token in enumerate(tokens):
        pair.at(i * gap, lambda token=token: sender.send_token(token, now=pair.now))
    pair.at(len(tokens) * gap, lambda: sender.finish(trailer=b"bye", now=pair.now))
    pair.run()
    assert pair.events["b"] == [*(TokenReceived(i, token) for i, token in enumerate(tokens)), StreamFinished(b"bye")]
    assert pair.events["a"] == [StreamAcknowledged()]
    assert all(len(data) <= PAYLOAD_BUDGET for _, data in pair.sent["a"] + pair.sent["b"])
    account = sender.account
    assert (account.tokens, account.original_bytes) == (len(tokens), sum(map(len, tokens)))
    assert account.packets == len(pair.sent["a"])
    assert account.wire_bytes == sum(len(data) + 28 for _, data in pair.sent["a"])
