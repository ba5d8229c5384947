"""A sealed server alone: whom it lets in, what it keeps of whom, and what a hostile peer can make of it."""

import contextlib
import itertools
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eloquent.errors import RemoteProtocolError
from eloquent.protocol.session import StreamDelivered, StreamRequested
from eloquent.relay.sealed import noise
from eloquent.relay.sealed.admission import HandshakeAdmission
from eloquent.relay.sealed.limits import SealLimits
from eloquent.relay.sealed.noise import Initiator, Psk
from eloquent.relay.sealed.packets import INITIATION, PROLOGUE, Initiation, Type

HERE, THERE = ("10.0.0.1", 1000), ("10.0.0.3", 3000)
COOKIE, ACCEPT, CLIENT_SEALED = 0x38, 0x39, 0x31


def requests(server: Any) -> int:
    events = iter(server.next_event, None)
    return sum(isinstance(event, StreamRequested) for _, event in events)


def initiation(
    sealed: Any, cookie: bytes = bytes(22), *, seed: int = 5, key: bytes | None = None, **fields: Any
) -> bytes:
    draw = random.Random(seed)
    initiator = Initiator(Psk(key or sealed.KEY, prologue=PROLOGUE), draw.randbytes(32))
    return bytes([INITIATION]) + initiator.write_first(Initiation(draw.randbytes(4), cookie, **fields).encode())


def cookie_of(sealed: Any, server: Any, *, source: Any = HERE, now: float = 0.0) -> bytes:
    ((reply, to),) = sealed.Peer(server).say(initiation(sealed), source=source, now=now)
    assert to == source
    return reply[5:]


def answers(sealed: Any, server: Any, data: bytes, *, source: Any = HERE, now: float = 0.0) -> list[int]:
    """What a server says to a datagram, by kind."""
    return [reply[0] for reply, _ in sealed.Peer(server).say(data, source=source, now=now)]


def test_row_1_before_an_address_is_shown_three_times_the_bytes_at_most_go_there(sealed: Any) -> None:
    """Counted on what leaves: a first datagram of 1200 bytes gets 27, and a smaller one nothing."""
    server = sealed.server()
    peer = sealed.Peer(server)
    first = initiation(sealed)
    assert len(first) == 1200
    assert [(len(data), to) for data, to in peer.say(first, source=HERE, now=0.0)] == [(27, HERE)]
    for size in (0, 1, 100, 1199):
        assert peer.say(first[:size], source=HERE, now=0.0) == []
    assert peer.say(first + b"\0", source=HERE, now=0.0) == []
    assert (server.associations, server.sessions, server.get_timer()) == (0, [], None)


def test_row_2_a_cookie_is_good_for_its_address_and_for_15_s(sealed: Any) -> None:
    server = sealed.server()
    cookie = cookie_of(sealed, server, now=100.0)
    for source in (THERE, (HERE[0], 1001), ("10.0.0.2", HERE[1])):
        assert answers(sealed, server, initiation(sealed, cookie), source=source, now=100.0) == [COOKIE]
    assert answers(sealed, server, initiation(sealed, cookie), now=115.1) == [COOKIE]
    assert answers(sealed, sealed.server(9), initiation(sealed, cookie), now=100.0) == [COOKIE]  # it was restarted
    assert server.associations == 0
    assert answers(sealed, server, initiation(sealed, cookie), now=115.0) == [ACCEPT]
    assert server.associations == 1


def test_row_2_a_cookie_begins_one_association(sealed: Any) -> None:
    server = sealed.server()
    cookie = cookie_of(sealed, server)
    assert answers(sealed, server, initiation(sealed, cookie)) == [ACCEPT]
    assert answers(sealed, server, initiation(sealed, cookie, seed=6)) == []
    assert server.associations == 1
    assert server.account.dropped["a repeated initiation"] == 1


def test_row_2_a_used_cookie_is_remembered_for_as_long_as_it_counts() -> None:
    """To the millisecond in which it was issued, which is all that a cookie tells."""
    admission = HandshakeAdmission(b"s" * 32, SealLimits())
    cookie = admission.issue(HERE, now=0.0009)
    admission.use(cookie, b"4321", now=0.0009)
    for now in (14.0, 15.00095, 15.0011, 16.0):
        admission.use(now.hex().encode(), b"1234", now=now)
        assert admission.begun_with(cookie) or not admission.is_shown(cookie, HERE, now=now)
    assert admission.begun_with(cookie) is None


def kept(server: Any) -> list[str]:
    """All that a server has in collections."""
    parts = (server, server._admission, server._inside)
    return [repr(value) for part in parts for value in vars(part).values() if isinstance(value, dict | list)]


def test_row_2_before_a_good_cookie_there_is_no_state_and_no_diffie_hellman(
    sealed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchanges = []
    exchange = noise._exchange
    monkeypatch.setattr(noise, "_exchange", lambda *keys: (exchanges.append(1), exchange(*keys))[1])
    server = sealed.server()
    before = kept(server)
    for number in range(500):
        source = (f"10.1.{number // 250}.{number % 250}", 5)
        assert answers(sealed, server, initiation(sealed, bytes(22), seed=number), source=source) == [COOKIE]
        assert answers(sealed, server, initiation(sealed, b"c" * 22, seed=number), source=source) == [COOKIE]
        assert answers(sealed, server, initiation(sealed, key=b"x" * 32), source=source) == []
    assert (exchanges, kept(server)) == ([], before)
    assert server.get_timer() is None
    answers(sealed, server, initiation(sealed, cookie_of(sealed, server)))
    assert exchanges == [1]


def test_row_3_garbage_gets_no_answer(sealed: Any) -> None:
    server = sealed.server()
    peer = sealed.Peer(server)
    peer.join()
    draw = random.Random(1)
    index = next(iter(server._peers))
    server.datagrams_to_send(now=0.0)
    for size in [*range(80), 500, 1199, 1200, 1201, 9000]:
        for head in (b"", b"\x30", b"\x31", b"\x31" + index, b"\x38", b"\x39", b"\x3a", b"\x20", b"\x21"):
            data = (head + draw.randbytes(size))[:size]
            assert peer.say(data, source=THERE, now=0.0) == []
    assert server.associations == len(server.sessions) == 1


def test_row_3_a_flipped_bit_in_any_byte_of_what_a_client_says_changes_nothing(sealed: Any) -> None:
    for which in range(4):  # an initiation, an initiation with its cookie, and two sealed datagrams
        server = sealed.server()
        peer = sealed.Peer(server)
        said: list[bytes] = []
        peer.client.open_stream(b"question", scheme="eloquent", now=0.0)
        while len(said) <= which:
            for data in peer.client.datagrams_to_send(now=0.0):
                said.append(data)
                if len(said) <= which:
                    for answer, _ in peer.say(data, now=0.0):
                        peer.client.receive_datagram(answer, now=0.0)
        data = said[which]
        before = (server.associations, len(server.sessions))
        for position in range(len(data)):
            damaged = data[:position] + bytes([data[position] ^ 1 << position % 8]) + data[position + 1 :]
            assert peer.say(damaged, source=THERE, now=0.0) == []
            assert (server.associations, len(server.sessions)) == before
        assert all(peer.path.address != THERE for peer in server._peers.values())
        if which < 3:
            assert peer.say(data, now=0.0) != []


def test_row_4_a_repeated_first_message_starts_nothing_twice(sealed: Any) -> None:
    server = sealed.server()
    peer = sealed.Peer(server)
    said = peer.join()
    assert [data[0] for data in said[:2]] == [INITIATION, INITIATION]
    assert (requests(server), server.associations) == (1, 1)
    for now in (0.1, 5.0, 14.9, 15.1, 60.0, 1000.0):
        for data in said:
            for source in (peer.source, THERE):
                replies = peer.say(data, source=source, now=now)
                assert all(to == source and reply[0] == COOKIE for reply, to in replies)
    assert (requests(server), server.associations) == (0, 1)


def test_row_4_an_initiation_is_answered_again_while_its_client_has_not_spoken(sealed: Any) -> None:
    server = sealed.server()
    ours = initiation(sealed, cookie_of(sealed, server))
    (first,) = sealed.Peer(server).say(ours, source=HERE, now=0.0)
    assert sealed.Peer(server).say(ours, source=HERE, now=1.0) == [first]
    assert server.associations == 1
    server.handle_timer(now=15.0)
    assert server.associations == 0
    assert answers(sealed, server, ours, now=15.0) == []
    assert answers(sealed, server, ours, now=15.1) == [COOKIE]


def moved(sealed: Any) -> tuple[Any, Any, list[bytes]]:
    """A server, its client, and three datagrams of that client, in order, which the server has not seen."""
    server = sealed.server()
    peer = sealed.Peer(server)
    peer.join()
    fresh = [peer.client._association.seal_control(Type.PING, now=0.0) for _ in range(3)]
    return server, peer, fresh


def test_row_5_an_old_or_repeated_datagram_does_not_steal_the_session(sealed: Any) -> None:
    server, peer, (first, second, third) = moved(sealed)
    (there,) = server._peers.values()
    peer.say(second, now=0.0)
    for data in (first, second):  # overtaken, and repeated
        assert all(to == peer.source for _, to in peer.say(data, source=THERE, now=0.0))
        assert there.path.address == peer.source
    peer.say(third, source=THERE, now=0.0)
    assert there.path.address == THERE


def test_row_5_a_new_path_gets_three_times_its_bytes_until_it_is_validated(sealed: Any) -> None:
    server, peer, (first, *_) = moved(sealed)
    (session,) = server.sessions
    (event,) = [event for _, event in iter(server.next_event, None) if isinstance(event, StreamRequested)]
    went = sum(len(data) for data, to in peer.say(first, source=THERE, now=0.0) if to == THERE)
    for step in range(100):
        session.send_token(event.stream_id, b"token" * 20, now=0.01 * step)
        server.touch(session)
        server.handle_timer(now=0.01 * step)
        went += sum(len(data) for data, to in server.datagrams_to_send(now=0.01 * step) if to == THERE)
        assert went <= 3 * len(first)
    assert went >= 64
    assert server.account.held_back > 0
    (there,) = server._peers.values()
    assert not there.path.is_validated
    # The client itself is still where it was, and its next datagram takes the session back without a proof.
    for data in peer.client.datagrams_to_send(now=1.0) or [peer.client._association.seal_control(Type.PING, now=1.0)]:
        peer.say(data, now=1.0)
    assert (there.path.address, there.path.is_validated) == (peer.source, True)


def test_row_5_a_new_path_is_validated_by_who_has_the_keys_and_receives_there(sealed: Any) -> None:
    server, peer, (first, second, _) = moved(sealed)
    (there,) = server._peers.values()
    replies = [data for data, to in peer.say(first, source=THERE, now=0.0) if to == THERE]
    wrong = peer.client._association.seal_control(Type.RESPONSE, bytes(8), now=0.0)
    peer.say(wrong, source=THERE, now=0.0)
    assert not there.path.is_validated
    for data in replies:
        peer.client.receive_datagram(data, now=0.0)
    (right,) = [data for data in peer.client.datagrams_to_send(now=0.0) if data[0] == CLIENT_SEALED]
    peer.say(right, source=(THERE[0], THERE[1] + 1), now=0.0)  # which is yet another path
    assert not there.path.is_validated
    peer.say(second, source=THERE, now=0.0)
    assert not there.path.is_validated


@pytest.mark.parametrize("kind", [Type.PONG, Type.CHALLENGE, 77])
def test_a_client_with_the_key_that_says_what_it_should_not_breaks_the_protocol(sealed: Any, kind: int) -> None:
    """Which is no datagram of somebody else, of those that are counted as dropped."""
    server, peer, _ = moved(sealed)
    before = server.account.dropped.copy()
    with pytest.raises(RemoteProtocolError, match="what only a server says"):
        server.receive_datagram(peer.client._association.seal_control(kind, now=0.0), peer.source, now=0.0)
    assert server.account.dropped == before


def test_row_6_handshakes_are_limited_by_source_and_in_all(sealed: Any) -> None:
    server = sealed.server(seal_limits=SealLimits(handshakes=12, handshakes_per_source=5))

    def attempt(host: str, seed: int, now: float) -> bool:
        source = (host, 1000 + seed)
        cookie = cookie_of(sealed, server, source=source, now=now)
        return answers(sealed, server, initiation(sealed, cookie, seed=seed), source=source, now=now) == [ACCEPT]

    assert sum(attempt("10.0.0.1", seed, 0.0) for seed in range(20)) == 5
    assert sum(attempt(f"10.0.1.{seed}", 100 + seed, 0.5) for seed in range(20)) == 7
    assert attempt("10.0.0.1", 200, 1.0)


def test_row_6_half_open_associations_are_limited_and_forgotten(sealed: Any) -> None:
    server = sealed.server(seal_limits=SealLimits(half_open=10, handshakes=10**6))

    def begin(seed: int, now: float) -> list[int]:
        source = (f"10.0.2.{seed % 250}", seed)
        cookie = cookie_of(sealed, server, source=source, now=now)
        return answers(sealed, server, initiation(sealed, cookie, seed=seed), source=source, now=now)

    assert [begin(seed, 0.0) for seed in range(20)] == [[ACCEPT]] * 10 + [[]] * 10
    server.handle_timer(now=15.0)
    assert (server.associations, server._half_open) == (0, 0)
    assert begin(50, 16.0) == [ACCEPT]


def test_row_7_associations_are_limited_by_source_and_in_all(sealed: Any) -> None:
    server = sealed.server(seal_limits=SealLimits(associations=3, associations_per_source=2))
    peers = [
        sealed.Peer(server, seed=10 + number, source=(host, number))
        for number, host in enumerate(["10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.3"])
    ]
    for peer in peers:
        peer.join()
    assert [peer.client._association is not None for peer in peers] == [True, True, False, True, False]
    peers[0].client.close(now=1.0)
    peers[0].exchange(now=1.0)
    assert server.associations == 2
    peers[4].client.open_stream(b"again", scheme="eloquent", now=5.0)
    peers[4].exchange(now=5.0)
    assert server.associations == 3


def test_an_association_that_is_silent_is_forgotten_with_its_sessions(sealed: Any) -> None:
    server = sealed.server()
    sealed.Peer(server).join()
    for second in range(1, 400):
        server.handle_timer(now=float(second))
        server.datagrams_to_send(now=float(second))
        assert server.associations == (1 if second < 180 else 0)
    assert server.sessions == []
    assert server.get_timer() is None
    assert [len(held) for held in (server._by_serial, server._by_binding, server._sources, server._touched)] == [0] * 4


def test_nothing_of_a_server_shows_its_key(sealed: Any) -> None:
    server = sealed.server()
    peer = sealed.Peer(server)
    peer.join()
    (there,) = server._peers.values()
    for thing in (server, peer.client, there, there.association, peer.client._association):
        assert " object at " in repr(thing)


def test_the_same_serial_is_never_two_clients(sealed: Any) -> None:
    server = sealed.server(seal_limits=SealLimits(handshakes_per_source=100))
    server._next_serial = (1 << 32) - 2
    for number in range(5):
        sealed.Peer(server, seed=20 + number, source=("10.0.0.1", number)).join()
    assert len({peer.address for peer in server._peers.values()}) == 5
    assert len(server.sessions) == 5


class Onlooker:
    """Counts, for each address, what it sent and was sent, and holds every bound at each step.

    Only an address to which an acceptance went, and one that has returned a challenge, may get more than three times its bytes.
    """

    def __init__(self, sealed: Any) -> None:
        self.limits = SealLimits(
            associations=6, associations_per_source=3, half_open=3, handshakes=8, handshakes_per_source=4
        )
        self.server = sealed.server(seal_limits=self.limits)
        self.came: Counter[Any] = Counter()
        self.went: Counter[Any] = Counter()
        self.shown: set[Any] = set()

    def receive(self, data: bytes, source: Any, now: float) -> list[tuple[bytes, Any]]:
        self.came[source] += len(data)
        with contextlib.suppress(RemoteProtocolError):
            self.server.receive_datagram(data, source, now=now)
        return self.look(now)

    def look(self, now: float) -> list[tuple[bytes, Any]]:
        server = self.server
        sent = server.datagrams_to_send(now=now)
        for data, to in sent:
            assert len(data) <= 1200
            self.went[to] += len(data)
            if data[0] == ACCEPT:
                self.shown.add(to)
        while (found := server.next_event()) is not None:
            session, event = found
            if isinstance(event, StreamRequested):
                for _ in range(3):
                    session.send_token(event.stream_id, b"token", now=now)
                session.finish(event.stream_id, now=now)
                server.touch(session)
        self.check()
        return sent

    def check(self) -> None:
        server, limits = self.server, self.limits
        peers = list(server._peers.values())
        assert len(peers) <= limits.associations
        assert len(peers) == len(server._by_serial) == len(server._by_binding)
        assert max(server._sources.values(), default=0) <= limits.associations_per_source
        assert server._half_open == sum(peer.half_open is not None for peer in peers) <= limits.half_open
        assert len(server._admission._used) <= limits.handshakes * (limits.cookie_time + 1)
        assert len(server._admission._made) <= limits.handshakes
        assert len(server._timers) <= len(peers)
        assert {session.address for session in server.sessions} <= {peer.address for peer in peers}
        self.shown |= {peer.path.address for peer in peers if peer.path.is_validated}
        for source, size in self.went.items():
            assert source in self.shown or size <= 3 * self.came[source], source


SOURCE = st.sampled_from([HERE, THERE, ("10.0.0.1", 1001), ("2001:db8::1", 1), ("2001:db8::2", 1)])
STEP = st.one_of(
    st.tuples(st.just("garbage"), st.binary(max_size=100)),
    st.tuples(st.just("head"), st.sampled_from([0x30, 0x31, 0x38, 0x39, 0x3A]), st.integers(0, 1300)),
    st.tuples(st.just("join"), st.integers(0, 3)),  # a client with the key does what clients do
    st.tuples(st.just("strange join"), st.integers(0, 3)),  # one with another key
    st.tuples(st.just("replay"), st.integers(0, 10**6)),  # something that was said, from wherever
    st.tuples(st.just("damage"), st.integers(0, 10**6), st.integers(0, 1199), st.integers(1, 255)),
    st.tuples(st.just("sealed"), st.integers(0, 3), st.integers(1, 255), st.binary(max_size=60)),  # with the keys
    st.tuples(st.just("leave"), st.integers(0, 3)),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 1.0, 5.0, 11.0, 16.0, 50.0, 200.0])),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(SOURCE, STEP), max_size=40))
def test_whatever_peers_say_in_whatever_order_the_server_keeps_its_bounds(sealed: Any, steps: list[Any]) -> None:
    """Garbage, replays, forged first packets, moves, and clients that have the key and break the protocol inside."""
    onlooker = Onlooker(sealed)
    clients = [sealed.client(30 + number) for number in range(4)]
    strangers = [sealed.client(40 + number, key=b"x" * 32) for number in range(4)]
    said: list[bytes] = [b"\x31"]
    now = 0.0
    for source, step in steps:
        match step:
            case "garbage", data:
                onlooker.receive(data, source, now)
            case "head", kind, size:
                onlooker.receive(bytes([kind]) + random.Random(size).randbytes(size), source, now)
            case ("join" | "strange join") as who, number:
                talk(onlooker, (clients if who == "join" else strangers)[number], source, now, said)
            case "replay", which:
                onlooker.receive(said[which % len(said)], source, now)
            case "damage", which, position, mask:
                data = bytearray(said[which % len(said)])
                data[position % len(data)] ^= mask
                assert onlooker.receive(bytes(data), source, now) == []
            case "sealed", number, kind, content if clients[number]._association is not None:
                onlooker.receive(
                    clients[number]._association._sealer.seal(
                        clients[number]._association._head, content, kind, size=0, now=now
                    ),
                    source,
                    now,
                )
            case "leave", number:
                clients[number].close(now=now)
                talk(onlooker, clients[number], source, now, said)
                clients[number] = sealed.client(50 + len(said))
            case "wait", seconds:
                now = advance(onlooker, now, now + seconds)
    assert all(stranger._association is None for stranger in strangers)
    advance(onlooker, now, now + 400.0)
    assert onlooker.server.associations == 0
    assert onlooker.server.sessions == []
    assert onlooker.server.get_timer() is None


def talk(onlooker: Onlooker, client: Any, source: Any, now: float, said: list[bytes]) -> None:
    if not client.closed:
        client.open_stream(b"question", scheme="eloquent", now=now)
    for _ in range(6):
        for data in client.datagrams_to_send(now=now):
            said.append(data)
            for answer, to in onlooker.receive(data, source, now):
                try:
                    client.receive_datagram(answer, now=now)
                except RemoteProtocolError:
                    assert to != source or answer[0] != COOKIE or client._attempt is None


def advance(onlooker: Onlooker, now: float, until: float) -> float:
    """Let time pass; each timer makes progress, and their number is bounded by what senders may repeat."""
    for _ in itertools.count():
        timer = onlooker.server.get_timer()
        if timer is None or timer > until:
            return until
        assert _ < 20_000
        now = max(now, timer)
        onlooker.server.handle_timer(now=now)
        onlooker.look(now)
    raise AssertionError


@pytest.mark.parametrize(
    ("token", "size"), [(b"a word", 192), (bytes(range(256)) + bytes(40), 448), (b"x" * 700, 1200)]
)
def test_a_streams_account_counts_what_goes_out_sealed_and_padded(sealed: Any, token: bytes, size: int) -> None:
    talk = sealed.Talk(sealed.Path(delay=0.01), answers={b"question": [token]})
    talk.ask(b"question", "retransmit")
    talk.pair.run(until=5.0)
    (account,) = (event.account for _, event in talk.pair.events["b"] if isinstance(event, StreamDelivered))
    assert account.wire_bytes == size + 28 + (account.packets - 1) * (192 + 28)  # the others say that it has ended
    assert sum(len(data) == size for _, data in talk.pair.sent["b"]) >= 1
