"""Senders under control, and on bottlenecks of 64 kbit/s and 1 Mbit/s: alone, and beside the model of the kernel's TCP."""

import heapq
import itertools
import math
import random
from collections import defaultdict
from functools import partial
from typing import Any

import pytest

from eloquent import schemes
from eloquent.baselines.tcp import TcpSender
from eloquent.channel.loss import MarkovLoss
from eloquent.channel.schedule import Direction, Schedule
from eloquent.protocol.client_endpoint import ClientEndpoint
from eloquent.protocol.congestion import INITIAL_WINDOW, CongestionController
from eloquent.protocol.contract import StreamAcknowledged
from eloquent.protocol.controlled import STREAM_LIMIT, ControlledSender, control
from eloquent.protocol.datagram import MAX_DATAGRAM, Answer, decode_datagram
from eloquent.protocol.frames import Ack, encode_payload
from eloquent.protocol.limits import EndpointLimits
from eloquent.protocol.sender import IP_UDP_HEADERS, Sender
from eloquent.protocol.senders.eloquent import EloquentSender
from eloquent.protocol.server_endpoint import ServerEndpoint
from eloquent.protocol.session import StreamRequested
from eloquent.relay.sealed.client import SealedClient
from eloquent.relay.sealed.server import SealedServer
from eloquent.sim.engine.shared_link import SharedLink
from eloquent.sim.engine.workload import Workload, join_tcp

HEADERS = 42  # bytes of Ethernet, IPv4 and UDP
RTT = 0.1
NARROW, BROAD = 64_000 / 8, 1_000_000 / 8  # bytes per second
KEY = bytes(range(32))
NARROW_QUEUE, BROAD_QUEUE = 30, 200  # packets, those on their way included


def bottleneck(rate: float, queue: int, schedules: Any = None) -> SharedLink:
    return SharedLink(rtt=RTT, rate=rate, queue=queue, headers=HEADERS, schedules=schedules or {})


def talk(
    link: SharedLink,
    *,
    sessions: int = 1,
    streams: int = 1,
    rate: float = 10.0,
    seconds: float = 60.0,
    sealed: bool = False,
) -> Workload:
    """Sessions of one origin, in each of which questions are answered with text at an even rate."""
    draws = [random.Random(f"chat {session}").randbytes for session in range(sessions)]
    server: Any
    clients: list[Any]
    if sealed:
        server = SealedServer(schemes.get, key=KEY, draw=random.Random(0).randbytes)
        clients = [SealedClient(schemes.get, key=KEY, draw=draw) for draw in draws]
    else:
        server = ServerEndpoint(schemes.get, secret=KEY, limits=EndpointLimits(congestion_control=True))
        clients = [ClientEndpoint(schemes.get, new_id=partial(draw, 8)) for draw in draws]
    workload = Workload(link, server, rate=rate)
    workload.ask_in_turn(clients, answers=streams, seconds=seconds)
    return workload


def test_text_that_fits_is_not_held_back():
    link = bottleneck(NARROW, NARROW_QUEUE)
    answer = talk(link, rate=50.0, seconds=20.0)
    link.run(22.0)
    assert len(answer.ended) == 1
    assert answer.delay(0.99) < RTT / 2 + 0.1


def test_more_text_than_fits_waits_at_its_source_and_not_in_the_queue():
    link = bottleneck(NARROW, NARROW_QUEUE)
    answers = talk(link, streams=30, seconds=12.0)
    link.run(12.0)
    assert link.rate("chat *", 5.0) > 0.9 * NARROW
    assert answers.delay() < 1.0
    link.run(25.0)
    assert len(answers.ended) == 30


@pytest.mark.parametrize(("rate", "queue", "tokens"), [(NARROW, NARROW_QUEUE, 10.0), (BROAD, BROAD_QUEUE, 50.0)])
def test_one_answer_leaves_most_to_a_tcp_and_gets_what_it_needs(rate: float, queue: int, tokens: float):
    link = bottleneck(rate, queue)
    answer = talk(link, rate=tokens)
    join_tcp(link, at=5.0)
    link.run(60.0)
    assert link.rate("tcp", 15.0) > 0.85 * rate
    assert len(answer.arrived[0, 0]) > 0.9 * 55 * tokens


def test_thirty_answers_leave_half_and_more_to_a_tcp():
    link = bottleneck(NARROW, NARROW_QUEUE)
    talk(link, streams=30, seconds=25.0)
    join_tcp(link, at=3.0)
    link.run(25.0)
    assert link.rate("tcp", 10.0) > 0.5 * NARROW
    assert link.rate("chat *", 10.0) > 0.05 * NARROW


def test_thirty_sessions_and_a_tcp_leave_each_other_a_quarter():
    link = bottleneck(NARROW, NARROW_QUEUE)
    answers = talk(link, sessions=30, seconds=35.0)
    join_tcp(link, at=7.0)
    link.run(35.0)
    assert link.rate("tcp", 15.0) > 0.25 * NARROW
    assert link.rate("chat *", 15.0) > 0.25 * NARROW
    assert answers.arrived_share() > 0.8


def test_bursts_of_loss_change_nothing(monkeypatch: pytest.MonkeyPatch):
    """The paper's channels, with the control and without: the same packets at the same instants."""

    def carried() -> list[tuple[float, int]]:
        loss = Schedule(
            MarkovLoss(stay_good=0.5, stay_bad=0.5, loss_in_bad=0.9, slot=0.1),
            seed=1,
            link="c",
            direction=Direction.DOWN,
        )
        link = bottleneck(10e6 / 8, 1000, {Direction.DOWN: loss})
        talk(link, seconds=30.0)
        link.run(35.0)
        return link.carried["chat 0"]

    with_control = carried()
    monkeypatch.setattr(CongestionController, "room", lambda self, now: math.inf)
    assert carried() == with_control


def test_a_request_of_a_megabyte_fills_the_path_and_not_its_queue(net: Any):
    link = bottleneck(BROAD, BROAD_QUEUE)
    ids = (bytes([number]) * 8 for number in itertools.count())
    sender, server = link.join(
        ClientEndpoint(schemes.get, new_id=lambda: next(ids)), net.AtOneAddress(net.Talk().make_server()), "request"
    )
    came: list[float] = []
    server.on_event = lambda event: came.append(link.now) if isinstance(event[1], StreamRequested) else None
    sender.machine.open_stream(bytes(1_000_000), scheme="eloquent", now=0.0)
    sender.flush()
    link.run(15.0)
    assert came
    assert came[0] < 1.2 * 1_000_000 / BROAD
    assert link.wait(2.0, 0.95) < 0.3


def controlled(sender: Sender | None = None) -> tuple[ControlledSender, CongestionController]:
    congestion = CongestionController()
    return ControlledSender(EloquentSender() if sender is None else sender, congestion), congestion


@pytest.mark.parametrize(("name", "patience"), [("eloquent", 0.02), ("retransmit", 0.02), ("eloquent-packed", 0.08)])
def test_on_a_grid_all_leaves_at_its_instants_and_soon(name: str, patience: float):
    """Tokens at random times, acknowledgements after 90 ms, and a loop that looks at its timers up to 5 ms late."""
    draw, late = random.Random(1), 0.005
    scheme = schemes.get(name)
    sender = control(scheme.make_sender(), CongestionController(), grid=0.02)
    receiver = scheme.make_receiver()
    came = sorted(draw.uniform(0.0, 3.0) for _ in range(150))
    inputs = [(instant, number, partial(sender.send_token, b"token")) for number, instant in enumerate(came)]
    given: list[float] = []
    lateness: dict[float | None, float] = defaultdict(lambda: draw.uniform(0.0, late))
    now = 0.0
    while inputs or len(given) < len(came):
        timer = sender.get_timer()
        looked = math.inf if timer is None else timer + lateness[timer]
        if inputs and inputs[0][0] <= looked:
            now, _, act = heapq.heappop(inputs)
            act(now=now)
        else:
            now = max(now, looked)
            sender.handle_timer(now=now)
        for data in sender.datagrams_to_send(now=now):
            assert (now + 1e-6) % 0.02 <= late + 2e-6
            receiver.receive_datagram(data, now=now)
            while receiver.next_event() is not None:
                given.append(now)
            for ack in receiver.datagrams_to_send(now=now):
                heapq.heappush(inputs, (now + 0.09, len(given), partial(sender.receive_datagram, ack)))
    assert len(given) == len(came)
    waited = [left - instant for instant, left in zip(came, given, strict=True)]
    assert max(waited) <= patience + late + 1e-6


@pytest.mark.parametrize("name", ["eloquent", "eloquent-packed", "retransmit"])
def test_answers_of_a_session_leave_on_its_grid_whatever_the_path_does(net: Any, name: str) -> None:
    """Twenty answers at odd times over a path that loses, repeats and delays: windows are cut, and streams wait for room."""
    answers = {f"{number}".encode(): [bytes(300)] * 40 for number in range(20)}
    limits = EndpointLimits(congestion_control=True, grid=0.02)
    talk = net.Talk(net.terrible(), answers=answers, limits=limits)
    talk.gap = 0.0137
    for number, question in enumerate(answers):
        talk.ask(question, name, at=0.0071 * number)
    talk.pair.run(until=60.0)
    assert len(talk.ends()) == len(answers)
    left = [at for at, data in talk.pair.sent["b"] if isinstance(decode_datagram(data).body, Answer)]
    assert len(left) > 100
    assert all(at == pytest.approx(round(at / 0.02) * 0.02, abs=1e-6) for at in left)


@pytest.mark.pure
def test_redundancy_goes_first(monkeypatch: pytest.MonkeyPatch):
    sender, _ = controlled()
    monkeypatch.setattr(CongestionController, "room", lambda self, now: 80.0)
    sizes = []
    for number in range(3):
        sender.send_token(bytes(60), now=number / 10)
        sizes += [len(data) for data in sender.datagrams_to_send(now=number / 10)]
    assert max(sizes) - min(sizes) <= 1  # one token each, where without control there are one, two and three


@pytest.mark.pure
def test_tokens_that_had_to_wait_go_together(monkeypatch: pytest.MonkeyPatch):
    sender, _ = controlled()
    room = [0.0]
    monkeypatch.setattr(CongestionController, "room", lambda self, now: room[0])
    for number in range(5):
        sender.send_token(b"token", now=number / 10)
        assert sender.datagrams_to_send(now=number / 10) == []
    assert sender.held
    assert sender.get_timer() is None  # the session has one for all that wait
    room[0] = float(MAX_DATAGRAM)
    assert len(sender.datagrams_to_send(now=0.5)) == 1
    assert not sender.held


def test_what_is_put_around_a_datagram_counts():
    congestion = CongestionController()
    sender = ControlledSender(EloquentSender(), congestion, wire_size=lambda data: 1000)
    sender.send_token(b"token", now=0.0)
    assert len(sender.datagrams_to_send(now=0.0)) == 1
    assert congestion.room(0.0) == INITIAL_WINDOW - 1000 - IP_UDP_HEADERS


def test_an_answer_that_is_whole_leaves_nothing_awaited():
    sender, congestion = controlled()
    sender.send_token(b"token", now=0.0)
    sender.finish(now=0.0)
    assert len(sender.datagrams_to_send(now=0.0)) == 1
    sender.receive_datagram(encode_payload(Ack(1, end_seen=True)), now=RTT)
    assert sender.next_event() == StreamAcknowledged()
    assert congestion.room(60.0) == congestion.window


def test_nothing_is_awaited_of_streams_that_are_dropped(net: Any) -> None:
    """A client that hears nothing more cancels one of two answers: the window is that of the other one, before any loss is seen."""

    class Deaf(net.Path):  # type: ignore[misc,name-defined]
        def arrivals(self, side: str, data: bytes, now: float) -> Any:
            return [] if side == "b" and now > 1.0 else super().arrivals(side, data, now)

    talk = net.Talk(Deaf(), answers={b"long": [b"token"] * 50}, limits=EndpointLimits(congestion_control=True))
    talk.ask(b"short")
    talk.ask(b"long", at=1.2)
    talk.ask(b"long", at=1.2)
    talk.pair.run(until=1.5)
    (session,) = talk.server.sessions
    assert session.view_path(now=1.5).window == 2 * INITIAL_WINDOW
    talk.pair.at(1.5, lambda: talk.client.cancel_stream(2, now=1.5))
    talk.pair.run(until=1.7)
    assert session.view_path(now=1.7).window == INITIAL_WINDOW


@pytest.mark.parametrize("name", ["eloquent", "eloquent-packed", "retransmit"])
def test_a_sign_of_life_ends_a_silence(net: Any, name: str) -> None:
    """After an outage of 6 s the way back is open for 100 ms after each datagram of the client's: a NAT that soon forgets."""
    heard = [0.0]

    def is_lost(side: str, _: int, data: bytes) -> bool:
        if side == "a":
            heard[0] = talk.now
            return 2.0 < talk.now < 8.0
        return 2.0 < talk.now < 8.0 or (talk.now > 8.0 and talk.now - heard[0] > 0.1 + 0.05)

    answers = {b"long": [b"token"] * 100}
    talk = net.Talk(net.Path(judge=is_lost), answers=answers, limits=EndpointLimits(congestion_control=True))
    talk.ask(b"long", name)
    talk.pair.run(until=16.0)
    assert talk.text(0) == b"token" * 100
    assert len(talk.ends()) == 1


def test_who_has_a_window_of_his_own_keeps_it():
    sender = TcpSender()
    assert control(sender, CongestionController()) is sender


def test_a_controlled_sender_may_have_more_under_way_than_64_kib():
    sender = EloquentSender()
    controlled(sender)
    assert sender.flight_limit == STREAM_LIMIT
