"""Pings, and what their pongs tell of the path in each direction: in virtual time, with any losses."""

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from eloquent.relay.sealed.packets import MAX_PONG, Status
from eloquent.relay.sealed.prober import Prober


def begin(sealed: Any, server: Any, *, key: bytes | None = None) -> Prober:
    """Return a prober that has had its handshake, if the server lets it."""
    prober = Prober(key or sealed.KEY, draw=random.Random(5).randbytes, now=0.0)
    while (initiation := prober.take_initiation(now=0.0)) is not None:
        for answer in say(sealed, server, initiation):
            prober.receive_datagram(answer, now=0.0)
    return prober


def say(sealed: Any, server: Any, data: bytes, now: float = 0.0) -> list[bytes]:
    answers: list[tuple[bytes, Any]] = sealed.Peer(server).say(data, now=now)
    return [answer for answer, _ in answers]


def test_the_handshake_is_a_clients(sealed: Any) -> None:
    assert begin(sealed, sealed.server()).status is Status.BEGUN
    assert begin(sealed, sealed.server(), key=b"x" * 32).status is None


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=300))
@settings(max_examples=50, deadline=None)
def test_each_pings_fate_is_known_where_a_later_pong_tells_of_it(sealed: Any, losses: list[tuple[bool, bool]]) -> None:
    """What is said of a ping is always so; unknown is only what no pong of the 128 pings that follow speaks of."""
    server = sealed.server()
    prober = begin(sealed, server)
    for number, (lost_up, lost_down) in enumerate(losses):
        datagram = prober.ping(192, now=number * 0.02)
        for pong in [] if lost_up else say(sealed, server, datagram, number * 0.02):
            if not lost_down:
                prober.receive_datagram(pong, now=number * 0.02 + 0.01)
    for number, ((lost_up, lost_down), ping) in enumerate(zip(losses, prober.pings, strict=True)):
        assert (ping.answered_at is not None) == (not lost_up and not lost_down)
        if any(other == (False, False) for other in losses[number : number + 129]):
            assert ping.came == (not lost_up)
        else:
            assert ping.came is None


def test_pings_that_came_together_are_answered_each(sealed: Any) -> None:
    """As on a radio link, which holds datagrams back and lets them go at once."""
    server = sealed.server()
    prober = begin(sealed, server)
    for _ in range(20):
        server.receive_datagram(prober.ping(192, now=0.0), sealed.CLIENT, now=0.1)
    for pong, _ in server.datagrams_to_send(now=0.1):
        prober.receive_datagram(pong, now=0.2)
    assert all(ping.answered_at == 0.2 for ping in prober.pings)


def test_a_pong_is_as_large_as_its_ping_and_no_larger_than_any_datagram(sealed: Any) -> None:
    server = sealed.server()
    prober = begin(sealed, server)
    for size, answered in ((64, 64), (192, 192), (1472, 1472), (9000, MAX_PONG)):
        assert [len(pong) for pong in say(sealed, server, prober.ping(size, now=0.0))] == [answered]
    assert [ping.size for ping in prober.pings] == [64, 192, 1472, 9000]


def test_the_farewell_ends_the_association(sealed: Any) -> None:
    server = sealed.server()
    prober = begin(sealed, server)
    say(sealed, server, prober.leave(now=0.0))
    assert server.associations == 0
