"""How much processor time the protocol takes, without sockets and HTTP: `.venv/bin/python bench/endpoints.py --help`.

A server's and a client's endpoint, plain, sealed, over QUIC and over WebTransport, stream OpenAI's events at 50 a second over a
path in virtual time, and the simulator runs sessions; beside them, aioquic alone carries a datagram of an event's size for each.
What they do is the same each time, and a digest of it is printed (of QUIC's datagrams, which hold what is drawn, of their sizes):
a change that is only to be faster leaves it as it is. The time is that of this process, the least of several rounds.
"""

import argparse
import datetime as dt
import functools
import hashlib
import heapq
import itertools
import json
import math
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DatagramReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import DatagramFrameReceived, QuicEvent

from eloquent import content, scenarios, schemes
from eloquent.drivers.machines import ClientMachine, ServerMachine
from eloquent.protocol.client_endpoint import ClientEndpoint
from eloquent.protocol.limits import EndpointLimits
from eloquent.protocol.server_endpoint import ServerEndpoint
from eloquent.protocol.session import StreamRequested, StreamToken
from eloquent.relay.quic import edges, webtransport
from eloquent.relay.quic.certificate import PinnedKey, derive_bearer, derive_identity, make_certificate
from eloquent.relay.quic.client import QuicClient
from eloquent.relay.quic.limits import QUIC_PAYLOAD_BUDGET, PageLimits
from eloquent.relay.quic.pages import Pages
from eloquent.relay.quic.server import QuicServer
from eloquent.relay.sealed.client import SealedClient
from eloquent.relay.sealed.server import SealedServer
from eloquent.sim.engine.choices import Choices
from eloquent.sim.engine.session import constant_rate, run_session

SCHEME = "eloquent-packed"
GAP = 0.020  # seconds between two events of a stream
DELAY = 0.025  # seconds, one way
LOSS = 0.02  # of the datagrams of each way, in the rows that say so; it makes windows small, so that streams wait
EVENTS = 20_000  # in all streams of a row together, as far as that makes streams of 40 to 1000 events
TEXTS = 20  # streams of different words; the others repeat them
ADDRESS, SERVER = ("192.0.2.1", 5000), ("192.0.2.2", 443)
KEY = bytes(range(32))
CERTIFICATE = make_certificate(derive_identity(KEY), now=dt.datetime.now(dt.UTC))
EVENT_SIZE, ACK_SIZE = 120, 20  # bytes of the datagrams that aioquic carries alone, about as many as the relays' have
SIMULATED = ("tcp-simple", "tcp", "eloquent", "eloquent-adaptive", "eloquent-packed")
SESSIONS = 6  # of each scheme that is simulated


@dataclass
class Row:
    """What was measured of one case.

    Attributes:
        digest: Of all that was sent, or of all figures.
        costs: Microseconds, by what they are for.
    """

    digest: str
    costs: dict[str, float] = field(default_factory=dict)


class _Path:
    """Two endpoints, the datagrams on their way, and the tokens to come."""

    def __init__(
        self, client: Any, server: ServerMachine, *, streams: int, events: int, loss: float, is_drawn: bool
    ) -> None:
        self.spent = {"server": 0.0, "client": 0.0}  # seconds
        self.datagrams = self.read = 0
        self.digest = hashlib.sha256()
        self._client, self._server = client, server
        self._events = events
        self._is_drawn = is_drawn  # whether the bytes that are sent are others each time
        self._loss = loss
        self._rng = Random(7)
        self._order = itertools.count()
        self._heap: list[tuple[float, int, str, Callable[..., Any], Any]] = []  # instant, order, side, what, of what
        self._timers = {"server": math.inf, "client": math.inf}
        self._texts = [list(itertools.islice(content.stream("openai", seed), events)) for seed in range(TEXTS)]
        for number in range(streams):
            self._at(number / streams, "client", self._open, None)

    def run(self) -> None:
        """Do all that happens."""
        while self._heap:
            now, _, side, act, what = heapq.heappop(self._heap)
            began = time.process_time()
            act(what, now)
            sent = self._turn_server(now) if side == "server" else self._turn_client(now)
            self.spent[side] += time.process_time() - began
            for data in sent:
                self._carry(data, side, now)

    def _at(self, instant: float, side: str, act: Callable[..., Any], what: Any) -> None:
        heapq.heappush(self._heap, (instant, next(self._order), side, act, what))

    def _open(self, _: None, now: float) -> None:
        self._client.open_stream(b"{}", scheme=SCHEME, now=now)

    def _turn_client(self, now: float) -> list[bytes]:
        sent = list(self._client.datagrams_to_send(now=now))
        while (event := self._client.next_event()) is not None:
            self.read += isinstance(event, StreamToken)
        sent += self._client.datagrams_to_send(now=now)
        self._arm("client", self._client, now)
        return sent

    def _turn_server(self, now: float) -> list[bytes]:
        sent = [data for data, _ in self._server.datagrams_to_send(now=now)]
        while (told := self._server.next_event()) is not None:
            session, event = told
            if isinstance(event, StreamRequested):
                self._at(now + GAP, "server", self._give, (session, event.stream_id, 0))
        self._arm("server", self._server, now)
        return sent

    def _give(self, what: Any, now: float) -> None:
        session, stream_id, number = what
        session.send_token(stream_id, self._texts[stream_id % TEXTS][number], now=now)
        if number + 1 < self._events:
            self._at(now + GAP, "server", self._give, (session, stream_id, number + 1))
        else:
            session.finish(stream_id, now=now)
        self._server.touch(session)

    def _arm(self, side: str, machine: ClientMachine | ServerMachine, now: float) -> None:
        due = machine.get_timer()
        due = math.inf if due is None else max(due, now)
        if due < self._timers[side]:
            self._at(due, side, self._fire, (side, due))
            self._timers[side] = due

    def _fire(self, what: Any, now: float) -> None:
        side, due = what
        if due == self._timers[side]:
            self._timers[side] = math.inf
        (self._server if side == "server" else self._client).handle_timer(now=now)

    def _carry(self, data: bytes, side: str, now: float) -> None:
        if not self._is_drawn:
            self.digest.update(data)
        elif data[0] & 0x80 == 0:  # after the handshake, whose certificates and signatures are of many sizes
            self.digest.update(len(data).to_bytes(2))
        self.datagrams += 1
        if self._rng.random() < self._loss:
            return
        if side == "server":
            self._at(now + DELAY, "client", lambda data, now: self._client.receive_datagram(data, now=now), data)
        else:
            self._at(now + DELAY, "server", self._receive, data)

    def _receive(self, data: bytes, now: float) -> None:
        self._server.receive_datagram(data, ADDRESS, now=now)


class _Page:
    """A page's side of a session of WebTransport, by aioquic; of the calls of a `ClientMachine`, those that a path makes."""

    def __init__(self, draw: Callable[[int], bytes]) -> None:
        self._quic = _stock(is_client=True)
        self._quic.connect(SERVER, now=0.0)
        self._http = H3Connection(self._quic, enable_webtransport=True)
        self._session = self._quic.get_next_available_stream_id()
        self._is_begun = False
        fields = {b":method": b"CONNECT", b":protocol": b"webtransport", b":scheme": b"https", b":authority": b"a"}
        self._http.send_headers(self._session, [*fields.items(), (b":path", b"/eloquent")])
        self._inside = ClientEndpoint(schemes.get, new_id=lambda: draw(8), payload=QUIC_PAYLOAD_BUDGET)
        self.open_stream, self.next_event = self._inside.open_stream, self._inside.next_event

    def receive_datagram(self, data: bytes, *, now: float) -> None:
        self._quic.receive_datagram(data, SERVER, now=now)
        for event in _events(self._quic):
            for said in self._http.handle_event(event):
                if isinstance(said, DatagramReceived):
                    self._inside.receive_datagram(said.data, now=now)
                elif not self._is_begun:
                    self._is_begun = True
                    self._inside.take_token(bytes(22), now=now)

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        if self._is_begun:
            for data in self._inside.datagrams_to_send(now=now):
                self._http.send_datagram(self._session, data)
        return [data for data, _ in self._quic.datagrams_to_send(now=now)]

    def get_timer(self) -> float | None:
        timers = [self._quic.get_timer(), self._inside.get_timer() if self._is_begun else None]
        return min((due for due in timers if due is not None), default=None)

    def handle_timer(self, *, now: float) -> None:
        for machine in (self._quic, self._inside):
            due = machine.get_timer()
            if due is not None and due <= now:
                machine.handle_timer(now=now)


def _stock(*, is_client: bool, **options: Any) -> QuicConnection:
    """Return aioquic's connection as it comes."""
    configuration = QuicConfiguration(is_client=is_client, alpn_protocols=["h3"], max_datagram_frame_size=65536)
    configuration.verify_mode, configuration.server_name = ssl.CERT_NONE, "eloquent"
    configuration.certificate, configuration.private_key = CERTIFICATE.certificate, CERTIFICATE.private_key
    return QuicConnection(configuration=configuration, **options)


def _events(quic: QuicConnection) -> Iterator[QuicEvent]:
    while (event := quic.next_event()) is not None:
        yield event


def _make_plain(draw: Callable[[int], bytes]) -> tuple[ClientMachine, ServerMachine]:
    limits = EndpointLimits(congestion_control=True)
    client = ClientEndpoint(schemes.get, new_id=lambda: draw(8))
    return client, ServerEndpoint(schemes.get, secret=bytes(16), limits=limits)


def _make_sealed(draw: Callable[[int], bytes]) -> tuple[ClientMachine, ServerMachine]:
    return SealedClient(schemes.get, key=KEY, draw=draw), SealedServer(schemes.get, key=KEY, draw=draw)


def _make_server(draw: Callable[[int], bytes]) -> QuicServer:
    edge, page = (
        edges.Edges(derive_bearer(KEY, CERTIFICATE.certificate)),
        webtransport.WebTransport(Pages(["*"]), limits=PageLimits(streams=1024)),
    )
    spoken = {edges.ALPN: edge, webtransport.ALPN: page}
    return QuicServer(schemes.get, applications=spoken, certificate=CERTIFICATE, draw=draw)


def _make_quic(draw: Callable[[int], bytes]) -> tuple[ClientMachine, ServerMachine]:
    client = QuicClient(schemes.get, key=KEY, identity=PinnedKey.of_key_file(KEY), draw=draw)
    return client, _make_server(draw)


def _make_webtransport(draw: Callable[[int], bytes]) -> tuple[_Page, ServerMachine]:
    return _Page(draw), _make_server(draw)


CARRIERS: dict[str, Callable[[Callable[[int], bytes]], tuple[Any, ServerMachine]]] = {
    "plain": _make_plain,
    "sealed": _make_sealed,
    "quic": _make_quic,
    "webtransport": _make_webtransport,
}


def measure_endpoints(streams: int, *, carrier: str, loss: float = 0.0) -> Row:
    """Return what an event takes at the two endpoints."""
    client, server = CARRIERS[carrier](Random(11).randbytes)
    events = min(max(EVENTS // streams, 40), 1000)
    is_drawn = isinstance(server, QuicServer)
    path = _Path(client, server, streams=streams, events=events, loss=loss, is_drawn=is_drawn)
    path.run()
    if path.read != streams * events:
        raise SystemExit(f"{path.read} events came of {streams * events}: this says nothing")
    costs = {f"{side}, an event": 1e6 * spent / path.read for side, spent in path.spent.items()}
    costs["a datagram"] = 1e6 * sum(path.spent.values()) / path.datagrams
    return Row(path.digest.hexdigest()[:12], costs)


def measure_stock(streams: int) -> Row:
    """Return what aioquic alone takes to carry a datagram for each event, and one back for each, with no endpoint inside."""
    client = _stock(is_client=True)
    client.connect(SERVER, now=0.0)
    server = _stock(is_client=False, original_destination_connection_id=client.original_destination_connection_id)
    ends = {"server": (server, ADDRESS), "client": (client, SERVER)}
    spent, sizes, received = dict.fromkeys(ends, 0.0), [0], 0

    def move(side: str, other: str, now: float) -> int:
        """Send what one end has, and return how many datagrams the application of the other gets."""
        began = time.process_time()
        end, (there, address) = ends[side][0], ends[other]
        if (due := end.get_timer()) is not None and due <= now:
            end.handle_timer(now=now)
        sent = [data for data, _ in end.datagrams_to_send(now=now)]
        moved = time.process_time()
        for data in sent:
            there.receive_datagram(data, address, now=now)
        came = sum(isinstance(event, DatagramFrameReceived) for event in _events(there))
        spent[side] += moved - began
        spent[other] += time.process_time() - moved
        sizes.extend(map(len, sent))
        return came

    now = 0.0
    for _ in range(10):
        now += DELAY
        move("client", "server", now)
        move("server", "client", now)
    spent, sizes = dict.fromkeys(ends, 0.0), []
    events = min(EVENTS, 1000 * streams)
    for _ in range(events):
        now += GAP / streams
        for side, other, size in (("server", "client", EVENT_SIZE), ("client", "server", ACK_SIZE)):
            ends[side][0].send_datagram_frame(bytes(size))
            received += move(side, other, now)
    if received != 2 * events:
        raise SystemExit(f"{received} datagrams came of {2 * events}: this says nothing")
    costs = {f"{side}, an event": 1e6 * cost / events for side, cost in spent.items()}
    costs["a datagram"] = 1e6 * sum(spent.values()) / len(sizes)
    return Row(hashlib.sha256(repr(sizes).encode()).hexdigest()[:12], costs)


def measure_simulator(scheme: str) -> Row:
    """Return what a session of 30 s takes in the simulator."""
    scenario = scenarios.load("paper-default")
    digest = hashlib.sha256()
    began = time.process_time()
    for seed in range(SESSIONS):
        trace = run_session(
            schemes.get(scheme),
            scenario,
            seed=seed,
            generated_s=constant_rate(30.0, GAP),
            choices=Choices(content="openai"),
        )
        digest.update(repr((trace.rendered_s, trace.arrived_s, trace.account)).encode())
    return Row(digest.hexdigest()[:12], {"a session": 1e6 * (time.process_time() - began) / SESSIONS})


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description="How much processor time the protocol takes, in virtual time.")
    parser.add_argument("--streams", default="10,100,500", help="numbers of streams at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=[*CARRIERS, "aioquic", "simulator"], help="leave out all others")
    parser.add_argument("--out", type=Path, help="write the costs here, as JSON")
    asked = parser.parse_args()
    cases: dict[str, Callable[[], Row]] = {}
    numbers = [*map(int, asked.streams.split(","))]
    for how, loss in (*((carrier, 0.0) for carrier in CARRIERS), ("sealed and lossy", LOSS)):
        for number in numbers:
            carrier = how.partition(" ")[0]
            cases[f"{how}, {number}"] = functools.partial(measure_endpoints, number, carrier=carrier, loss=loss)
    for number in numbers:
        cases[f"aioquic alone, {number}"] = functools.partial(measure_stock, number)
    for scheme in SIMULATED:
        cases[f"simulator, {scheme}"] = functools.partial(measure_simulator, scheme)
    least: dict[str, float] = {}
    digests: dict[str, str] = {}
    for _, (name, measure) in itertools.product(range(asked.rounds), cases.items()):
        if asked.only is None or name.startswith(asked.only):
            row = measure()
            if digests.setdefault(name, row.digest) != row.digest:
                raise SystemExit(f"{name}: what was sent differs from round to round")
            for what, cost in row.costs.items():
                least[f"{name}: {what}"] = min(cost, least.get(f"{name}: {what}", math.inf))
    print("| what | µs | a second, on a core | digest |\n| --- | ---: | ---: | --- |")
    for name, cost in least.items():
        print(f"| {name} | {cost:.1f} | {1e6 / cost:.1f} | {digests[name.partition(':')[0]]} |")
    if asked.out is not None:
        asked.out.write_text(json.dumps({name: round(cost, 1) for name, cost in least.items()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
