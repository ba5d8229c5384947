"""A sender driven by hand: what it is given, what it sends, what it is told, and when its timer fires."""

from typing import Any

from eloquent.protocol.frames import Ack, Data, decode_payload, encode_payload


def contents(sender: Any, now: float) -> list[list[int]]:
    """The tokens of each packet that it sends now, by index."""
    packets = [decode_payload(data) for data in sender.datagrams_to_send(now=now)]
    return [[f.index for f in packet.fragments] for packet in packets if isinstance(packet, Data)]


def give(sender: Any, count: int, now: float) -> list[list[int]]:
    """Give it tokens, and return what it sends of them at once."""
    for _ in range(count):
        sender.send_token(b"token", now=now)
    return contents(sender, now)


def ack(sender: Any, next_index: int, *ranges: tuple[int, int], now: float) -> None:
    sender.receive_datagram(encode_payload(Ack(next_index, ranges)), now=now)


def fire(sender: Any) -> tuple[float, list[list[int]]]:
    """Let its timer fire when it is due; return when that was, and what it sends then."""
    now = sender.get_timer()
    sender.handle_timer(now=now)
    return now, contents(sender, now)
