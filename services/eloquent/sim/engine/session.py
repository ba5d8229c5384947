"""One session of one scheme in virtual time: two endpoints, and what is under way between them in each direction of a link.

Rules of this file

- Instants are rounded to nanoseconds, so that what should coincide does, whatever the floating point says of 0.1 + 0.2.
- What coincides happens in this order: tokens, arrivals, timers, a reader who turns away or back. An acknowledgement that
  arrives at the instant of a token is not known to the packet that carries the token: a real path takes a little longer
  than its round-trip time. `Choices.first` can have tokens last.
- The session begins at 0, when its link's schedules begin; the last token also ends the stream. It is over when nothing
  is left to happen, or at the latest `LONGEST_TAIL` after the last token.
- Each draw comes from a generator seeded with a string that names the session's seed, so a session is a pure function of
  its arguments, and two schemes with one seed meet the same schedules.
"""

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from random import Random

from eloquent import content
from eloquent.baselines.bound import BoundSender
from eloquent.channel.link import LinkModel
from eloquent.channel.scenario import Scenario
from eloquent.channel.schedule import Direction, Schedule
from eloquent.errors import ConfigurationError, RemoteProtocolError
from eloquent.protocol.contract import (
    PeerLost,
    StateMachine,
    StreamBroken,
    StreamFinished,
    StreamSender,
    TokenReceived,
)
from eloquent.protocol.receiver import Receiver
from eloquent.protocol.rtt import RttEstimator
from eloquent.protocol.scheme import Scheme
from eloquent.protocol.senders.retransmit import as_in_a_plain_simulator
from eloquent.sim.engine.choices import FILLER, Choices
from eloquent.sim.engine.reader import SimulatedClient
from eloquent.sim.engine.trace import Outcome, PacketLog, SessionTrace
from eloquent.units import TO_WHOLE

LINK = "client"  # name of the one link of a simulated session, which its schedules are drawn from
LONGEST_SESSION = 86_400.0  # seconds
MOST_TOKENS = 1_000_000  # of a session; more do not fit in memory
MOST_AHEAD = 1024  # unacknowledged tokens beyond which the sender is given no more, as the relays do
LONGEST_TAIL = 600.0  # seconds after the last token; every scheme gives up long before
_NANOSECONDS = 1e9  # in a second


def constant_rate(session_s: float, gap_s: float = 0.1) -> tuple[float, ...]:
    """Return the instants of tokens at even intervals from 0 up to, not including, an end (Eloquent §4.1).

    Args:
        session_s: Length of the session in seconds.
        gap_s: Seconds between tokens, by default 0.1.
    """
    if not (0 < session_s <= LONGEST_SESSION and 0 < gap_s < math.inf):
        raise ConfigurationError(
            "a session and the gap between its tokens are longer than 0 s, and a session at most a day"
        )
    if session_s / gap_s > MOST_TOKENS:
        raise ConfigurationError(f"a session of {session_s / gap_s:.3g} tokens is too long: {MOST_TOKENS} at most")
    return tuple(round(index * gap_s, 9) for index in range(math.ceil(round(session_s / gap_s, 9))))


def run_session(
    scheme: Scheme,
    scenario: Scenario,
    *,
    seed: int,
    generated_s: Sequence[float],
    choices: Choices = Choices(),  # noqa: B008 - frozen
    record: PacketLog | None = None,
    schedules: Mapping[Direction, Schedule] | None = None,
    rtt: RttEstimator | None = None,
    tokens: Sequence[bytes] | None = None,
) -> SessionTrace:
    """Run one session.

    Args:
        scheme: A scheme with endpoints.
        scenario: The link.
        seed: Seed of the session; sessions of several schemes with one seed are a pair.
        generated_s: When each token is generated, ascending, in seconds from 0.
        choices: What the simulation assumes.
        record: Where to note the packets, if they are wanted.
        schedules: What each direction loses, on the time axis of `generated_s`; drawn from the seed unless given.
        rtt: What the sender knows of the path; nothing unless given.
        tokens: The token of each instant; what the choices say unless given.

    Raises:
        ConfigurationError: The scheme has no endpoints, the instants do not ascend, or there are fewer tokens than instants.
    """
    if not generated_s or any(after < before for before, after in zip((0.0, *generated_s), generated_s, strict=False)):
        raise ConfigurationError("a session has tokens, and their instants ascend from 0 s")
    if tokens is not None and len(tokens) < len(generated_s):
        raise ConfigurationError(f"{len(tokens)} tokens are too few for {len(generated_s)} instants")
    return _Session(
        scheme,
        scenario,
        seed=seed,
        generated_s=generated_s,
        choices=choices,
        record=record,
        schedules=_draw_schedules(scenario, seed, choices) if schedules is None else schedules,
        rtt=rtt,
        tokens=_stream(choices, seed) if tokens is None else iter(tokens),
    ).run()


def _stream(choices: Choices, seed: int) -> Iterator[bytes]:
    """Return the tokens of a session as the choices say, without end."""
    return repeat(bytes(choices.token_bytes)) if choices.content == FILLER else content.stream(choices.content, seed)


def _draw_schedules(scenario: Scenario, seed: int, choices: Choices) -> dict[Direction, Schedule]:
    uplink = scenario.loss_up
    if not choices.ack_loss:
        uplink = Scenario.loss_up
    elif uplink.worst_loss == 0:
        uplink = scenario.loss_down
    models = {Direction.DOWN: scenario.loss_down, Direction.UP: uplink}
    return {way: Schedule(model, seed=seed, link=LINK, direction=way) for way, model in models.items()}


def _rounded(instant: float) -> float:
    """Return an instant to the nanosecond, an infinite one as it is; instants are below 2**51 ns, which is 26 days."""
    return (instant * _NANOSECONDS + TO_WHOLE - TO_WHOLE) / _NANOSECONDS


class _Path:
    """One direction of the link with its schedule, and the packets that are under way: none overtakes another."""

    def __init__(
        self,
        scenario: Scenario,
        schedule: Schedule,
        direction: Direction,
        *,
        seed: int,
        offset: float,
        choices: Choices,
    ) -> None:
        self.schedule = schedule
        self.direction = direction
        self._offset = offset
        self._headers = choices.header_bytes
        self._link = LinkModel(
            delay=scenario.rtt / 2,
            rate=scenario.rate if choices.rate_limited else math.inf,
            queue=scenario.queue,
            rng=Random(f"eloquent simulation 1|{seed}|{direction.value}|packets"),
            jitter=choices.jitter,
        )
        self._under_way: deque[tuple[float, int, bytes]] = deque()  # instant of arrival, place in the order, data
        self.arrival = math.inf  # of the first of them
        self.order = 0  # its place among all packets of the session, in the order of sending

    def admit(self, data: bytes, now: float, order: int, record: PacketLog | None) -> bool:
        """Take a packet, and return whether it will arrive."""
        size = len(data) + self._headers
        arrival = self._link.admit(size, now, self.schedule.loss_at(now + self._offset))
        if record is not None:
            record.add(sent_s=now, arrived_s=arrival, direction=self.direction, data=data, size_bytes=size)
        if arrival is None:
            return False
        instant = _rounded(arrival)
        if not self._under_way:
            self.arrival, self.order = instant, order
        self._under_way.append((instant, order, data))
        return True

    def leave(self) -> bytes:
        """Return the packet that arrives."""
        self._link.leave()
        data = self._under_way.popleft()[2]
        if self._under_way:
            self.arrival, self.order, _ = self._under_way[0]
        else:
            self.arrival = math.inf
        return data


class _Side:
    """An endpoint, the direction that it sends in, and when its timer is due."""

    peer: "_Side"

    def __init__(self, endpoint: StateMachine, path: _Path) -> None:
        self.endpoint = endpoint
        self.path = path
        self.oracle = endpoint if isinstance(endpoint, BoundSender) else None
        self.timer = self.due = math.inf  # the timer as pulled, and its instant among the events
        self.pull_timer(0.0)

    def pull_timer(self, now: float) -> None:
        """Ask when the endpoint wants to be called next; a timer in the past is due at once."""
        timer = self.endpoint.get_timer()
        if timer is None:
            self.timer = self.due = math.inf
        else:
            self.timer, self.due = timer, max(_rounded(timer), now)


class _Session:
    def __init__(
        self,
        scheme: Scheme,
        scenario: Scenario,
        *,
        seed: int,
        generated_s: Sequence[float],
        choices: Choices,
        record: PacketLog | None,
        schedules: Mapping[Direction, Schedule],
        rtt: RttEstimator | None,
        tokens: Iterator[bytes],
    ) -> None:
        self._generated = tuple(generated_s)
        self._record = record
        if record is not None:
            record.begin(scheme)
        self._tokens = tokens
        self._now = 0.0
        self._rendered: list[float] = []
        self._arrived: list[float] = []
        self._waiting = 0  # tokens that the sender was not given yet
        self._last_made = False
        self._outcome: Outcome = "unfinished"
        self._order = 0
        slot = scenario.loss_down.slot
        drawn = Random(f"eloquent simulation 1|{seed}|phase").random()
        offset = drawn * slot if slot is not None and choices.phase == "random" else 0.0
        down, up = (
            _Path(scenario, schedules[way], way, seed=seed, offset=offset, choices=choices)
            for way in (Direction.DOWN, Direction.UP)
        )
        known_rtt = scenario.rtt if choices.known_timeouts else None
        plain = as_in_a_plain_simulator(scheme, known_rtt=known_rtt, every_ack=choices.every_ack)
        self._sender: StreamSender = plain.make_sender(rtt=rtt)
        self._tokens_first = choices.first == "token"
        self._server, self._client = _Side(self._sender, down), _Side(scheme.make_receiver(), up)
        self._server.peer, self._client.peer = self._client, self._server
        self._reader = None if choices.reader is None else SimulatedClient(choices.reader, self._generated[-1])
        self._turn = math.inf if self._reader is None else self._reader.next_change()

    def run(self) -> SessionTrace:
        tokens = iter(self._generated)
        token = next(tokens)
        horizon = self._generated[-1] + LONGEST_TAIL
        server, client, down, up = self._server, self._client, self._server.path, self._client.path
        while True:
            arrival = min(down.arrival, up.arrival)
            timer = min(server.due, client.due)
            other = min(arrival, timer)
            other = min(other, self._turn)
            instant = min(token, other)
            if instant > horizon:  # infinite where nothing is left
                break
            self._now = max(self._now, instant)
            if instant == token and (self._tokens_first or instant < other):
                token = next(tokens, math.inf)
                self._give(last=token == math.inf)
            elif instant == arrival:
                is_down = down.arrival < up.arrival or (down.arrival == up.arrival and down.order < up.order)
                self._arrive(client if is_down else server)
            elif instant == timer:
                self._fire()
            else:
                self._turn_reader()
        packets = tuple(self._record.rows) if self._record is not None else ()
        rendered, arrived = tuple(self._rendered), tuple(self._arrived)
        account, ended = self._sender.account, self._now
        return SessionTrace(self._generated, rendered, arrived, account, ended, self._outcome, packets)

    def _arrive(self, side: _Side) -> None:
        data = side.peer.path.leave()
        if side is self._client:
            self._arrived.append(_rounded(self._now))
        try:
            side.endpoint.receive_datagram(data, now=self._now)
        except RemoteProtocolError:  # nothing has changed, says the contract of endpoints: drop it and go on
            return
        self._flush(side)

    def _give(self, *, last: bool) -> None:
        self._waiting += 1
        self._last_made = last
        self._flush(self._server)

    def _hand_over(self) -> None:
        """Give the sender the tokens that wait, as far as it may have more, and the end after the last one."""
        while self._waiting and self._sender.backlog < MOST_AHEAD:
            self._sender.send_token(next(self._tokens), now=self._now)
            self._waiting -= 1
            if self._last_made and not self._waiting:
                self._sender.finish(now=self._now)

    def _turn_reader(self) -> None:
        assert self._reader is not None
        self._reader.turn()
        self._turn = self._reader.next_change()
        self._report()
        self._flush(self._client)

    def _report(self) -> None:
        if self._reader is not None and isinstance(self._client.endpoint, Receiver):
            self._client.endpoint.report(self._reader.report(self._now), now=self._now)

    def _fire(self) -> None:
        """Call the endpoints whose timers are due; a timer within half a nanosecond from now is."""
        for side in (self._server, self._client):
            if side.due <= self._now:
                self._now = max(self._now, side.timer)
                side.endpoint.handle_timer(now=self._now)
                self._flush(side)

    def _flush(self, side: _Side) -> None:
        """Take from an endpoint, after a call that may have changed it, what it wants to send and to tell."""
        if self._waiting and side is self._server:
            self._hand_over()
        now, endpoint = self._now, side.endpoint
        for data in endpoint.datagrams_to_send(now=now):
            self._order += 1
            arrives = side.path.admit(data, now, self._order, self._record)
            if side.oracle is not None:
                side.oracle.learn_fate(arrives=arrives, now=now)
        while (event := endpoint.next_event()) is not None:
            match event:
                case TokenReceived():
                    self._rendered.append(_rounded(now))
                    if self._reader is not None:
                        self._reader.take_token(self._rendered[-1])
                        self._report()
                case StreamFinished():
                    self._outcome = "ok"
                case StreamBroken():
                    self._outcome = "broken"
                case PeerLost() if self._outcome == "unfinished":
                    self._outcome = "lost"
        side.pull_timer(now)
