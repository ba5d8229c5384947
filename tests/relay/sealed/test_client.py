"""A sealed client and its server together: beginnings, loss, moves, restarts, rest, and what the wire shows."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eloquent.protocol.session import RequestState, SessionLost, StreamEnded, StreamFailed, StreamToken
from eloquent.relay.sealed import association
from eloquent.relay.sealed.client import REST_LIMIT
from eloquent.relay.sealed.transport import EPOCH_SIZE, EPOCH_TIME, EPOCHS_AHEAD

WORDS = [f"word {i} ".encode() for i in range(200)]
TEXT = b"".join(WORDS)
INITIATION, CLIENT_SEALED, COOKIE, ACCEPT, SERVER_SEALED = 0x30, 0x31, 0x38, 0x39, 0x3A


def kinds(talk: Any, side: str, kind: int) -> list[float]:
    return [at for at, data in talk.pair.sent[side] if data[0] == kind]


def tokens(talk: Any, stream_id: int = 0) -> list[bytes]:
    events = [event for event in talk.pair.events["a"] if isinstance(event, StreamToken)]
    return [event.data for event in events if event.stream_id == stream_id]


def test_a_question_is_answered_three_round_trips_after_it_was_asked(sealed: Any) -> None:
    """A cookie, the keys and the address token inside with them, and the answer."""
    talk = sealed.Talk(sealed.Path(delay=0.05))
    heard: list[float] = []
    talk.pair.on_event = lambda side, event, tell=talk.pair.on_event: (
        tell(side, event),
        heard.append(talk.now) if isinstance(event, StreamToken) else None,
    )
    talk.ask(b"question")
    talk.ask(b"another", at=5.0)
    talk.pair.run(until=40.0)
    assert talk.text(0) == talk.text(1) == b"hello world"
    assert heard[0] == pytest.approx(0.3)
    assert heard[2] == pytest.approx(5.1)  # with the association there
    handshake = [("a", INITIATION), ("b", COOKIE), ("b", ACCEPT)]
    assert [len(kinds(talk, side, kind)) for side, kind in handshake] == [2, 1, 1]
    assert talk.server.associations == 1


def test_hello_beforehand_spares_the_first_question_the_handshake(sealed: Any) -> None:
    talk = sealed.Talk(sealed.Path(delay=0.05))
    talk.pair.at(0.0, lambda: talk.client.say_hello(now=talk.now))
    talk.ask(b"question", at=20.0)
    talk.pair.run(until=20.15)
    assert talk.text(0) == b"hello"
    assert len(kinds(talk, "a", INITIATION)) == 2


def test_row_3_the_wire_shows_nothing_of_what_is_said(sealed: Any) -> None:
    talk = sealed.Talk(answers={b"a secret question": [b"a secret answer, token by token"] * 30})
    talk.ask(b"a secret question")
    talk.pair.run()
    assert len(tokens(talk)) == 30
    for side in "ab":
        wire = b"".join(data for _, data in talk.pair.sent[side])
        assert b"secret" not in wire
        assert sealed.KEY not in wire
    assert {data[0] for _, data in talk.pair.sent["a"]} == {INITIATION, CLIENT_SEALED}
    assert {data[0] for _, data in talk.pair.sent["b"]} == {COOKIE, ACCEPT, SERVER_SEALED}


def test_row_10_sealed_datagrams_have_few_sizes_and_their_cost_is_accounted_for(sealed: Any) -> None:
    bare, full = (
        sealed.Talk(answers={b"q" * 3000: WORDS}, padding=None),
        sealed.Talk(answers={b"q" * 3000: WORDS}),
    )
    for talk in (bare, full):
        talk.ask(b"q" * 3000)
        talk.pair.run()
        assert talk.text(0) == TEXT
        for side, end in (("a", talk.client), ("b", talk.server)):
            assert end.account.wire == sum(talk.sizes(side))
            assert end.account.datagrams == len(talk.sizes(side))
    assert set(full.sizes("a")) <= {64, 192, 448, 1200}
    assert set(full.sizes("b")) <= {27, 80, 64, 192, 448, 1200}
    assert bare.client.account.padding == bare.server.account.padding == 0
    assert full.server.account.padding > 0
    sessions = sum(full.server.tally.sent.values())
    assert full.server.account.sealing == 15 * sessions  # 26 bytes, less a checksum and most of an id


def test_row_9_no_datagram_is_larger_than_1200_bytes(sealed: Any) -> None:
    talk = sealed.Talk(answers={b"q" * 20_000: [b"x" * 5000] * 4})
    for scheme in ("eloquent", "retransmit", "duplicate-2", "eloquent-packed", "eloquent-adaptive"):
        talk.ask(b"q" * 20_000, scheme)
    talk.pair.run()
    assert [talk.text(stream_id) for stream_id in range(5)] == [b"x" * 20_000] * 5
    assert max(talk.sizes("a") + talk.sizes("b")) == 1200


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    streams=st.lists(st.sampled_from(["eloquent", "retransmit", "eloquent-packed"]), min_size=1, max_size=3),
    moves=st.lists(st.floats(0.1, 15.0), max_size=4),
    corrupt=st.sampled_from([0.0, 0.02, 0.3]),
)
def test_whatever_the_network_does_each_answer_is_whole(
    sealed: Any, seed: int, streams: list[str], moves: list[float], corrupt: float
) -> None:
    talk = sealed.Talk(
        sealed.terrible(seed, corrupt=corrupt), answers={f"{i}".encode(): WORDS[:60] for i in range(len(streams))}
    )
    for i, scheme in enumerate(streams):
        talk.ask(f"{i}".encode(), scheme, at=0.2 * i)
    for at in moves:
        talk.rebind(at)
    talk.pair.run(until=200.0)
    for i in range(len(streams)):
        assert tokens(talk, i) == WORDS[:60]
    assert [type(event) for event in talk.ends()].count(StreamEnded) == len(streams)
    assert talk.server.sessions == []


def test_row_4_every_datagram_delivered_twice_is_taken_once(sealed: Any) -> None:
    talk = sealed.Talk(sealed.Path(duplicate=1.0, until=1e9), answers={b"q": WORDS})
    talk.ask(b"q")
    talk.pair.run(until=100.0)
    assert tokens(talk) == WORDS
    for end, other in ((talk.client, "b"), (talk.server, "a")):
        sealed_ones = sum(data[0] in {CLIENT_SEALED, SERVER_SEALED} for _, data in talk.pair.sent[other])
        assert (
            end.account.dropped["replayed"] >= 0.9 * sealed_ones
        )  # the rest: what came for an association that was over
    assert talk.server.associations <= 1


@pytest.mark.parametrize("interval", [1.0, 5.0])
@pytest.mark.parametrize("scheme", ["eloquent", "retransmit", "eloquent-packed"])
def test_row_5_a_nat_that_rebinds_in_the_middle_of_a_stream_costs_no_token(
    sealed: Any, interval: float, scheme: str
) -> None:
    talk = sealed.Talk(sealed.terrible(3), answers={b"q": WORDS})
    talk.ask(b"q", scheme)
    for step in range(1, int(25 / interval)):
        talk.rebind(step * interval)
    talk.pair.run(until=100.0)
    assert tokens(talk) == WORDS
    assert talk.ends() == [StreamEnded(0, b"")]
    assert len(kinds(talk, "b", ACCEPT)) <= 2  # moving needs no handshake


def test_row_5_the_address_may_change_too(sealed: Any) -> None:
    talk = sealed.Talk(answers={b"q": WORDS})
    talk.ask(b"q")
    for step in range(1, 6):
        talk.pair.at(3.0 * step, lambda step=step: setattr(talk.server, "address", (f"10.9.0.{step}", 77)))
    talk.pair.run(until=100.0)
    assert tokens(talk) == WORDS
    assert len(kinds(talk, "b", ACCEPT)) == 1


def test_row_5_a_client_whose_path_back_is_interrupted_as_it_moves_is_believed_after_it(sealed: Any) -> None:
    """The server asks in vain whether it is there, and asks again when it hears of it."""
    deaf = [False]
    path = sealed.Path(delay=0.05, judge=lambda side, count, data: deaf[0] and side == "b")
    talk = sealed.Talk(path, answers={b"q": [b"a piece of text, and rather a long one " * 10] * 300})
    talk.ask(b"q", "retransmit")
    talk.rebind(5.0)
    talk.pair.at(5.0, lambda: deaf.__setitem__(0, True))
    talk.pair.at(20.0, lambda: deaf.__setitem__(0, False))
    talk.pair.run(until=23.0)
    (there,) = talk.server._peers.values()
    assert there.path.is_validated


def test_a_restarted_server_is_noticed_in_3_s_and_new_questions_are_answered(sealed: Any) -> None:
    talk = sealed.Talk(sealed.Path(delay=0.05), answers={b"long": WORDS})
    talk.ask(b"long")
    talk.pair.at(5.0, talk.restart)
    talk.ask(b"meanwhile", "retransmit", at=6.0)
    talk.pair.run(until=5.0 + 3.3)
    assert 0 < len(tokens(talk)) < 200
    assert StreamFailed(0, "the server does not have the association any more") in talk.ends()
    talk.ask(b"after", at=8.3)
    talk.pair.run(until=8.45)
    assert talk.text(1) == b"hello world"
    assert talk.text(2) == b"hello"
    again = [at for at in kinds(talk, "a", INITIATION) if at > 5.0]
    assert 7.0 <= again[0] <= 8.0


def test_a_server_restarted_while_its_client_rests_answers_the_next_question(sealed: Any) -> None:
    talk = sealed.Talk(sealed.Path(delay=0.05))
    talk.ask(b"first")
    talk.pair.at(20.0, talk.restart)
    talk.ask(b"second", at=25.0)
    talk.pair.run(until=28.0)
    assert talk.text(1) == b"hello world"


@pytest.mark.parametrize("rest", [50.0, REST_LIMIT + 5, 300.0, 10_000.0])
def test_after_a_rest_a_question_is_answered_without_a_suspicion(sealed: Any, rest: float) -> None:
    talk = sealed.Talk(sealed.Path(delay=0.05))
    talk.ask(b"first")
    talk.ask(b"second", at=rest)
    talk.pair.run(until=rest + 0.35)
    assert talk.text(1).startswith(b"hello")
    assert talk.server.associations == 1


def test_an_interrupted_path_ends_no_association(sealed: Any) -> None:
    """5 s on and 2 s off, 4 s off, and 30 s off: the association stands, whatever handshake was begun meanwhile."""
    for on, off in ((5.0, 2.0), (3.0, 4.0), (5.0, 30.0)):
        period = on + off
        path = sealed.Path(blackouts=[(i * period + on, (i + 1) * period) for i in range(12)])
        talk = sealed.Talk(path, answers={b"q": WORDS})
        talk.ask(b"q")
        talk.pair.run(until=300.0)
        assert tokens(talk) == WORDS
        assert talk.ends() == [StreamEnded(0, b"")]
        assert talk.server.associations <= 1


@pytest.mark.parametrize(("delay", "drop", "corrupt"), [(0.75, 0.0, 0.0), (0.75, 0.3, 0.0), (0.1, 0.3, 0.3)])
def test_a_slow_or_very_bad_path_carries_an_answer(sealed: Any, delay: float, drop: float, corrupt: float) -> None:
    """A round trip of 1.5 s is nearly the suspicion; the association stands all the same."""
    path = sealed.Path(delay=delay, drop=drop, corrupt=corrupt, seed=4, until=1e9)
    talk = sealed.Talk(path, answers={b"q": WORDS})
    talk.ask(b"q")
    talk.pair.run(until=150.0)
    assert tokens(talk) == WORDS
    assert talk.ends() == [StreamEnded(0, b"")]


def test_an_attempt_ends_when_the_association_is_heard_of(sealed: Any) -> None:
    talk = sealed.Talk(sealed.Path(delay=0.05, blackouts=[(5.0, 9.0)]), answers={b"q": WORDS})
    talk.ask(b"q")
    talk.pair.run(until=20.0)
    initiations = [at for at in kinds(talk, "a", INITIATION) if at > 1.0]
    assert 7.0 <= initiations[0] < 8.5
    assert len(kinds(talk, "b", ACCEPT)) == 1  # a ping is answered before the handshake is through


def test_a_handshake_whose_end_is_lost_for_long_begins_anew(sealed: Any) -> None:
    """Longer than a server remembers a half-open association, or takes the cookie."""
    talk = sealed.Talk(sealed.Path(judge=lambda side, count, data: data[0] == ACCEPT and talk.now < 18.0))
    talk.ask(b"q")
    talk.pair.run(until=30.0)
    assert talk.text(0) == b"hello world"
    assert talk.server.associations == 1


def test_an_association_that_stands_is_not_replaced_by_an_initiation(sealed: Any) -> None:
    """Of the server's datagrams, only acceptances get through for a while: they say that the association stands."""
    deaf = [False]
    path = sealed.Path(judge=lambda side, count, data: deaf[0] and data[0] == SERVER_SEALED)
    talk = sealed.Talk(path, answers={b"q": WORDS})
    talk.ask(b"q")
    talk.pair.at(5.0, lambda: deaf.__setitem__(0, True))
    talk.pair.at(15.0, lambda: deaf.__setitem__(0, False))
    talk.pair.run(until=100.0)
    assert tokens(talk) == WORDS
    assert talk.ends() == [StreamEnded(0, b"")]
    assert len(kinds(talk, "b", ACCEPT)) >= 3


def test_an_association_of_which_only_one_direction_is_left_is_replaced(sealed: Any) -> None:
    """The server hears all and its keys move on, but nothing of it arrives for more epochs than a client follows."""
    deaf = [False]
    path = sealed.Path(delay=0.05, judge=lambda side, count, data: deaf[0] and side == "b")
    talk = sealed.Talk(path)
    last = int((EPOCHS_AHEAD + 3) * EPOCH_TIME)
    for second in range(0, last + 60, 10):
        talk.ask(b"q", at=float(second))
    talk.pair.at(5.0, lambda: deaf.__setitem__(0, True))
    talk.pair.at(float(last), lambda: deaf.__setitem__(0, False))
    talk.pair.run(until=last + 65.0)
    assert talk.text(last // 10 + 5) == b"hello world"
    assert len(kinds(talk, "b", ACCEPT)) > 2


def test_another_key_gets_silence(sealed: Any) -> None:
    talk = sealed.Talk(key=b"x" * 32)
    talk.ask(b"q")
    talk.pair.run(until=100.0)
    assert talk.pair.sent["b"] == []
    assert [type(event) for event in talk.ends()] == [StreamFailed, SessionLost]
    assert talk.server.account.dropped["without the key"] == len(talk.pair.sent["a"])
    assert len(talk.pair.sent["a"]) < 30
    assert talk.pair.sent["a"][-1][0] <= 41.0


def test_row_12_a_nat_is_kept_open_only_while_a_stream_waits(sealed: Any) -> None:
    waiting = sealed.Talk(answers={b"q": [b"x"]})
    waiting.gap = 60.0
    waiting.ask(b"q")
    waiting.pair.run(until=100.0)
    sent = [at for at, _ in waiting.pair.sent["a"]]
    assert all(later - earlier < 2.5 for earlier, later in itertools.pairwise(at for at in sent if at < 60.0))
    talk = sealed.Talk()
    talk.ask(b"q")
    talk.pair.run(until=300.0)
    assert len([at for at, _ in talk.pair.sent["a"] if at > 3.0]) <= 1  # it leaves the session, 30 s later
    assert [at for at, _ in talk.pair.sent["a"] if at > 40.0] == []


def test_a_client_whose_cookies_do_not_count_sends_no_more_initiations(sealed: Any) -> None:
    """Behind a NAT with a port for each datagram, every cookie is for another address."""
    talk = sealed.Talk(sealed.Path(delay=0.005))
    make_cookie = talk.server.endpoint._admission.issue
    talk.server.endpoint._admission.issue = lambda source, *, now: make_cookie(("10.9.9.9", 9), now=now)
    talk.ask(b"q")
    talk.pair.run(until=10.0)
    assert 5 <= len(kinds(talk, "a", INITIATION)) <= 10


def test_a_full_server_says_so(sealed: Any) -> None:
    talk = sealed.Talk(seal_limits=sealed.limits(associations=0))
    talk.ask(b"q")
    talk.pair.run(until=5.0)
    assert StreamFailed(0, "the server has as many associations as it allows", RequestState.UNFINISHED) in talk.ends()


def test_a_closed_server_tells_its_clients(sealed: Any) -> None:
    talk = sealed.Talk(answers={b"q": WORDS})
    talk.ask(b"q")
    talk.pair.at(5.0, lambda: talk.server.close(now=talk.now), "b")
    talk.pair.run(until=6.0)
    assert StreamFailed(0, "closed by the server") in talk.ends()
    assert (talk.server.associations, talk.server.sessions) == (0, [])
    talk.ask(b"more", at=6.0)
    talk.pair.run(until=10.0)
    assert talk.text(1) == b"hello world"


def test_a_closed_client_leaves_nothing_at_the_server(sealed: Any) -> None:
    talk = sealed.Talk(answers={b"q": WORDS})
    talk.ask(b"q")
    talk.pair.at(5.0, lambda: talk.client.close(now=talk.now))
    talk.pair.run(until=6.0)
    assert (talk.server.associations, talk.server.sessions) == (0, [])
    assert talk.client.closed


def test_nobody_listens(sealed: Any) -> None:
    talk = sealed.Talk(sealed.Path(drop=1.0, until=1e9))
    talk.ask(b"q")
    for tenth in range(1, 100):
        talk.pair.at(tenth / 10, lambda: talk.client.path_refused(now=talk.now))
    talk.pair.run(until=4.0)
    assert talk.ends() == [StreamFailed(0, "nobody listens at the server's address", RequestState.UNFINISHED)]


def test_a_server_that_comes_back_at_once_is_found_before_the_network_is_believed(sealed: Any) -> None:
    """ICMP says for 1.5 s that nobody listens; then the restarted server does."""
    down = [False]
    talk = sealed.Talk(sealed.Path(delay=0.05, judge=lambda side, count, data: down[0]), answers={b"long": WORDS})
    talk.ask(b"long")
    talk.pair.at(5.0, lambda: down.__setitem__(0, True))
    talk.ask(b"new", "retransmit", at=5.2)
    for tenth in range(3, 15):
        talk.pair.at(5.0 + tenth / 10, lambda: talk.client.path_refused(now=talk.now))
    talk.pair.at(6.5, lambda: (talk.restart(), down.__setitem__(0, False)))
    talk.pair.run(until=9.0)
    assert talk.text(1) == b"hello world"


def test_garbage_to_a_client_is_dropped_without_an_answer(sealed: Any) -> None:
    talk = sealed.Talk(answers={b"q": WORDS})
    talk.ask(b"q")
    talk.pair.run(until=5.0)
    before = len(talk.pair.sent["a"])
    for data in (b"", b"\x38", b"\x38" + bytes(26), b"\x39" + bytes(79), b"\x3a" + bytes(63), b"\x31" + bytes(63)):
        with pytest.raises(Exception, match=r"not ours|of no association"):
            talk.client.receive_datagram(data, now=5.0)
    talk.pair.flush("a")
    assert len(talk.pair.sent["a"]) == before


@pytest.mark.parametrize(("side", "start", "stop"), [("a", 40.9, 41.01), ("b", 41.02, 41.06)])
def test_packet_numbers_that_run_out_begin_another_association(
    sealed: Any, side: str, start: float, stop: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the moment in which one side looks at its numbers, there are only as many as it has used."""
    talk = sealed.Talk(sealed.Path(delay=0.05))
    talk.ask(b"q")
    talk.ask(b"next", at=41.0)
    talk.pair.at(start, lambda: monkeypatch.setattr(association, "MAX_NUMBER", 2 * EPOCH_SIZE), side)
    talk.pair.at(stop, monkeypatch.undo, side)
    talk.pair.run(until=44.0)
    assert talk.text(1) == b"hello world"
    assert talk.server.associations == 1
    assert len(kinds(talk, "b", ACCEPT)) == 2
