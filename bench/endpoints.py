"""How much processor time the protocol takes, without sockets and HTTP: `.venv/bin/python bench/endpoints.py --help`.

A server's and a client's endpoint, plain and sealed, stream OpenAI's events at 50 a second over a lossy path in virtual time, and
the simulator runs sessions. What they do is the same each time, to the byte, and a digest of it is printed: a change that is only
to be faster leaves it as it is. The time is that of this process, the least of several rounds.
"""

import argparse
import functools
import hashlib
import heapq
import itertools
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from eloquent import content, scenarios, schemes
from eloquent.drivers.machines import ClientMachine, ServerMachine
from eloquent.protocol.client_endpoint import ClientEndpoint
from eloquent.protocol.limits import EndpointLimits
from eloquent.protocol.server_endpoint import ServerEndpoint
from eloquent.protocol.session import StreamRequested, StreamToken
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
ADDRESS = ("192.0.2.1", 5000)
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

    def __init__(self, client: ClientMachine, server: ServerMachine, *, streams: int, events: int, loss: float) -> None:
        self.spent = {"server": 0.0, "client": 0.0}  # seconds
        self.datagrams = self.read = 0
        self.digest = hashlib.sha256()
        self._client, self._server = client, server
        self._events = events
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
        self.digest.update(data)
        self.datagrams += 1
        if self._rng.random() < self._loss:
            return
        if side == "server":
            self._at(now + DELAY, "client", lambda data, now: self._client.receive_datagram(data, now=now), data)
        else:
            self._at(now + DELAY, "server", self._receive, data)

    def _receive(self, data: bytes, now: float) -> None:
        self._server.receive_datagram(data, ADDRESS, now=now)


def measure_endpoints(streams: int, *, sealed: bool, loss: float = 0.0) -> Row:
    """Return what an event takes at the two endpoints."""
    draw = Random(11).randbytes
    client: ClientMachine
    server: ServerMachine
    if sealed:
        client = SealedClient(schemes.get, key=bytes(range(32)), draw=draw)
        server = SealedServer(schemes.get, key=bytes(range(32)), draw=draw)
    else:
        client = ClientEndpoint(schemes.get, new_id=lambda: draw(8))
        server = ServerEndpoint(schemes.get, secret=bytes(16), limits=EndpointLimits(congestion_control=True))
    events = min(max(EVENTS // streams, 40), 1000)
    path = _Path(client, server, streams=streams, events=events, loss=loss)
    path.run()
    if path.read != streams * events:
        raise SystemExit(f"{path.read} events came of {streams * events}: this says nothing")
    costs = {f"{side}, an event": 1e6 * spent / path.read for side, spent in path.spent.items()}
    costs["a datagram"] = 1e6 * sum(path.spent.values()) / path.datagrams
    return Row(path.digest.hexdigest()[:12], costs)


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
    parser.add_argument("--only", choices=["plain", "sealed", "simulator"], help="leave out all others")
    parser.add_argument("--out", type=Path, help="write the costs here, as JSON")
    asked = parser.parse_args()
    cases: dict[str, Callable[[], Row]] = {}
    for how, loss in (("plain", 0.0), ("sealed", 0.0), ("sealed and lossy", LOSS)):
        for number in map(int, asked.streams.split(",")):
            cases[f"{how}, {number}"] = functools.partial(measure_endpoints, number, sealed=how != "plain", loss=loss)
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
