"""The server over QUIC alone: whom it lets in, what it keeps of whom, and what strangers can make of it."""

import contextlib
import itertools
import os
import random
import tracemalloc
from typing import Any

import pytest
from aioquic.quic.events import StreamDataReceived

from eloquent import schemes
from eloquent.errors import RemoteProtocolError
from eloquent.protocol.address_token import NO_TOKEN
from eloquent.protocol.datagram import Datagram, Hello, Open, encode_datagram
from eloquent.protocol.session import StreamFailed
from eloquent.relay.quic.connection import MAX_FRAME
from eloquent.relay.quic.edges import EndCode, Welcome, encode_ask

NAME = bytes(16)


def question(number: int = 0) -> bytes:
    sender = schemes.get("retransmit").make_sender(budget=1149)
    for token in (b"eloquent", b"question"):
        sender.send_token(token, now=0.0)
    sender.finish(now=0.0)
    (payload,) = sender.datagrams_to_send(now=0.0)
    return encode_datagram(Datagram(number.to_bytes(8), 0, Open(NO_TOKEN, 0, payload)))


def from_(number: int) -> tuple[str, int]:
    return f"10.{number // 62500}.{number // 250 % 250}.{number % 250}", 5000


def test_nothing_is_kept_of_an_address_that_was_not_shown(quic: Any) -> None:
    server = quic.server()
    first = quic.Stranger(server).connection.flush(now=0.0)[0][0]
    for number in range(500):
        server.receive_datagram(first, from_(number), now=0.0)
        ((reply, to),) = server.datagrams_to_send(now=0.0)
        assert to == from_(number)
        assert len(reply) * 3 < len(first)
    assert (server.connections, server.channels, server.get_timer()) == (0, 0, None)


def test_a_retry_is_good_for_its_address_alone_and_begins_one_connection(quic: Any) -> None:
    server = quic.server()
    stranger = quic.Stranger(server)
    said = stranger.exchange()
    assert server.connections == 1
    beginning = said[1]  # what came back with the Retry
    with pytest.raises(RemoteProtocolError, match="does not count"):
        quic.server().receive_datagram(beginning, stranger.source, now=0.0)
    with pytest.raises(RemoteProtocolError, match="does not count"):
        quic.server().receive_datagram(beginning, from_(1), now=0.0)
    stranger.connection.close()
    stranger.exchange()
    assert server.connections == 0
    with pytest.raises(RemoteProtocolError, match="a repeated beginning"):
        server.receive_datagram(beginning, stranger.source, now=1.0)
    with pytest.raises(RemoteProtocolError, match="does not count"):
        server.receive_datagram(beginning, stranger.source, now=31.0)
    assert (server.connections, server.get_timer()) == (0, None)


def test_who_shows_nothing_has_ten_seconds(quic: Any) -> None:
    server = quic.server()
    stranger = quic.Stranger(server)
    stranger.exchange()
    assert server.connections == 1
    now = 0.0
    while (due := server.get_timer()) is not None and now < 20.0:
        now = due
        server.handle_timer(now=now)
        stranger.hear(now)
        stranger.connection.send_ping(1)  # who only keeps his connection alive
        stranger.exchange(now)
    assert 10.0 <= now < 10.1
    assert (server.connections, server.account.refused) == (0, {})
    assert stranger.connection.end_code == EndCode.STRANGER


def test_nothing_of_a_stranger_reaches_the_endpoint_inside(quic: Any) -> None:
    server = quic.server()
    stranger = quic.Stranger(server)
    stranger.exchange()
    stranger.say(question())
    stranger.say(encode_datagram(Datagram(b"sessionA", 0, Hello())))
    assert (server.sessions, server.channels, server.tally.sent.total()) == ([], 0, 0)
    stranger.say_on_stream(encode_ask(stranger.bearer(), NAME))
    assert StreamDataReceived(bytes([Welcome.BEGUN]), end_stream=True, stream_id=0) in stranger.events
    stranger.say(question())
    assert (len(server.sessions), server.channels) == (1, 1)


@pytest.mark.parametrize(
    ("change", "stream"),
    [
        (lambda ask: b"", 0),
        (lambda ask: ask[:-1], 0),
        (lambda ask: ask + b"\0", 0),
        (lambda ask: b"\2" + ask[1:], 0),
        (lambda ask: ask[:5] + bytes([ask[5] ^ 1]) + ask[6:], 0),
        (lambda ask: bytes(len(ask)), 0),
        (lambda ask: ask, 2),
        (lambda ask: ask, 4),
    ],
    ids=["nothing", "short", "long", "version", "bearer", "zeros", "one way", "another stream"],
)
def test_who_shows_something_else_is_sent_away_at_once(quic: Any, change: Any, stream: int) -> None:
    server = quic.server()
    stranger = quic.Stranger(server)
    stranger.exchange()
    stranger.say_on_stream(change(encode_ask(stranger.bearer(), NAME)), stream=stream)
    assert (server.connections, server.channels, server.sessions, server.get_timer()) == (0, 0, [], None)


def test_a_bearer_token_for_another_servers_key_lets_nobody_in(quic: Any) -> None:
    """Who pretends to be the server gets a token that the real one does not take."""
    server, other = quic.server(), quic.server(shown=quic.certificate(bytes(32)))
    deceived = quic.Stranger(other)
    deceived.exchange()
    stranger = quic.Stranger(server)
    stranger.exchange()
    stranger.say_on_stream(encode_ask(deceived.bearer(), NAME))
    assert (server.connections, server.channels) == (0, 0)


def test_another_protocol_gets_no_connection(quic: Any) -> None:
    server = quic.server()
    quic.Stranger(server, protocol="http/0.9").exchange()
    assert (server.connections, server.get_timer()) == (0, None)


@pytest.mark.parametrize(
    ("bound", "is_edge", "spread", "name"),
    [
        ({"connections": 5}, True, True, "connections"),
        ({"connections_per_source": 5}, True, False, "connections"),
        ({"strangers": 5}, False, True, "strangers"),
        ({"strangers_per_source": 5}, False, False, "strangers"),
    ],
)
def test_bounds_of_connections(quic: Any, bound: Any, is_edge: bool, spread: bool, name: str) -> None:
    server = quic.server(quic_limits=quic.limits(**bound, handshakes_per_source=100))
    for number in range(8):
        source = from_(number) if spread else ("10.0.0.1", 1000 + number)
        stranger = quic.Stranger(server, source=source)
        stranger.exchange()
        if is_edge and stranger.connection.peer_certificate is not None:
            stranger.say_on_stream(encode_ask(stranger.bearer(), os.urandom(16)))
    assert (server.connections, server.refused[name]) == (5, 3)


def test_handshakes_are_limited_in_time(quic: Any) -> None:
    server = quic.server(quic_limits=quic.limits(handshakes_per_source=3))
    for port in range(6):
        quic.Stranger(server, source=("10.0.0.1", 1000 + port)).exchange()
    assert server.connections == 3
    assert server.account.dropped["too many handshakes"] == 3
    quic.Stranger(server, source=("10.0.0.1", 2000)).exchange(1.0)
    assert server.connections == 4


def test_who_finds_no_room_is_told(quic: Any) -> None:
    server = quic.server(quic_limits=quic.limits(channels=1))
    first, second = quic.Peer(server), quic.Peer(server, seed=4, source=from_(4))
    first.join()
    second.join()
    assert server.channels == 1
    (failed,) = [event for event in iter(second.client.next_event, None) if isinstance(event, StreamFailed)]
    assert "as many edges as it allows" in failed.reason


def test_a_channel_without_a_connection_is_kept_for_some_time(quic: Any) -> None:
    server = quic.server()
    stranger = quic.Stranger(server)
    stranger.exchange()
    stranger.say_on_stream(encode_ask(stranger.bearer(), NAME))
    stranger.say(question())
    stranger.connection.close(error_code=1)
    stranger.exchange(1.0)
    assert (server.connections, server.channels, len(server.sessions)) == (0, 1, 1)
    while (due := server.get_timer()) is not None and due < 41.5:
        server.handle_timer(now=due)
        server.datagrams_to_send(now=due)
    assert (server.channels, server.sessions) == (0, [])


def test_who_leaves_leaves_at_once(quic: Any) -> None:
    server = quic.server()
    stranger = quic.Stranger(server)
    stranger.exchange()
    stranger.say_on_stream(encode_ask(stranger.bearer(), NAME))
    stranger.say(question())
    assert len(server.sessions) == 1
    stranger.connection.close(error_code=EndCode.LEFT)
    stranger.exchange(1.0)
    assert (server.connections, server.channels, server.sessions) == (0, 0, [])


def test_what_is_too_large_is_never_given_to_quic(quic: Any) -> None:
    """It would block all that follows for ever."""
    server = quic.server()
    stranger = quic.Stranger(server)
    stranger.exchange()
    (peer,) = server._peers.values()
    for size in (MAX_FRAME + 1, 5000, MAX_FRAME, 10):
        peer.connection.carry(bytes(size))
    assert peer.connection.flush(now=0.0)
    assert not peer.connection._datagrams_pending
    assert (server.account.oversized, server.account.carried, server.account.unsent) == (2, 2, 0)


def test_a_flood_of_strangers_takes_bounded_memory(quic: Any) -> None:
    """Each with a connection and as much of a handshake that leads nowhere as aioquic keeps."""
    limits = quic.limits(handshakes=1000, handshakes_per_source=1000)
    server = quic.server(quic_limits=limits)
    tracemalloc.start()
    try:
        for number in range(2 * limits.strangers):
            quic.Stranger(server, source=from_(number)).exchange()
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert server.connections == limits.strangers
    assert held / limits.strangers < 512 * 1024, f"{held / limits.strangers:.0f} bytes a stranger"


def test_garbage_changes_nothing(quic: Any) -> None:
    draw = random.Random(1)
    server = quic.server()
    stranger = quic.Stranger(server)
    said = stranger.exchange()
    stranger.say_on_stream(encode_ask(stranger.bearer(), NAME))
    for number, original in zip(range(3000), itertools.cycle(said)):
        data = bytearray(original)
        for _ in range(draw.randrange(1, 4)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        with contextlib.suppress(RemoteProtocolError):
            server.receive_datagram(bytes(data[: draw.randrange(1, len(data) + 1)]), from_(number), now=1.0)
        for reply, _ in server.datagrams_to_send(now=1.0):
            assert len(reply) <= 3 * len(data)
    assert server.connections == 1
    stranger.say(question(), now=2.0)
    assert len(server.sessions) == 1
