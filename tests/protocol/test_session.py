"""Both sides of a session together: over a terrible network, and when they lose sight of each other."""

import itertools
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eloquent import schemes
from eloquent.errors import ConfigurationError, LocalProtocolError, RemoteProtocolError
from eloquent.protocol.checksum import extend_checksum
from eloquent.protocol.client_session import MAX_STREAMS
from eloquent.protocol.client_stream import REQUEST_PART
from eloquent.protocol.datagram import (
    MAX_DATAGRAM,
    Answer,
    AnswerAck,
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
from eloquent.protocol.frames import Ack, Data, End, Fragment, decode_payload, encode_payload
from eloquent.protocol.limits import EndpointLimits
from eloquent.protocol.session import (
    ClientSession,
    ReaderState,
    RequestState,
    ServerSession,
    SessionLost,
    StreamCancelled,
    StreamDelivered,
    StreamEnded,
    StreamFailed,
    StreamRequested,
    StreamToken,
    Tally,
)

ID = b"sessionA"
TOKEN = bytes(22)  # sessions leave it to endpoints to judge tokens
NAMES = [scheme.name for scheme in schemes.defaults() if scheme.kind == "datagram"]


def client_session(connection_id: bytes = ID, tally: Tally | None = None) -> ClientSession:
    return ClientSession(connection_id, schemes.get, token=TOKEN, tally=tally)


def server_session(connection_id: bytes = ID, limits: EndpointLimits | None = None) -> ServerSession:
    return ServerSession(connection_id, schemes.get, address=("10.0.0.1", 1000), limits=limits)


class Chat:
    """A client (a), a server (b) that answers each request with its tokens, and the path between them."""

    def __init__(
        self,
        net: Any,
        path: Any = None,
        *,
        answers: dict[bytes, list[bytes]] | None = None,
        limits: EndpointLimits | None = None,
    ) -> None:
        self.client, self.server = client_session(), server_session(limits=limits)
        self.pair = net.EndpointPair(self.client, self.server, path)
        self.pair.on_event = self._on_event
        self.answers = answers if answers is not None else {}
        self.gap = 0.1
        self.asked = itertools.count()

    @property
    def now(self) -> float:
        now: float = self.pair.now
        return now

    def ask(self, request: bytes, scheme: str = "eloquent", *, at: float = 0.0) -> None:
        self.pair.at(at, lambda: self.client.open_stream(next(self.asked), request, scheme=scheme, now=self.now))

    def cancel(self, stream_id: int, *, at: float) -> None:
        self.pair.at(at, lambda: self.client.cancel_stream(stream_id, now=self.now))

    def _on_event(self, side: str, event: Any) -> None:
        if side == "b" and isinstance(event, StreamRequested):
            tokens, stream_id = self.answers.get(event.request, [b"hello", b" world"]), event.stream_id
            for i, token in enumerate(tokens):
                self._later(i * self.gap, lambda token=token: self.server.send_token(stream_id, token, now=self.now))
            self._later(
                len(tokens) * self.gap, lambda: self.server.finish(stream_id, trailer=event.request[:9], now=self.now)
            )

    def _later(self, after: float, action: Any) -> None:
        self.pair.at(self.now + after, action, "b")

    def of(self, side: str, stream_id: int) -> list[Any]:
        return [event for event in self.pair.events[side] if getattr(event, "stream_id", None) == stream_id]

    def ends(self, side: str) -> list[Any]:
        return [event for event in self.pair.events[side] if not isinstance(event, StreamToken | StreamRequested)]


def whole(stream_id: int, tokens: list[bytes], trailer: bytes) -> list[object]:
    return [*(StreamToken(stream_id, i, token) for i, token in enumerate(tokens)), StreamEnded(stream_id, trailer)]


@pytest.mark.parametrize("length", [0, 1, REQUEST_PART - 1, REQUEST_PART, REQUEST_PART + 1, 3_000_000])
def test_a_request_of_any_length_arrives_whole(net: Any, length: int) -> None:
    request = random.Random(length).randbytes(length)
    chat = Chat(net, net.terrible(until=1e9), limits=EndpointLimits(request=max(length, 100)))
    chat.ask(request)
    chat.pair.run(until=600.0)
    assert chat.of("b", 0)[0] == StreamRequested(0, "eloquent", request)
    assert chat.of("a", 0) == whole(0, [b"hello", b" world"], request[:9])


@settings(max_examples=80)
@given(
    streams=st.lists(
        st.tuples(
            st.sampled_from([*NAMES, "eloquent-all", "duplicate-3-0ms"]),
            st.one_of(st.binary(max_size=20), st.integers(1000, 30_000).map(bytes)),
            st.lists(st.one_of(st.binary(max_size=12), st.integers(1000, 3000).map(bytes)), max_size=20),
        ),
        min_size=1,
        max_size=4,
        unique_by=lambda stream: stream[1],
    ),
    gap=st.sampled_from([0.0, 0.02, 0.1]),
    seed=st.integers(0, 2**16),
)
def test_whatever_the_network_does_each_answer_is_whole(net: Any, streams: Any, gap: float, seed: int) -> None:
    chat = Chat(net, net.terrible(seed, corrupt=0.1), answers={request: tokens for _, request, tokens in streams})
    chat.gap = gap
    for scheme, request, _ in streams:
        chat.ask(request, scheme)
    chat.pair.run(until=59.0)
    for stream_id, (scheme, request, tokens) in enumerate(streams):
        assert chat.of("a", stream_id) == whole(stream_id, tokens, request[:9])
        asked, delivered = chat.of("b", stream_id)
        assert asked == StreamRequested(stream_id, scheme, request)
        assert isinstance(delivered, StreamDelivered)
        account = chat.server.account(stream_id)
        assert account == delivered.account
        answers = [
            len(data) + 28
            for _, data in chat.pair.sent["b"]
            if isinstance((body := decode_datagram(data).body), Answer) and body.stream_id == stream_id
        ]
        assert (account.packets, account.wire_bytes) == (len(answers), sum(answers))
        assert account.original_bytes == sum(map(len, tokens))
    for side in ("a", "b"):
        assert all(len(data) <= MAX_DATAGRAM for _, data in chat.pair.sent[side])
    assert len(chat.pair.sent["a"]) == sum(chat.client.tally.sent.values())


@pytest.mark.parametrize("scheme", NAMES)
def test_one_streams_losses_do_not_block_another(net: Any, scheme: str) -> None:
    def stream_0_is_cut(side: str, _count: int, data: bytes) -> bool:
        body = decode_datagram(data).body
        return side == "b" and isinstance(body, Answer) and body.stream_id == 0 and chat.now < 8

    chat = Chat(net, net.Path(judge=stream_0_is_cut))
    chat.ask(b"zero", scheme)
    chat.ask(b"one", scheme)
    chat.pair.run(until=2.0)
    assert chat.of("a", 0) == []
    assert chat.of("a", 1) == whole(1, [b"hello", b" world"], b"one")
    chat.pair.run(until=50.0)
    assert chat.of("a", 0) == whole(0, [b"hello", b" world"], b"zero")


def test_cancelling_reaches_the_server_through_losses(net: Any) -> None:
    chat = Chat(net, net.Path(blackouts=[(0.55, 2.0)]), answers={b"q": [b"x"] * 100})
    chat.ask(b"q")
    chat.cancel(0, at=0.6)
    chat.pair.run(until=30.0)
    assert [type(event) for event in chat.ends("b")] == [StreamCancelled]
    assert all(isinstance(event, StreamToken) for event in chat.pair.events["a"])
    assert chat.server.backlog(0) == 0
    assert chat.client.is_idle
    last = max(when for when, _ in chat.pair.sent["b"])
    assert last < 4.0


def test_cancel_before_the_request_wins_even_when_reordered(net: Any) -> None:
    chat = Chat(net, net.Path(judge=lambda side, count, _: side == "a" and count == 1))
    chat.ask(b"q")
    chat.cancel(0, at=0.01)
    chat.pair.run(until=20.0)
    request = chat.pair.sent["a"][0][1]
    chat.pair.at(chat.now, lambda: chat.server.receive_datagram(request, now=chat.now), "b")
    chat.pair.run(until=25.0)
    assert chat.pair.events == {"a": [], "b": []}


def test_cancel_crossing_the_end_is_quiet_on_both_sides(net: Any) -> None:
    chat = Chat(net, answers={b"q": [b"x"]})
    chat.ask(b"q")
    chat.cancel(0, at=0.19)  # the end is on its way
    chat.pair.run(until=20.0)
    assert [type(event) for event in chat.pair.events["a"]] == [StreamToken]
    assert [type(event) for event in chat.ends("b")] == [StreamCancelled]


def test_sessions_tally_what_they_send_and_take_alone_or_together() -> None:
    together, alone = Tally(), server_session()
    clients = [client_session(tally=together), client_session(bytes(8), together)]
    for client in clients:
        client.open_stream(0, b"q", scheme="eloquent", now=0.0)
    [datagram], [foreign] = (client.datagrams_to_send(now=0.0) for client in clients)
    alone.receive(decode_datagram(datagram), now=0.0)
    for wrong in (b"nonsense", foreign):
        with pytest.raises(RemoteProtocolError):
            alone.receive_datagram(wrong, now=0.0)
    assert (together.sent, together.received) == ({"open": 2}, {})
    assert (alone.tally.sent, alone.tally.received) == ({}, {"open": 1})


def test_a_receivers_own_timer_lets_its_acknowledgement_go() -> None:
    """Mosh's scheme acknowledges late, to share the datagram: without a further one the delay must still end."""
    client, server = client_session(bytes(8)), server_session(bytes(8))
    stream = 0
    client.open_stream(stream, b"question", scheme="ssp", now=0.0)
    for datagram in client.datagrams_to_send(now=0.0):
        server.receive_datagram(datagram, now=0.0)
    for datagram in server.datagrams_to_send(now=0.0):
        client.receive_datagram(datagram, now=0.0)
    server.send_token(stream, b"token", now=1.0)
    assert server.datagrams_to_send(now=1.0) == []  # it waits a moment for more
    due = server.get_timer()
    assert due is not None
    server.handle_timer(now=due)
    for datagram in server.datagrams_to_send(now=due):
        client.receive_datagram(datagram, now=due)
    assert client.datagrams_to_send(now=due) == []
    backlog = server.backlog(stream)
    timer = client.get_timer()
    assert timer is not None
    assert timer <= due + 0.2
    client.handle_timer(now=timer)
    for datagram in client.datagrams_to_send(now=timer):
        server.receive_datagram(datagram, now=timer)
    assert (backlog, server.backlog(stream)) == (1, 0)


def test_cancel_withdraws_events_that_were_not_taken() -> None:
    client, server = client_session(), server_session()
    client.open_stream(0, b"q", scheme="eloquent", now=0.0)
    for data in client.datagrams_to_send(now=0.0):
        server.receive_datagram(data, now=0.0)
    server.send_token(0, b"x", now=0.0)
    for data in server.datagrams_to_send(now=0.0):
        client.receive_datagram(data, now=0.1)
    client.cancel_stream(0, now=0.1)
    assert client.next_event() is None


def test_a_repeated_request_after_the_end_is_not_answered_again(net: Any) -> None:
    chat = Chat(net)
    chat.ask(b"q")
    chat.pair.run(until=10.0)
    before = len(chat.pair.sent["b"])
    for _, data in chat.pair.sent["a"]:
        chat.server.receive_datagram(data, now=10.0)
    assert chat.server.datagrams_to_send(now=10.0) == []
    assert len(chat.pair.sent["b"]) == before
    assert len(chat.pair.events["b"]) == 2


def test_a_late_end_is_acknowledged_again(net: Any) -> None:
    def lose_acks_of_the_end(side: str, count: int, data: bytes) -> bool:
        return side == "a" and isinstance(decode_datagram(data).body, AnswerAck) and 0.3 < chat.now < 3.0

    chat = Chat(net, net.Path(judge=lose_acks_of_the_end))
    chat.ask(b"q")
    chat.pair.run(until=30.0)
    assert chat.ends("a") == [StreamEnded(0, b"q")]
    assert [type(event) for event in chat.ends("b")] == [StreamDelivered]


def test_a_wrong_digest_is_a_failure_and_never_an_end(net: Any) -> None:
    chat = Chat(net, answers={b"q": [b"x"]})
    chat.gap = 10.0
    chat.ask(b"q")
    forged = Data((), End(1, extend_checksum(0, b"y")))
    datagram = encode_datagram(Datagram(ID, 99, Answer(0, encode_payload(forged))))
    chat.pair.at(1.0, lambda: chat.client.receive_datagram(datagram, now=1.0), "a")
    chat.pair.run(until=30.0)
    assert [type(event) for event in chat.ends("a")] == [StreamFailed]
    assert [type(event) for event in chat.ends("b")] == [StreamCancelled]


def test_an_unknown_stream_is_answered_with_its_cancellation() -> None:
    client, server = client_session(), server_session()
    client.open_stream(0, b"q", scheme="eloquent", now=0.0)
    client.datagrams_to_send(now=0.0)
    answer = Answer(7, encode_payload(Data((Fragment(0, b"x"),))))
    for session, said, reply in (
        (client, answer, Cancel(7)),
        (server, AnswerAck(7, b"\x02\x00"), Cancelled(7, "the stream is not open")),
        (server, Ping((7,)), Cancelled(7, "the stream is not open")),
    ):
        session.receive_datagram(encode_datagram(Datagram(ID, 0, said)), now=0.0)
        assert decode_datagram(session.datagrams_to_send(now=0.0)[-1]).body == reply


@pytest.mark.parametrize("side", ["a", "b"])
def test_each_side_refuses_what_only_itself_says(side: str) -> None:
    sessions = {"a": client_session(), "b": server_session()}
    own = {"a": (Hello(), Open(TOKEN, 0, b"x"), Request(0, b"x"), AnswerAck(0, b"x"), Cancel(0), Ping(), Leave(""))}
    own["b"] = (Retry(0, TOKEN), RequestAck(0, b"x"), Answer(0, b"x"), Cancelled(0), Pong(0), Close(0, ""))
    for body in own[side]:
        with pytest.raises(RemoteProtocolError, match="what only a"):
            sessions[side].receive_datagram(encode_datagram(Datagram(ID, 0, body)), now=0.0)
    assert sessions[side].datagrams_to_send(now=0.0) == []


@pytest.mark.parametrize(
    "request_tokens",
    [[b"no-such-scheme", b"q"], [b"grpc", b"q"], [b"bound", b"q"], [b"\xff", b"q"], [b"eloquent"]],
)
def test_a_request_that_cannot_be_served_is_refused(net: Any, request_tokens: list[bytes]) -> None:
    chat = Chat(net)
    chat.ask(b"q")
    (forged,) = (schemes.get("retransmit").make_sender(),)
    for token in request_tokens:
        forged.send_token(token, now=0.0)
    forged.finish(now=0.0)
    chat.client._streams.clear()
    chat.client.open_stream(0, b"q", scheme="eloquent", now=0.0)
    stream = chat.client._streams[0]
    stream.request, stream._given = forged, None
    chat.pair._heap.clear()
    chat.pair.run(until=20.0)
    (failed,) = chat.pair.events["a"]
    assert (type(failed), failed.request) == (StreamFailed, RequestState.REFUSED)
    assert chat.pair.events["b"] == []


def test_a_dead_server_is_given_up_and_pinged_meanwhile(net: Any) -> None:
    chat = Chat(net, net.Path(blackouts=[(1.0, 1e9)]), answers={b"q": [b"x"] * 100})
    chat.ask(b"q")
    chat.pair.run(until=100.0)
    failed, lost = chat.ends("a")
    assert (type(failed), type(lost)) == (StreamFailed, SessionLost)
    assert chat.now == pytest.approx(41.0, abs=1.5)
    assert 45 <= chat.client.tally.sent["ping"] <= 55
    assert {type(event) for event in chat.ends("b")} == {StreamFailed, SessionLost}
    assert chat.client.closed
    assert chat.server.closed
    with pytest.raises(LocalProtocolError):
        chat.client.open_stream(1, b"q", scheme="eloquent", now=100.0)


def test_signs_of_life_keep_a_waiting_stream(net: Any) -> None:
    chat = Chat(net, answers={b"q": []})
    chat.gap = 0.0
    chat.pair.on_event = lambda side, event: None
    chat.ask(b"q")
    chat.pair.at(300.0, lambda: chat.server.finish(0, now=300.0), "b")
    chat.pair.run(until=310.0)
    assert chat.ends("a") == [StreamEnded(0, b"")]


def test_a_client_leaves_an_idle_session_before_its_server_forgets_it(net: Any) -> None:
    chat = Chat(net)
    chat.ask(b"q")
    chat.pair.run(until=29.0)
    assert not chat.client.closed
    chat.pair.run(until=40.0)
    assert chat.client.closed
    assert chat.pair.events["b"][-1] == SessionLost("closed by the client")
    assert chat.pair.events["a"][-1] == StreamEnded(0, b"q")


def test_pings_do_not_keep_an_idle_session(net: Any) -> None:
    chat = Chat(net, answers={b"q": []})
    chat.gap = 0.0
    chat.ask(b"q")
    chat.pair.run(until=1.0)
    for second in range(1, 90):
        now = float(second)
        chat.server.receive_datagram(encode_datagram(Datagram(ID, 99, Ping())), now=now)
        chat.server.handle_timer(now=now)
    assert chat.server.closed
    assert decode_datagram(chat.server.datagrams_to_send(now=90.0)[-1]).body == Close(99, "idle")


@pytest.mark.parametrize("side", ["a", "b"])
def test_closing_ends_the_other_side(net: Any, side: str) -> None:
    chat = Chat(net, answers={b"q": [b"x"] * 100})
    chat.ask(b"q")
    chat.pair.at(1.0, lambda: chat.pair.ends[side].close(now=1.0), side)
    chat.pair.run(until=1.5)
    assert chat.ends(side) == []
    other = "b" if side == "a" else "a"
    assert [type(event) for event in chat.ends(other)] == [
        StreamCancelled if side == "a" else StreamFailed,
        SessionLost,
    ]
    assert chat.client.closed
    assert chat.server.closed


def test_a_close_that_answers_what_was_never_said_is_ignored(net: Any) -> None:
    chat = Chat(net, answers={b"long": [b"x"] * 20})
    chat.ask(b"long")
    chat.pair.run(until=1.0)
    stray = encode_datagram(Datagram(ID, 0, Close(1000, "no such session")))
    chat.client.receive_datagram(stray, now=chat.now)
    chat.pair.run(until=20.0)
    assert [type(event) for event in chat.ends("a")] == [StreamEnded]


def test_misuse_is_the_callers_fault(net: Any) -> None:
    chat = Chat(net)
    for name, error in (("grpc", ConfigurationError), ("nothing", ConfigurationError)):
        with pytest.raises(error):
            chat.client.open_stream(0, b"q", scheme=name, now=0.0)
    for call in (
        lambda: chat.server.send_token(0, b"x", now=0.0),
        lambda: chat.server.finish(0, now=0.0),
        lambda: chat.server.backlog(0),
        lambda: chat.server.account(0),
    ):
        with pytest.raises(LocalProtocolError):
            call()
    chat.client.cancel_stream(5, now=0.0)
    assert chat.client.is_idle
    assert chat.client.get_timer() is None


def test_streams_and_memory_of_them_are_bounded(net: Any) -> None:
    chat = Chat(net, net.Path(delay=0.0), answers={b"q": []})
    for stream_id in range(MAX_STREAMS):
        chat.client.open_stream(stream_id, b"x", scheme="eloquent", now=0.0)
    with pytest.raises(LocalProtocolError, match="at most"):
        chat.client.open_stream(MAX_STREAMS, b"x", scheme="eloquent", now=0.0)
    chat.client = chat.pair.ends["a"] = client_session()
    for i in range(1100):
        chat.ask(b"q", at=float(i) / 100)
    chat.pair.run(until=30.0)
    assert len(chat.ends("a")) == 1100
    assert len(chat.server._gone) == len(chat.client._gone) == 1024
    first = chat.pair.sent["a"][0][1]
    chat.server.receive_datagram(first, now=30.0)
    (datagram,) = chat.server.datagrams_to_send(now=30.0)
    assert decode_datagram(datagram).body == Cancelled(0, "the stream is not open")


def test_a_client_reports_how_the_reader_of_a_stream_fares(net: Any) -> None:
    chat = Chat(net, answers={b"q": [b"x"] * 10})
    chat.ask(b"q", "eloquent-adaptive")
    chat.pair.at(0.0, lambda: chat.client.report(0, ReaderState(2.0), now=0.0))
    chat.pair.at(0.33, lambda: chat.client.report(0, ReaderState(looking=False), now=0.33))
    chat.pair.run()
    answers = [(at, decode_datagram(data).body) for at, data in chat.pair.sent["a"]]
    acks = [(at, decode_payload(body.payload)) for at, body in answers if isinstance(body, AnswerAck)]
    states = [(at, ack.reader) for at, ack in acks if isinstance(ack, Ack)]
    assert len(states) == len(acks) > 10
    assert states[0][1] == ReaderState(1.9)  # the first datagram of the answer comes after a round trip
    assert (0.33, ReaderState(looking=False)) in states
    assert chat.pair.events["a"][-1] == StreamEnded(0, b"q")
    chat.client.report(0, ReaderState(), now=chat.now)  # it is over: nothing happens
    assert chat.client.datagrams_to_send(now=chat.now) == []
