"""Any number of machines on one link, in virtual time: what several sessions, connections or protocols leave each other.

Rules of this file

- A machine is an endpoint of the protocol, or anything with its calls: time is an argument, the timer is pulled, datagrams are
  fetched. A pair of machines has the link between them, and shares it with all other pairs.
- What the link does to a packet is `channel.link`'s rule, the same as in a single session and on the wire.
- What is due at one instant happens in the order in which it was made due; timers come last.
"""

import heapq
import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from random import Random
from typing import Any

from eloquent.channel.link import LinkModel
from eloquent.channel.schedule import Direction, Schedule
from eloquent.drivers.machines import ServerMachine
from eloquent.errors import RemoteProtocolError
from eloquent.protocol.address_token import Address

CLIENT = "10.0.0.1"  # all clients' address, as a server sees it
TICK = 1e-6  # seconds after which a timer may be due again: a machine that compares sums of its own may be a hair too early
HEADERS = 28  # bytes of IPv4 and UDP
_NOTHING: Mapping[Direction, Schedule] = {}


class SharedLink:
    """One link, and the machines at its ends.

    Args:
        rtt: Round-trip time of the empty link, in seconds.
        rate: Bytes a second, of each direction.
        queue: Packets that each direction holds at most, those on their way included.
        schedules: What each direction loses; nothing unless given.
        lossy_from: Seconds; when the schedules begin.
        headers: Bytes that each datagram has around it on the link.
        seed: Of what happens to the packets.

    Attributes:
        now: Seconds.
        waits: Of each packet towards the clients, when it was sent, and how long it waited for the link, in seconds.
        carried: By the name of the pair, when a packet towards the clients was sent, and its bytes; of those that arrive.
        sent: Packets and their bytes, by the name of the pair and the direction, whether they arrive or not.
    """

    def __init__(
        self,
        *,
        rtt: float,
        rate: float = math.inf,
        queue: int = 1000,
        schedules: Mapping[Direction, Schedule] = _NOTHING,
        lossy_from: float = 0.0,
        headers: int = HEADERS,
        seed: int = 0,
    ) -> None:
        self.now = 0.0
        self.waits: list[tuple[float, float]] = []
        self.carried: dict[str, list[tuple[float, int]]] = defaultdict(list)
        self.sent: dict[tuple[str, Direction], list[int]] = defaultdict(lambda: [0, 0])
        self._links = {
            way: LinkModel(
                delay=rtt / 2, rate=rate, queue=queue, rng=Random(f"eloquent shared link 1|{seed}|{way.value}")
            )
            for way in Direction
        }
        self._schedules = schedules
        self._lossy_from = lossy_from
        self._headers = headers
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._timers: list[tuple[float, int, LinkEnd]] = []

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Have something happen.

        Args:
            when: Seconds, from now on.
            action: What.
        """
        heapq.heappush(self._heap, (when, next(self._order), action))

    def join(self, server: Any, client: Any, name: str) -> "tuple[LinkEnd, LinkEnd]":
        """Connect two machines.

        Args:
            server: Sends towards the clients.
            client: Sends the other way.
            name: Under which their packets are counted.
        """
        ends = LinkEnd(self, server, Direction.DOWN, name), LinkEnd(self, client, Direction.UP, name)
        ends[0].peer, ends[1].peer = ends[1], ends[0]
        return ends

    def run(self, until: float) -> None:
        """Let time pass.

        Args:
            until: Seconds.
        """
        while True:
            timer = self._first_timer()
            instant = min(timer, self._heap[0][0] if self._heap else math.inf)
            if instant > until:
                self.now = until
                return
            self.now = max(self.now, instant)
            if timer > instant:
                heapq.heappop(self._heap)[2]()
            else:
                heapq.heappop(self._timers)[2].fire()

    def carry(self, data: bytes, sender: "LinkEnd") -> None:
        """Take a datagram.

        Args:
            data: Its UDP payload.
            sender: Who sends it.
        """
        way, size = sender.direction, len(data) + self._headers
        link, counts = self._links[way], self.sent[sender.name, sender.direction]
        counts[0] += 1
        counts[1] += size
        schedule = self._schedules.get(way) if self.now >= self._lossy_from else None
        loss = 0.0 if schedule is None else schedule.loss_at(self.now - self._lossy_from)
        arrives = link.admit(size, self.now, loss)
        if arrives is None:
            return
        if way is Direction.DOWN:
            self.waits.append((self.now, arrives - link.delay - self.now))
            self.carried[sender.name].append((self.now, size))

        def arrive() -> None:
            link.leave()
            sender.peer.receive(data)

        self.at(arrives, arrive)

    def rate(self, name: str, since: float) -> float:
        """Return how many bytes a second were carried towards a client, or towards all of them.

        Args:
            name: Of the pair; one that ends with `*` is of all that begin so.
            since: Seconds.
        """
        names = [key for key in self.carried if fnmatchcase(key, name)]
        return sum(size for key in names for when, size in self.carried[key] if when >= since) / (self.now - since)

    def wait(self, since: float, share: float = 0.5) -> float:
        """Return how long packets towards the clients waited for the link, in seconds.

        Args:
            since: Seconds.
            share: Of the packets that waited no longer, 0..1.
        """
        waits = sorted(wait for when, wait in self.waits if when >= since)
        return waits[int(share * (len(waits) - 1))]

    def set_timer(self, end: "LinkEnd") -> None:
        """Have an end fire when its timer is due; what was set before for it counts no more."""
        if end.due < math.inf:
            heapq.heappush(self._timers, (end.due, next(self._order), end))

    def _first_timer(self) -> float:
        while self._timers and self._timers[0][0] != self._timers[0][2].due:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else math.inf


class LinkEnd:
    """A machine on the link.

    Args:
        link: What it is a part of.
        machine: The machine.
        direction: In which it sends.
        name: Under which its packets are counted.

    Attributes:
        link: The same.
        machine: The same.
        direction: The same.
        name: The same.
        peer: The other end.
        due: Seconds; when its timer is due, or infinity.
        on_event: Called with each event of the machine.
    """

    peer: "LinkEnd"

    def __init__(self, link: SharedLink, machine: Any, direction: Direction, name: str) -> None:
        self.link, self.machine, self.direction, self.name = link, machine, direction, name
        self.on_event: Callable[[Any], None] = _ignore
        self.due = math.inf
        self._not_before = 0.0  # seconds

    def receive(self, data: bytes) -> None:
        """Take a datagram."""
        with suppress(RemoteProtocolError):  # such as a repeated answer in a handshake: it is dropped, as drivers do
            self.machine.receive_datagram(data, now=self.link.now)
        self.flush()

    def fire(self) -> None:
        """Do what is due."""
        self._not_before = self.link.now + TICK
        self.machine.handle_timer(now=self.link.now)
        self.flush()

    def flush(self) -> None:
        """Send what the machine has to send, and tell its events; whoever has called it calls this."""
        more, now = True, self.link.now
        while more:
            datagrams = self.machine.datagrams_to_send(now=now)
            for data in datagrams:
                self.link.carry(data, self)
            more = bool(datagrams)
            while (event := self.machine.next_event()) is not None:
                self.on_event(event)
                more = True
        timer = self.machine.get_timer()
        due = math.inf if timer is None else max(timer, self._not_before)
        if due != self.due:
            self.due = due
            self.link.set_timer(self)


def _ignore(event: Any) -> None:
    """Take an event that nobody waits for."""


class Host:
    """A server with many clients, each of whom has an end of his own on the link.

    Args:
        link: The link.
        server: The server.

    Attributes:
        server: The same.
        end: Tells the server's events and has its timer; whoever has called the server flushes it.
    """

    def __init__(self, link: SharedLink, server: ServerMachine) -> None:
        self.server = server
        self.end = LinkEnd(link, self, Direction.DOWN, "server")
        self.next_event = server.next_event
        self.get_timer = server.get_timer
        self.handle_timer = server.handle_timer
        self._link = link
        self._doors: dict[Address, LinkEnd] = {}

    def join(self, client: Any, name: str) -> LinkEnd:
        """Connect a client, and return its end.

        Args:
            client: The client.
            name: As for `SharedLink.join`.
        """
        address = CLIENT, 1000 + len(self._doors)
        door = _Door(self, address, name)
        end = LinkEnd(self._link, client, Direction.UP, name)
        door.peer, end.peer = end, door
        self._doors[address] = door
        return end

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Put what the server has to send on its way, each datagram through its client's door."""
        for data, address in self.server.datagrams_to_send(now=now):
            self._link.carry(data, self._doors[address])
        return []


class _Door(LinkEnd):
    """Where a client's datagrams come to a server."""

    def __init__(self, host: Host, address: Address, name: str) -> None:
        super().__init__(host.end.link, host, Direction.DOWN, name)
        self._host, self._address = host, address

    def receive(self, data: bytes) -> None:
        with suppress(RemoteProtocolError):
            self._host.server.receive_datagram(data, self._address, now=self.link.now)
        self._host.end.flush()
