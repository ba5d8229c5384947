"""The account of QUIC answers, of two aioquic connections in virtual time."""

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from aioquic.quic.connection import QuicConnection

from eloquent.http3.settings import client_configuration, server_configuration
from eloquent.nodes.common.stream_record import Spent
from eloquent.nodes.token_server.quic_account import PacketLogger
from eloquent.relay.quic.certificate import derive_identity, make_certificate

DELAY = 0.02  # seconds, one way
ADDRESS = ("10.0.0.1", 4433)


@dataclass
class Pair:
    """A client and a server that logs, on a path that loses what it is told to."""

    client: QuicConnection
    server: QuicConnection
    logger: PacketLogger
    now: float = 0.0
    loses: int = 0  # of the datagrams to the client, those that come next
    wire_bytes: int = 0  # of the server's datagrams, with headers
    packets: int = 0
    arriving: list[tuple[float, QuicConnection, bytes]] = field(default_factory=list)
    spent: list[Spent] = field(default_factory=list)
    unaccounted: list[str] = field(default_factory=list)

    def send(self) -> None:
        for data, _ in self.client.datagrams_to_send(self.now):
            self.arriving.append((self.now + DELAY, self.server, data))
        if self.server.get_peer_address() is None:
            return
        for data, _ in self.server.datagrams_to_send(self.now):
            self.wire_bytes += len(data) + 28
            self.packets += 1
            if self.loses:
                self.loses -= 1
            else:
                self.arriving.append((self.now + DELAY, self.client, data))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            self.send()
            timers = [(at, one) for one in (self.client, self.server) if (at := one.get_timer()) is not None]
            due = min([*(at for at, _, _ in self.arriving), *(at for at, _ in timers)], default=math.inf)
            if due > end:
                self.now = end
                return
            self.now = max(self.now, due)
            for one in [one for one in self.arriving if one[0] <= self.now]:
                self.arriving.remove(one)
                one[1].receive_datagram(one[2], ADDRESS, self.now)
                self.logger.latest.look()
            for at, connection in timers:
                if at <= self.now:
                    connection.handle_timer(self.now)
            for connection in (self.client, self.server):
                while connection.next_event() is not None:
                    pass

    def answer(self, stream: int, data: bytes, *, is_last: bool) -> None:
        self.server.send_stream_data(stream, data, is_last)

    def begin(self) -> int:
        """Have the client ask, and account the answer; return its stream."""
        stream = self.client.get_next_available_stream_id()
        self.client.send_stream_data(stream, b"?", end_stream=True)
        self.run(0.5)
        self.logger.latest.begin(stream, self.spent.append, self.unaccounted.append)
        return stream


@pytest.fixture
def pair() -> Pair:
    settings = server_configuration("reno")
    own = make_certificate(derive_identity(bytes(32)), now=datetime.now(UTC))
    settings.certificate, settings.private_key = own.certificate, own.private_key
    logger = settings.quic_logger = PacketLogger()
    client = QuicConnection(configuration=client_configuration())
    client.connect(ADDRESS, 0.0)
    server = QuicConnection(
        configuration=settings, original_destination_connection_id=client.original_destination_connection_id
    )
    pair = Pair(client, server, logger)
    pair.run(1.0)
    return pair


def test_an_answer_without_loss_is_told_with_every_packet(pair: Pair) -> None:
    stream = pair.begin()
    before, packets = pair.wire_bytes, pair.packets
    for _ in range(9):
        pair.answer(stream, b"x" * 100, is_last=False)
        pair.run(0.1)
    assert not pair.spent
    pair.answer(stream, b"x" * 100, is_last=True)
    pair.run(1.0)
    assert pair.spent == [Spent(1000, 0, pair.packets - packets, pair.wire_bytes - before)]
    assert pair.logger.latest.is_settled


def test_what_was_lost_and_sent_again_is_redundant(pair: Pair) -> None:
    stream = pair.begin()
    for number in range(10):
        pair.loses = int(number in {2, 9})  # one that later packets reveal, and the last, with the end of the stream
        pair.answer(stream, b"x" * 100, is_last=number == 9)
        pair.run(0.1)
    pair.run(5.0)
    [spent] = pair.spent
    assert spent.original_bytes == 1000
    assert spent.redundant_bytes >= 200
    assert spent.redundant_bytes % 100 == 0
    assert spent.wire_bytes > 1200


def test_answers_that_share_a_connection_are_not_accounted(pair: Pair) -> None:
    first, second = pair.begin(), pair.begin()
    for stream in (first, second):
        pair.answer(stream, b"x", is_last=True)
    pair.run(1.0)
    assert (pair.spent, pair.unaccounted) == ([], ["shared", "shared"])
    third = pair.begin()  # has it to itself again
    pair.answer(third, b"x", is_last=True)
    pair.run(1.0)
    assert len(pair.spent) == 1


def test_an_answer_that_is_broken_off_is_not_accounted(pair: Pair) -> None:
    stream = pair.begin()
    pair.answer(stream, b"x", is_last=False)
    pair.run(1.0)
    pair.logger.latest.abandon(stream)
    pair.logger.latest.abandon(stream)
    assert (pair.spent, pair.unaccounted) == ([], ["unsettled"])


def test_a_connection_that_ends_leaves_no_answer_unaccounted(pair: Pair) -> None:
    stream = pair.begin()
    pair.answer(stream, b"x", is_last=False)
    pair.client.close()
    pair.run(5.0)
    assert pair.unaccounted == ["unsettled"]
    assert not pair.logger.open


def test_what_is_on_its_way_is_told(pair: Pair) -> None:
    stream = pair.begin()
    pair.answer(stream, b"x" * 100, is_last=False)
    pair.send()
    assert pair.logger.latest.unacknowledged(stream) == 100
    pair.run(1.0)
    assert pair.logger.latest.unacknowledged(stream) == 0
