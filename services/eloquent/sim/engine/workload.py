"""Who asks what on a simulated link, and how long each token of the answers takes; and a TCP beside them."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from eloquent import content, schemes
from eloquent.baselines.tcp import TcpSender
from eloquent.baselines.tcp_receiver import TcpReceiver
from eloquent.protocol.session import StreamEnded, StreamRequested, StreamToken
from eloquent.sim.engine.shared_link import Host, LinkEnd, SharedLink

CLIENTS_APART, ANSWERS_APART = 0.2, 0.0137  # seconds between the beginnings of two
_TCP = "tcp"  # name under which its packets are counted
_FEED = 0.1  # seconds after which it is given more
_BACKLOG, _PIECE = 300, bytes(10_000)

Answer = tuple[int, int]
"""Number of a client, and of its question."""


class Workload:
    """Clients of one server that are answered with text at an even rate.

    Args:
        link: The link.
        server: A server machine.
        scheme: By which answers are carried.
        content: Of the answers (`eloquent.content`).
        rate: Tokens a second of each.

    Attributes:
        made: When the tokens of each answer were made, in seconds.
        arrived: When they arrived.
        ended: Answers that are whole.
    """

    def __init__(
        self,
        link: SharedLink,
        server: Any,
        *,
        scheme: str = schemes.BETWEEN_RELAYS,
        content: str = "text",
        rate: float = 10.0,
    ) -> None:
        self.made: dict[Answer, list[float]] = defaultdict(list)
        self.arrived: dict[Answer, list[float]] = defaultdict(list)
        self.ended: set[Answer] = set()
        self._link = link
        self._scheme, self._content, self._rate = scheme, content, rate
        self._host = Host(link, server)
        self._host.end.on_event = self._asked
        self._clients: list[LinkEnd] = []
        self._numbers: dict[tuple[int, int], int] = {}  # of questions, by client and stream

    def join(self, client: Any, name: str) -> int:
        """Connect a client, and return its number.

        Args:
            client: A client machine.
            name: As for `SharedLink.join`.
        """
        number = len(self._clients)
        end = self._host.join(client, name)
        end.on_event = partial(self._told, number)
        self._clients.append(end)
        return number

    def call(self, client: int, action: Callable[[Any], object]) -> None:
        """Do something with a client, and let it send what it has to send then."""
        action(self._clients[client].machine)
        self._clients[client].flush()

    def ask(self, client: int, number: int, *, tokens: int, begins: float = 0.0) -> None:
        """Ask now.

        Args:
            client: Number of the client.
            number: Of the question; each of a client has its own.
            tokens: Of the answer.
            begins: Seconds; the answer begins then, or when the question has come if that is later.
        """
        question = f"{client} {number} {tokens} {begins!r}".encode()

        def open_stream(machine: Any) -> None:
            stream_id = machine.open_stream(question, scheme=self._scheme, now=self._link.now)
            self._numbers[client, stream_id] = number

        self.call(client, open_stream)

    def ask_in_turn(self, clients: Iterable[Any], *, answers: int = 1, seconds: float) -> None:
        """Have clients join, each with its questions, one soon after the other; all are answered until the end.

        Args:
            clients: Client machines; the packets to each are counted as `chat` and its number.
            answers: At once for each.
            seconds: From 0 to the end.
        """
        for client in clients:
            number = self.join(client, f"chat {len(self._clients)}")
            for answer in range(answers):
                begins = number * CLIENTS_APART + answer * ANSWERS_APART
                tokens = int((seconds - begins) * self._rate)
                self._link.at(begins, partial(self.ask, number, answer, tokens=tokens))

    def _asked(self, event: Any) -> None:
        session, asked = event
        if isinstance(asked, StreamRequested):
            client, number, tokens = map(int, asked.request.split()[:3])
            text = itertools.islice(content.stream(self._content, client * 1000 + number), tokens)
            give = partial(self._give, session, asked.stream_id, (client, number), text)
            self._link.at(max(float(asked.request.split()[3]), self._link.now), give)

    def _give(self, session: Any, stream_id: int, answer: Answer, text: Iterator[bytes]) -> None:
        now = self._link.now
        token = next(text, None)
        if token is None:
            session.finish(stream_id, now=now)
        else:
            self.made[answer].append(now)
            session.send_token(stream_id, token, now=now)
            self._link.at(now + 1 / self._rate, partial(self._give, session, stream_id, answer, text))
        self._host.server.touch(session)
        self._host.end.flush()

    def _told(self, client: int, event: Any) -> None:
        if isinstance(event, StreamToken):
            self.arrived[client, self._numbers[client, event.stream_id]].append(self._link.now)
        elif isinstance(event, StreamEnded):
            self.ended.add((client, self._numbers[client, event.stream_id]))

    def delay(self, share: float = 0.5) -> float:
        """Return how long tokens that arrived took from when they were made, in seconds.

        Args:
            share: Of the tokens that took no longer, 0..1.
        """
        both = ((self.made[answer], self.arrived[answer]) for answer in self.arrived)
        delays = sorted(arrived - made for pair in both for made, arrived in zip(*pair, strict=False))
        return delays[int(share * (len(delays) - 1))]

    def arrived_share(self) -> float:
        """Return how many of the tokens that were made have arrived, 0..1."""
        return sum(map(len, self.arrived.values())) / sum(map(len, self.made.values()))


def join_tcp(link: SharedLink, *, at: float) -> None:
    """Let the model of the kernel's TCP (CUBIC) send as much as it can; its packets are counted as `tcp`.

    Args:
        link: The link.
        at: Seconds; from then on.
    """
    sender = TcpSender()
    end, _ = link.join(sender, TcpReceiver(), _TCP)

    def feed() -> None:
        while sender.backlog < _BACKLOG:
            sender.send_token(_PIECE, now=link.now)
        end.flush()
        link.at(link.now + _FEED, feed)

    link.at(at, feed)
