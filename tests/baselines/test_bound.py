"""The sender that is told what arrives."""

from eloquent import schemes
from eloquent.baselines.bound import BoundSender
from eloquent.protocol.frames import Data, decode_payload
from eloquent.protocol.receiver import Receiver


def indices(packets: list[bytes]) -> list[list[int]]:
    payloads = [decode_payload(packet) for packet in packets]
    return [[fragment.index for fragment in payload.fragments] for payload in payloads if isinstance(payload, Data)]


def test_each_packet_carries_all_that_is_missing():
    sender = BoundSender()
    carried = []
    for number, arrives in enumerate([True, False, False, True, True]):
        sender.send_token(b"token", now=number / 10)
        carried += indices(sender.datagrams_to_send(now=number / 10))
        sender.learn_fate(arrives=arrives, now=number / 10)
    assert carried == [[0], [1], [1, 2], [1, 2, 3], [4]]
    assert sender.account.redundant_bytes == 3 * len(b"token")


def test_with_an_interval_it_repeats_what_is_missing():
    sender = BoundSender(interval=0.02)
    sender.send_token(b"token", now=0.0)
    assert indices(sender.datagrams_to_send(now=0.0)) == [[0]]
    sender.learn_fate(arrives=False, now=0.0)
    assert sender.get_timer() == 0.02
    sender.handle_timer(now=0.02)
    assert indices(sender.datagrams_to_send(now=0.02)) == [[0]]
    sender.learn_fate(arrives=True, now=0.02)
    assert sender.get_timer() is None


def test_the_stream_ends():
    sender, receiver = BoundSender(), Receiver()
    sender.send_token(b"token", now=0.0)
    sender.finish(now=0.0)
    (packet,) = sender.datagrams_to_send(now=0.0)
    sender.learn_fate(arrives=True, now=0.0)
    receiver.receive_datagram(packet, now=0.1)
    sender.receive_datagram(receiver.datagrams_to_send(now=0.1)[0], now=0.2)
    assert sender.next_event() is not None


def test_it_is_registered_for_the_simulator_alone():
    assert schemes.get("bound").kind == schemes.get("bound-20ms").kind == "bound"


def test_the_last_token_is_repeated_as_if_there_were_more():
    sender = BoundSender()
    sender.send_token(b"token", now=0.0)
    sender.finish(now=0.0)
    sender.datagrams_to_send(now=0.0)
    sender.learn_fate(arrives=False, now=0.0)
    assert sender.get_timer() == 0.1
