"""The server's endpoint alone: whom it lets in, what it keeps of whom, and what a hostile peer can make of it."""

import functools
import itertools
import sys
from collections import Counter, defaultdict
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eloquent import schemes
from eloquent.errors import RemoteProtocolError
from eloquent.protocol.address_token import NO_TOKEN
from eloquent.protocol.checksum import extend_checksum
from eloquent.protocol.datagram import (
    Answer,
    AnswerAck,
    Body,
    Cancel,
    Cancelled,
    Close,
    Datagram,
    Hello,
    Leave,
    Open,
    Ping,
    Pong,
    Request,
    RequestAck,
    Retry,
    decode_datagram,
    encode_datagram,
)
from eloquent.protocol.frames import Ack, Data, End, Fragment, encode_payload
from eloquent.protocol.limits import EndpointLimits
from eloquent.protocol.server_endpoint import AMPLIFICATION, ServerEndpoint
from eloquent.protocol.session import StreamRequested

ID = b"sessionA"
HERE, THERE = ("10.0.0.1", 1000), ("10.0.0.3", 3000)


def endpoint(**limits: Any) -> ServerEndpoint:
    return ServerEndpoint(schemes.get, secret=b"s" * 16, limits=EndpointLimits(**limits))


def say(server: ServerEndpoint, body: Body, *, now: float = 0.0, source: Any = HERE, id_: bytes = ID) -> list[Body]:
    """Say something to a server and return what it says to that address."""
    server.receive_datagram(encode_datagram(Datagram(id_, 0, body)), source, now=now)
    return [decode_datagram(data).body for data, to in server.datagrams_to_send(now=now) if to == source]


def token(server: ServerEndpoint, *, now: float = 0.0, source: Any = HERE) -> bytes:
    (retry,) = say(server, Hello(), now=now, source=source)
    assert isinstance(retry, Retry)
    return retry.token


def whole_request(scheme: bytes = b"eloquent", *parts: bytes) -> bytes:
    sender = schemes.get("retransmit").make_sender(budget=1149)
    for part in (scheme, *(parts or [b"q"])):
        sender.send_token(part, now=0.0)
    sender.finish(now=0.0)
    (payload,) = sender.datagrams_to_send(now=0.0)
    return payload


def requests(server: ServerEndpoint) -> list[StreamRequested]:
    events = iter(server.next_event, None)
    return [event for _, event in events if isinstance(event, StreamRequested)]


def test_nothing_is_kept_or_asked_for_an_address_that_was_not_shown() -> None:
    server = endpoint()
    for number in range(2000):
        source = (f"10.1.{number // 250}.{number % 250}", 5)
        (reply,) = say(server, Open(NO_TOKEN, 0, whole_request()), source=source, id_=number.to_bytes(8))
        assert isinstance(reply, Retry)
    assert (server.sessions, requests(server), server.get_timer()) == ([], [], None)
    assert not server._over


def test_a_request_with_its_token_is_handed_out_once() -> None:
    server = endpoint()
    ours = Open(token(server), 0, whole_request())
    assert [type(body) for body in say(server, ours)] == [RequestAck]
    assert [type(body) for body in say(server, ours, now=0.1)] == [RequestAck]
    assert len(requests(server)) == 1


def test_a_token_of_zeros_is_good_where_addresses_are_validated_around_the_endpoint() -> None:
    server = ServerEndpoint(schemes.get, secret=b"s" * 16, has_validated=True)
    assert [type(body) for body in say(server, Open(NO_TOKEN, 0, whole_request()))] == [RequestAck]
    assert len(requests(server)) == 1
    assert [type(body) for body in say(server, Open(b"\1" * 22, 0, whole_request()), id_=b"sessionB")] == [Retry]


def test_a_token_of_another_address_is_refused() -> None:
    server = endpoint()
    assert [type(body) for body in say(server, Open(token(server), 0, whole_request()), source=THERE)] == [Retry]
    assert server.sessions == []


@pytest.mark.parametrize("payload", [b"", b"\x0b", encode_payload(Ack(0)), b"\x00"])
def test_an_open_that_breaks_the_protocol_takes_no_place(payload: bytes) -> None:
    server = endpoint()
    ours = token(server)
    for number in range(100):
        with pytest.raises(RemoteProtocolError):
            say(server, Open(ours, 0, payload), id_=number.to_bytes(8))
    assert server.sessions == []
    assert server.get_timer() is None


def test_a_refused_request_takes_no_place() -> None:
    server = endpoint()
    ours = token(server)
    for number in range(100):
        replies = say(server, Open(ours, 0, whole_request(b"no-such-scheme")), id_=number.to_bytes(8))
        assert Cancelled(0, "the scheme that the request names is not offered") in replies
    assert server.sessions == []


def test_an_open_repeated_after_its_session_or_after_a_restart_begins_nothing() -> None:
    server = endpoint()
    ours = Open(token(server), 0, whole_request())
    say(server, ours)
    say(server, Leave(""), now=1.0)
    for now in (1.1, 64.0, 1000.0):
        assert [type(body) for body in say(server, ours, now=now)] == [Close]
    restarted = ServerEndpoint(schemes.get, secret=b"t" * 16)
    assert [type(body) for body in say(restarted, ours, now=64.0)] == [Retry]
    assert len(requests(server)) == 1
    assert requests(restarted) == []


def test_an_open_cannot_be_repeated_when_its_session_had_to_be_forgotten() -> None:
    server = endpoint(remembered=3)
    first = Open(token(server), 0, whole_request())
    say(server, first, id_=bytes(8))
    say(server, Leave(""), id_=bytes(8))
    for number in range(1, 6):
        now = float(number)
        say(server, Open(token(server, now=now), 0, whole_request()), now=now, id_=number.to_bytes(8))
        say(server, Leave(""), now=now, id_=number.to_bytes(8))
    assert len(requests(server)) == 6
    assert [type(body) for body in say(server, first, now=9.0, id_=bytes(8))] == [Retry]
    assert requests(server) == []
    assert len(server._over) == 3


def test_sessions_are_limited_by_source_and_in_all() -> None:
    server = endpoint(sessions=3, sessions_per_source=2)
    replies = {}
    for number, (host, port) in enumerate([HERE, ("10.0.0.1", 1001), ("10.0.0.1", 1002), THERE, ("10.0.0.4", 1)]):
        source = (host, port)
        ours = Open(token(server, source=source), 0, whole_request())
        replies[source] = say(server, ours, source=source, id_=number.to_bytes(8))
    assert "2 sessions of your address" in replies["10.0.0.1", 1002][0].reason
    assert "3 sessions" in replies["10.0.0.4", 1][0].reason
    assert len(server.sessions) == 3
    say(server, Leave(""), id_=bytes(8))
    ours = Open(token(server, source=("10.0.0.4", 1)), 0, whole_request())
    assert [type(body) for body in say(server, ours, source=("10.0.0.4", 1), id_=b"anew-now")] == [RequestAck]


def test_an_ipv6_network_is_one_source() -> None:
    server = endpoint(sessions_per_source=1)
    for number, host in enumerate(["2001:db8::1", "2001:db8::2"]):
        say(
            server,
            Open(token(server, source=(host, 1)), 0, whole_request()),
            source=(host, 1),
            id_=number.to_bytes(8),
        )
    assert len(server.sessions) == 1


@pytest.mark.parametrize(
    ("body", "reply"),
    [
        (Cancel(3), Cancelled(3)),
        (Ping(), Close(0, "no such session", renew=True)),
        (Request(0, b"\x00\x00"), Close(0, "no such session", renew=True)),
        (AnswerAck(0, b"\x02\x00"), Close(0, "no such session", renew=True)),
    ],
)
def test_what_speaks_of_no_session_is_told_so(body: Body, reply: Body) -> None:
    assert say(endpoint(), body) == [reply]


def test_leaving_no_session_is_not_answered() -> None:
    assert say(endpoint(), Leave("")) == []


@pytest.mark.parametrize(
    "body",
    [Retry(0, NO_TOKEN), RequestAck(0, b"\x02\x00"), Answer(0, b"\x00\x00"), Cancelled(0), Pong(0), Close(0, "x")],
)
def test_a_servers_own_words_are_never_answered(body: Body) -> None:
    server = endpoint()
    with pytest.raises(RemoteProtocolError):
        say(server, body)
    assert server.datagrams_to_send(now=0.0) == []


def test_a_session_belongs_to_its_address() -> None:
    server = endpoint()
    say(server, Open(token(server), 0, whole_request()))
    assert say(server, Cancel(0), source=THERE) == [Close(0, "session of another address", renew=True)]
    assert len(server.sessions) == 1


def fragments(*items: tuple[int, bytes, bool], end: End | None = None) -> bytes:
    return encode_payload(Data(tuple(Fragment(*item) for item in items), end))


def hold(server: ServerEndpoint) -> int:
    return server._requests.held


def test_fragments_without_the_first_are_bounded() -> None:
    server = endpoint()
    ours = token(server)
    for stream_id, index in itertools.product(range(20), range(1, 2047)):
        say(server, Open(ours, stream_id, fragments((index, bytes(1000), True))), now=0.001 * index)
        assert hold(server) <= 4 << 20
    assert sum(len(stream.request._waiting) for stream in server.sessions[0]._streams.values()) * 1000 < 4 << 20


def test_requests_are_bounded_in_all() -> None:
    server = endpoint(requests=300_000)
    for number in range(50):
        source = (f"10.0.1.{number}", 1)
        ours = token(server, source=source)
        for index in range(1, 30):
            body = Open(ours, 0, fragments((index, bytes(1000), True)))
            try:
                say(server, body, source=source, id_=number.to_bytes(8))
            finally:
                assert hold(server) <= 300_000


@pytest.mark.parametrize("is_in_parts", [False, True])
def test_a_request_has_a_bounded_size(is_in_parts: bool) -> None:
    server = endpoint(request=2000)
    ours = token(server)
    say(server, Open(ours, 2, fragments((1, bytes(900), not is_in_parts), (0, b"eloquent", False))))
    say(server, Open(ours, 2, fragments((2, bytes(900), not is_in_parts))))
    reply = say(server, Open(ours, 2, fragments((3, bytes(900), not is_in_parts))))[-1]
    assert "longer than 2000 bytes" in reply.reason
    assert hold(server) == 0


@pytest.mark.parametrize(
    ("tokens", "reason"),
    [
        ([b"x" * 65, b"q"], "the name of a scheme, and what is asked"),
        ([b"eloquent", b"", b"q"], "an empty one"),
        ([b"eloquent", b"q", b""], "an empty one"),
    ],
)
def test_a_request_is_a_name_and_parts_that_are_not_empty(tokens: list[bytes], reason: str) -> None:
    server = endpoint()
    reply = say(server, Open(token(server), 0, whole_request(*tokens)))[-1]
    assert isinstance(reply, Cancelled)
    assert reason in reply.reason


@pytest.mark.parametrize("parts", [[b""], [b"q"], [b"a", b"b", b"c"]])
def test_the_parts_of_a_request_are_joined(parts: list[bytes]) -> None:
    server = endpoint()
    say(server, Open(token(server), 0, whole_request(b"eloquent", *parts)))
    assert requests(server) == [StreamRequested(0, "eloquent", b"".join(parts))]


def test_many_little_parts_of_a_request_are_bounded() -> None:
    server = endpoint()
    ours = token(server)
    say(server, Open(ours, 0, fragments((0, b"eloquent", False))))
    for first in range(1, 80_000, 50):
        replies = say(server, Open(ours, 0, fragments(*((first + at, b"x", False) for at in range(50)))))
        assert hold(server) <= 4 << 20
        if isinstance(replies[-1], Cancelled):
            assert "no room" in replies[-1].reason
            return
    pytest.fail("a request took more than its session may")


def test_a_request_that_gets_on_may_take_its_time() -> None:
    server = endpoint()
    ours = token(server)
    say(server, Open(ours, 0, fragments((0, b"eloquent", False))))
    for index in range(1, 5):
        now = 30.0 * index
        server.handle_timer(now=now)
        say(server, Request(0, fragments((index, b"x", False))), now=now)
    checksum = functools.reduce(extend_checksum, [b"eloquent", *[b"x"] * 4], 0)
    say(server, Request(0, fragments(end=End(5, checksum, b""))), now=121.0)
    assert requests(server) == [StreamRequested(0, "eloquent", b"xxxx")]


def test_a_request_that_never_gets_whole_is_dropped_in_time_whatever_pings_say() -> None:
    server = endpoint()
    ours = token(server)
    say(server, Open(ours, 0, fragments((1, b"x", False))))
    for second in range(1, 130):
        now = float(second)
        server.handle_timer(now=now)
        server.datagrams_to_send(now=now)
        say(server, Ping((0,)), now=now)
    assert server.sessions == []
    assert hold(server) == 0


def test_streams_of_a_session_are_limited() -> None:
    server = endpoint(streams_per_session=2)
    ours = token(server)
    replies = [say(server, Open(ours, stream_id, whole_request())) for stream_id in range(3)]
    assert replies[2] == [Cancelled(2, "the session has 2 streams open, which is its limit")]


class Onlooker:
    """Counts, for each address, what it sent and was sent, and whether it has shown that it receives."""

    def __init__(self, server: ServerEndpoint) -> None:
        self.server = server
        self.came: Counter[Any] = Counter()
        self.went: Counter[Any] = Counter()
        self.tokens: defaultdict[Any, list[bytes]] = defaultdict(list)
        self.shown: set[Any] = set()

    def receive(self, data: bytes, source: Any, now: float) -> None:
        body = decode_datagram(data).body
        if isinstance(body, Open) and body.token in self.tokens[source]:
            self.shown.add(source)
        self.came[source] += len(data)
        try:
            self.server.receive_datagram(data, source, now=now)
        except RemoteProtocolError:
            assert self.server._replies == []
        self.look(now)

    def look(self, now: float) -> None:
        for data, to in self.server.datagrams_to_send(now=now):
            assert len(data) <= 1200
            self.went[to] += len(data)
            if isinstance(body := decode_datagram(data).body, Retry):
                self.tokens[to].append(body.token)
        for source, size in self.went.items():
            assert source in self.shown or size <= AMPLIFICATION * self.came[source], source
        while (found := self.server.next_event()) is not None:
            session, event = found
            if isinstance(event, StreamRequested):
                assert session.address in self.shown
                for _ in range(3):
                    session.send_token(event.stream_id, b"token", now=now)
                session.finish(event.stream_id, now=now)
                self.server.touch(session)
        self.check()

    def check(self) -> None:
        server, limits = self.server, self.server._limits
        by_source = Counter(session.address[0] for session in server.sessions)
        assert len(server.sessions) <= limits.sessions
        assert max(by_source.values(), default=0) <= limits.sessions_per_source
        assert all(len(session._streams) <= limits.streams_per_session for session in server.sessions)
        assert all(len(session._gone) <= 1024 for session in server.sessions)
        assert hold(server) <= limits.requests
        held = sum(stream.request.held for session in server.sessions for stream in session._streams.values())
        assert held <= limits.requests + 4096 * len(server.sessions)
        assert len(server._over) <= limits.remembered
        assert len(server._timers) <= len(server.sessions)
        assert all(len(session._stream_timers) <= len(session._streams) for session in server.sessions)


SMALL = st.integers(0, 5)
DATA = st.builds(
    lambda items, end: encode_payload(Data(tuple(items), end)),
    st.lists(
        st.one_of(
            st.builds(Fragment, st.integers(0, 2100), st.binary(max_size=30)),
            st.builds(Fragment, st.integers(0, 5), st.binary(min_size=1, max_size=300), st.just(True)),
        ),
        min_size=1,
        max_size=3,
    ),
    st.none() | st.builds(End, SMALL, st.integers(0, 3), st.binary(max_size=5)),
)
ACKS = st.builds(
    lambda next_, spans, end, credit: encode_payload(
        Ack(next_, tuple((next_ + 2 * i + 1, next_ + 2 * i + 2) for i in range(spans)), end, credit=credit)
    ),
    SMALL,
    SMALL,
    st.booleans(),
    st.integers(0, 2048),
)
WHOLE = st.sampled_from([whole_request(name) for name in (b"eloquent", b"duplicate-10", b"nonsense", b"grpc")])
PAYLOADS = st.one_of(WHOLE, DATA, ACKS, st.binary(max_size=9))
TOKENS = st.sampled_from(["none", "own", "own", "own", "other's"])
SAID: st.SearchStrategy[Any] = st.one_of(
    st.just(Hello()),
    st.tuples(TOKENS, SMALL, PAYLOADS),  # an Open
    st.tuples(TOKENS, SMALL, WHOLE),
    st.builds(Request, SMALL, PAYLOADS),
    st.builds(AnswerAck, SMALL, st.one_of(ACKS, PAYLOADS)),
    st.builds(Cancel, SMALL),
    st.builds(Ping, st.sets(SMALL).map(lambda ids: tuple(sorted(ids)))),
    st.builds(Leave, st.just("bye")),
    st.sampled_from(
        [Retry(0, NO_TOKEN), RequestAck(0, b"\x02\x00"), Answer(0, b"\x00\x00"), Cancelled(0), Pong(0), Close(0, "")]
    ),
)
STEPS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.001, 0.1, 1.0, 7.0, 41.0, 61.0]), SMALL, SMALL, SAID), min_size=1, max_size=60
)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_whatever_hostile_peers_say_the_bounds_hold_and_it_comes_to_rest(steps: list[Any]) -> None:
    """Any sources, any order, any pauses: bounded sessions, memory and bytes at every step, and rest in the end."""
    limits = {"sessions": 6, "sessions_per_source": 3, "streams_per_session": 3, "remembered": 5}
    server = endpoint(**limits, request=5_000, requests_per_session=10_000, requests=20_000)
    onlooker = Onlooker(server)
    now = 0.0
    for pause, source_number, id_number, said in steps:
        now = advance(onlooker, now, now + pause)
        source = (f"10.0.0.{source_number % 4}", source_number)
        body = said
        if isinstance(said, tuple):
            whose, stream_id, payload = said
            known = onlooker.tokens[source] if whose == "own" else onlooker.tokens["10.0.0.0", 0]
            body = Open(known[-1] if whose != "none" and known else NO_TOKEN, stream_id, payload)
        onlooker.receive(encode_datagram(Datagram(id_number.to_bytes(8), 0, body)), source, now)
    now = advance(onlooker, now, now + 300.0)
    assert server.sessions == []
    assert server.get_timer() is None
    assert hold(server) == 0


def advance(onlooker: Onlooker, now: float, until: float) -> float:
    """Let time pass; each timer makes progress, and their number is bounded by what senders may repeat."""
    turns = 0
    while (timer := onlooker.server.get_timer()) is not None and timer <= until:
        turns += 1
        assert turns < 20_000
        now = max(now, timer)
        onlooker.server.handle_timer(now=now)
        onlooker.look(now)
    return until


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.booleans(), SMALL, SAID), min_size=1, max_size=8), st.booleans())
def test_two_servers_or_one_with_itself_come_to_rest(first: list[Any], alone: bool) -> None:
    """What one says reaches the other as if that had asked: after any beginning, nothing goes on by itself."""
    addresses = [HERE, HERE] if alone else [HERE, THERE]
    servers = dict(zip(addresses, [endpoint(), endpoint()], strict=True))
    waiting = []
    for to_first, id_number, said in first:
        to, source = addresses if to_first else addresses[::-1]
        body = Open(NO_TOKEN, said[1], said[2]) if isinstance(said, tuple) else said
        waiting.append((encode_datagram(Datagram(id_number.to_bytes(8), 0, body)), source, to))
    turns = 0
    while waiting:
        data, source, to = waiting.pop()
        turns += 1
        assert turns <= 2 * len(first)
        try:
            servers[to].receive_datagram(data, source, now=0.0)
        except RemoteProtocolError:
            continue
        waiting += [(reply, to, whom) for reply, whom in servers[to].datagrams_to_send(now=0.0)]
    assert all(server.sessions == [] for server in servers.values())


class Lines:
    """Counts the lines that run inside a `with`."""

    def __enter__(self) -> Self:
        self.count = 0
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _trace(self, _frame: Any, event: str, _argument: Any) -> Any:
        self.count += event in {"line", "call"}
        return self._trace


@pytest.mark.parametrize("name", ["retransmit", "duplicate-2", "eloquent-adaptive", "red-2", "fec-8-1", "kcp", "ssp"])
def test_an_acknowledgement_makes_little_work(name: str) -> None:
    """However many fragments are under way, and however many of them it covers: a thousand, each sent alone."""
    sender = schemes.get(name).make_sender()
    for index in range(1000):
        sender.send_token(b"x", now=index * 0.001)
        sender.datagrams_to_send(now=index * 0.001)
    for ack in (
        Ack(0),
        Ack(0),
        Ack(100, tuple((101 + 3 * i, 102 + 3 * i) for i in range(32))),
        Ack(100, ((300, 600),)),
    ):
        head = bytes(2) if name == "ssp" else b""
        with Lines() as lines:
            sender.receive_datagram(head + encode_payload(ack), now=1.0)
            sender.get_timer()
        assert lines.count < 40_000


def test_a_datagram_costs_no_more_where_many_streams_are_open() -> None:
    def cost(streams: int) -> int:
        server = endpoint()
        ours = token(server)
        for stream_id in range(streams):
            say(server, Open(ours, stream_id, whole_request(b"retransmit")))
        (session,) = server.sessions
        for number in range(20):
            for stream_id in range(streams):
                session.send_token(stream_id, b"x", now=0.01 * number)
            server.touch(session)
            server.datagrams_to_send(now=0.01 * number)
        say(server, Ping(), now=0.5)
        with Lines() as lines:
            say(server, Ping(), now=0.5)
            server.get_timer()
        return lines.count

    assert cost(200) < cost(2) + 200


def test_the_work_of_a_datagram_is_linear_in_its_size() -> None:
    """Acknowledgements of many ranges, and full datagrams of tiny fragments, touch nothing twice."""
    sender = schemes.get("eloquent").make_sender()
    for index in range(2000):
        sender.send_token(b"x", now=index * 0.001)
        sender.datagrams_to_send(now=index * 0.001)
    many = tuple((101 + 3 * i, 102 + 3 * i) for i in range(32))
    counts = []
    for ack in (Ack(100, many), Ack(100, (*many[:-1], (many[-1][0], many[-1][1] + 1)))):
        with Lines() as lines:
            sender.receive_datagram(encode_payload(ack), now=3.0)
        counts.append(lines.count)
    assert counts[0] < 6_000
    assert counts[1] < 3_000
