"""Both endpoints over a terrible network, with restarts, changed addresses and readers who pause, at random instants.

Whatever happens: a stream that was not cancelled ends once, with exactly its tokens or as failed, within bounded time; a server
runs a request once; and in the end nothing is kept anywhere.
"""

import random
from collections import Counter
from typing import Any

import pytest

from eloquent.protocol.session import SessionLost, StreamEnded, StreamRequested, StreamToken

SCHEMES = ["eloquent", "eloquent-adaptive", "retransmit", "duplicate-2", "red-2", "fec-8-1", "ssp", "kcp", "tcp"]
GOOD_FROM = 30.0  # seconds; from then on the network loses nothing, and nobody restarts or moves
OVER_BY = 200.0  # seconds: whatever waits at `GOOD_FROM` has been answered or given up


class Story:
    """One run, drawn from a seed."""

    def __init__(self, net: Any, seed: int) -> None:
        self.draw = random.Random(seed)
        path = net.terrible(seed, corrupt=0.03, until=GOOD_FROM)
        path.delay = self.draw.choice([0.001, 0.02, 0.2])
        start = self.draw.uniform(0.0, GOOD_FROM)
        path.blackouts = [(start, start + self.draw.choice([0.0, 2.0, 8.0, 45.0]))]
        self.talk = net.Talk(path)
        self.asked: dict[int, bytes] = {}
        self.read: Counter[int] = Counter()
        self.over: set[int] = set()
        self.cancelled: set[int] = set()
        self.runs: Counter[Any] = Counter()
        self.servers: list[Any] = []
        self._answer = self.talk._on_event
        self.talk.pair.on_event = self.on_event
        for number in range(self.draw.randint(1, 6)):
            request = b"%d" % number + bytes(self.draw.choice([0, 3000, 40_000]))
            size = self.draw.choice([0, 3, 3, 800])
            self.talk.answers[request] = [self.draw.randbytes(size) for _ in range(self.draw.choice([0, 5, 60, 2600]))]
            self.at_any_time(lambda request=request: self.ask(request))
        self.talk.gap = self.draw.choice([0.001, 0.01])
        for _ in range(self.draw.choice([0, 0, 1, 2])):
            self.at_any_time(self.restart, "b")
        for _ in range(self.draw.choice([0, 0, 1, 2])):
            self.at_any_time(self.move, "b")

    def at_any_time(self, action: Any, side: str = "a") -> None:
        self.talk.pair.at(self.draw.uniform(0.0, GOOD_FROM), action, side)

    def restart(self) -> None:
        self.servers.append(self.talk.server.endpoint)
        self.talk.server.endpoint = self.talk.make_server(self.draw.randbytes(16))

    def move(self) -> None:
        self.talk.server.address = (self.talk.server.address[0], self.talk.server.address[1] + 1)

    def ask(self, request: bytes) -> None:
        scheme = self.draw.choice(SCHEMES)
        stream_id = self.talk.client.open_stream(request, scheme=scheme, now=self.talk.now)
        self.asked[stream_id] = request
        if self.draw.random() < 0.2:
            self.talk.pair.at(self.talk.now + self.draw.choice([0.0, 0.05, 3.0]), lambda: self.cancel(stream_id))

    def cancel(self, stream_id: int) -> None:
        self.cancelled.add(stream_id)
        self.talk.client.cancel_stream(stream_id, now=self.talk.now)

    def on_event(self, side: str, event: Any) -> None:
        if side == "b":
            session, said = event
            if isinstance(said, StreamRequested):
                self.runs[len(self.servers), session.connection_id, said.stream_id] += 1
            self._answer(side, event)
        elif not isinstance(event, SessionLost):
            self.take(event)

    def take(self, event: Any) -> None:
        key = event.stream_id
        assert key not in self.over | self.cancelled
        tokens = self.talk.answers[self.asked[key]]
        if isinstance(event, StreamToken):
            assert (event.index, event.data) == (self.read[key], tokens[event.index])
            self.read[key] += 1
            if self.draw.random() < 0.01:
                self.talk.client.pause(key)
                self.talk.pair.at(
                    self.talk.now + self.draw.choice([0.01, 1.0, 6.0]), lambda: self.talk.client.resume(key)
                )
        else:
            assert not isinstance(event, StreamEnded) or self.read[key] == len(tokens)
            self.over.add(key)


@pytest.mark.parametrize("seed", range(12))
def test_every_stream_ends_once_and_nothing_is_left(net: Any, seed: int) -> None:
    story = Story(net, seed)
    talk = story.talk
    talk.pair.run(until=OVER_BY)
    assert set(story.asked) == story.over | story.cancelled
    assert max(story.runs.values(), default=1) == 1
    talk.pair.run(until=OVER_BY + 150.0)
    assert (talk.server.sessions, talk.server.get_timer(), len(talk.server._timers)) == ([], None, 0)
    assert talk.server._requests.held == 0
    assert (talk.client._sessions, talk.client._streams, talk.client.get_timer()) == ({}, {}, None)
