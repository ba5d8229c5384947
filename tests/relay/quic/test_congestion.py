"""What a QUIC connection may have under way: packets by hand, and two of aioquic's connections in virtual time."""

import heapq
import itertools
import random
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from aioquic.quic.congestion.base import K_INITIAL_WINDOW, K_MINIMUM_WINDOW, create_congestion_control
from aioquic.quic.events import DatagramFrameReceived, StreamDataReceived
from aioquic.quic.packet import QuicPacketType
from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.tls import Epoch

from eloquent.protocol.session_base import SILENCE_LIMIT
from eloquent.relay.quic.account import QuicAccount
from eloquent.relay.quic.congestion import ALGORITHM, QuicCongestion
from eloquent.relay.quic.connection import DatagramConnection, configure, wire_size
from eloquent.relay.quic.limits import QUIC_DATAGRAM

FULL = 1200  # bytes
SERVER, CLIENT = ("10.0.0.2", 443), ("10.0.0.1", 1000)
_numbers = itertools.count()


def control() -> QuicCongestion:
    made = create_congestion_control(ALGORITHM, max_datagram_size=FULL)
    assert isinstance(made, QuicCongestion)
    return made


def send(control: QuicCongestion, size: int, *, now: float = 1.0) -> QuicSentPacket:
    packet = QuicSentPacket(
        epoch=Epoch.ONE_RTT,
        in_flight=True,
        is_ack_eliciting=True,
        is_crypto_packet=False,
        packet_number=next(_numbers),
        packet_type=QuicPacketType.ONE_RTT,
        sent_time=now,
        sent_bytes=size,
    )
    control.on_packet_sent(packet=packet)
    return packet


def send_datagram(control: QuicCongestion, size: int = 200, *, now: float = 1.0) -> QuicSentPacket:
    control.promise(size)
    packet = send(control, size, now=now)
    control.promise(0)
    return packet


def room(control: QuicCongestion) -> int:
    return control.congestion_window - control.bytes_in_flight


def test_datagrams_of_sessions_leave_the_window_of_all_else_as_it_is():
    congestion = control()
    assert room(congestion) == K_INITIAL_WINDOW * FULL
    packets = [send_datagram(congestion) for _ in range(1000)]
    assert congestion.bytes_in_flight == congestion.datagrams_in_flight == 200_000
    assert room(congestion) == K_INITIAL_WINDOW * FULL
    for packet in packets[:500]:
        congestion.on_packet_acked(now=2.0, packet=packet)
    congestion.on_packets_lost(now=2.0, packets=packets[500:900])
    congestion.on_packets_expired(packets=packets[900:])
    assert congestion.bytes_in_flight == 0
    assert room(congestion) == K_INITIAL_WINDOW * FULL


def test_what_is_promised_has_room_however_little_there_is_for_all_else():
    congestion = control()
    packets = [send(congestion, FULL) for _ in range(2 * K_INITIAL_WINDOW)]  # handshakes may exceed a window
    assert room(congestion) == 0
    congestion.promise(5000)
    assert room(congestion) >= 5000
    congestion.promise(0)
    assert room(congestion) == 0
    congestion.on_packets_lost(now=2.0, packets=packets[:1])
    congestion.promise(5000)
    assert room(congestion) >= 5000


def test_all_else_is_cut_by_its_own_losses_alone():
    congestion = control()
    lost = [send_datagram(congestion), send(congestion, FULL)]
    congestion.on_packets_lost(now=2.0, packets=lost[:1])
    assert congestion.rest.congestion_window == K_INITIAL_WINDOW * FULL
    congestion.on_packets_lost(now=2.0, packets=lost[1:])
    assert congestion.rest.congestion_window == K_INITIAL_WINDOW * FULL // 2
    congestion.on_persistent_congestion()
    assert room(congestion) == K_MINIMUM_WINDOW * FULL


def test_what_rides_with_a_datagram_counts_as_all_else():
    congestion = control()
    congestion.promise(200)
    packet = send(congestion, FULL)
    congestion.promise(0)
    assert congestion.datagrams_in_flight < FULL / 2
    assert congestion.rest.bytes_in_flight == FULL - congestion.datagrams_in_flight
    before = congestion.rest.congestion_window
    congestion.on_packet_acked(now=2.0, packet=packet)
    assert congestion.bytes_in_flight == 0
    assert congestion.rest.congestion_window > before  # slow start


def test_who_acknowledges_nothing_gets_no_more():
    congestion = control()
    first = send_datagram(congestion, now=1.0)
    for second in range(2, 41):
        send_datagram(congestion, now=float(second))
    assert not congestion.is_deaf(1.0 + SILENCE_LIMIT)
    assert congestion.is_deaf(1.1 + SILENCE_LIMIT)
    congestion.on_packet_acked(now=45.0, packet=first)
    assert not congestion.is_deaf(45.0 + SILENCE_LIMIT)
    assert congestion.is_deaf(45.1 + SILENCE_LIMIT)


def test_nothing_under_way_is_no_deafness():
    congestion = control()
    congestion.on_packets_expired(packets=[send_datagram(congestion, now=1.0)])
    assert not congestion.is_deaf(1e6)


class Pair:
    """Two connections, 0.2 s apart; of the packets towards the client, `lose` tells by their instant which are lost."""

    def __init__(self, certificate: Any, lose: Callable[[float], bool] = lambda now: False) -> None:
        self.now = 1.0
        self.account = QuicAccount()
        ours = configure(is_client=True, protocols=["test"])
        ours.verify_mode = ssl.CERT_NONE
        self.client = DatagramConnection(QuicAccount(), configuration=ours)
        self.client.connect(SERVER, now=self.now)
        theirs = configure(is_client=False, protocols=["test"])
        theirs.certificate, theirs.private_key = certificate.certificate, certificate.private_key
        destination = self.client.original_destination_connection_id
        self.server = DatagramConnection(
            self.account, configuration=theirs, original_destination_connection_id=destination
        )
        self.came: list[tuple[float, bytes]] = []  # datagrams at the client
        self.streamed = 0  # bytes
        self._lose = lose
        self._ends = [self.client]  # and the server, as soon as it has heard of the client
        self._order = itertools.count()
        self._heap: list[tuple[float, int, DatagramConnection, bytes]] = []

    @property
    def congestion(self) -> Any:
        return self.server._loss._cc

    def flush(self) -> None:
        for sender in self._ends:
            receiver = self.server if sender is self.client else self.client
            for data, _ in sender.flush(now=self.now):
                if sender is self.client or not self._lose(self.now):
                    heapq.heappush(self._heap, (self.now + 0.2, next(self._order), receiver, data))

    def run(self, until: float) -> None:
        self.flush()
        while True:
            timers = [due for end in self._ends if (due := end.get_timer()) is not None]
            instant = min([until, *timers, *(item[0] for item in self._heap[:1])])
            self.now = max(self.now, instant)
            if instant == until:
                return
            if self._heap and self._heap[0][0] <= self.now:
                _, _, receiver, data = heapq.heappop(self._heap)
                receiver.receive_datagram(data, SERVER if receiver is self.client else CLIENT, self.now)
                self._ends = [self.client, self.server]
            self._take_events()
            self.flush()

    def _take_events(self) -> None:
        while self.server.next_event() is not None:
            pass
        while (event := self.client.next_event()) is not None:
            if isinstance(event, DatagramFrameReceived):
                self.came.append((self.now, event.data))
            elif isinstance(event, StreamDataReceived):
                self.streamed += len(event.data)


def test_no_datagram_waits_whatever_is_lost(quic: Any):
    """300 a second, of which bursts take a sixth: those that arrive took the way's time, and the others are lost for good."""
    draw = random.Random(1)
    bad = {slot for slot in range(1000) if draw.random() < 1 / 6}
    pair = Pair(quic.certificate(), lambda now: now > 3.0 and int(now * 10) in bad)
    pair.run(3.0)
    for number in range(3000):
        pair.server.carry(number.to_bytes(2) + bytes(148))
        pair.run(3.0 + number / 300)
    pair.run(15.0)
    assert pair.account.unsent == 0
    assert len(pair.came) == pytest.approx(2500, rel=0.1)
    for arrived, data in pair.came:
        assert arrived - (3.0 + (int.from_bytes(data[:2]) - 1) / 300) < 0.21


def test_datagrams_of_one_instant_leave_together(quic: Any):
    """The sessions' controllers have paced them; aioquic's pacer would let some go and keep the others."""
    pair = Pair(quic.certificate())
    pair.run(3.0)
    for number in range(20):
        pair.server.carry(bytes(QUIC_DATAGRAM))
        pair.run(3.0 + number / 10)  # so that it knows round trips
    before = len(pair.came)
    for _ in range(40):
        pair.server.carry(bytes(QUIC_DATAGRAM))
    pair.run(10.0)
    assert pair.account.unsent == 0
    assert len(pair.came) >= before + 40


def test_a_packet_takes_on_the_wire_what_is_counted_for_it(quic: Any):
    pair = Pair(quic.certificate())
    pair.run(5.0)
    for length in (1, 63, 64, 700, QUIC_DATAGRAM):
        pair.server.carry(bytes(length))
        ((data, _),) = pair.server.flush(now=pair.now)
        assert wire_size(bytes(length)) - 1 <= len(data) <= wire_size(bytes(length))


def test_streams_beside_datagrams_keep_to_their_window_and_pace(quic: Any):
    pair = Pair(quic.certificate())
    pair.run(5.0)
    stream_id = pair.server.get_next_available_stream_id(is_unidirectional=True)
    pair.server.send_stream_data(stream_id, bytes(10_000_000))
    most = 0
    for number in range(200):
        pair.server.carry(bytes(150))
        pair.run(5.0 + number / 100)
        rest = pair.congestion.rest
        most = max(most, rest.bytes_in_flight - rest.congestion_window)
        assert pair.congestion.datagrams_in_flight <= 60 * (wire_size(bytes(150)) + 300)
    assert most <= 0
    assert 50_000 < pair.streamed < 10_000_000
    assert len(pair.came) == pytest.approx(200 - 21, abs=2)


def test_a_way_that_carries_nothing_any_more_stops_a_connection(quic: Any):
    pair = Pair(quic.certificate(), lambda now: now > 5.0)
    pair.run(5.5)
    sent = []
    for number in range(400):
        pair.server.carry(bytes(150))
        before = pair.account.unsent
        pair.run(5.5 + number * 0.2)
        sent.append(pair.account.unsent == before)
    assert all(sent[:190])
    assert not any(sent[210:])
    assert pair.congestion.datagrams_in_flight <= 210 * wire_size(bytes(150))
