"""Fixed redundancy: each packet repeats the blocks of the K packets before it (RFC 2198; RFC 4103 for text).

Rules of this file
- A block is what one packet was the first to carry: the new tokens of one instant. It is repeated in the next K
  packets whether it was acknowledged or not, newest block first, as far as the byte budget goes.
- When no new token comes for 300 ms while something is unacknowledged, a packet without a new block goes out, up to
  K times (RFC 4103 §4.2 and §5.2: redundancy does not wait for a typist who pauses). It counts as an empty block.
- RFC 4103 gives up what was lost K + 1 times in a row and shows a mark in its place. A token stream has to be whole,
  so what is still missing is retransmitted, by the rules of `retransmit`: RFC 6298's timeout, or three later packets.
"""

import re
from collections import deque

from eloquent.errors import ConfigurationError
from eloquent.protocol.frames import DataBuilder, Fragment
from eloquent.protocol.rtt import RttEstimator
from eloquent.protocol.scheme import Family, Scheme
from eloquent.protocol.sender import Sender
from eloquent.protocol.senders.retransmit import RetransmitSender

MAX_BLOCKS = 10
IDLE_INTERVAL = 0.300  # seconds, the buffering time of RFC 4103 §5.1


class RedSender(RetransmitSender):
    """New tokens together with the last K blocks.

    Args:
        budget: Bytes that the payload of one datagram may take.
        rtt: The path's estimator, for retransmissions.
        blocks: How many earlier blocks each packet repeats, 1 to 10.
    """

    def __init__(self, *, budget: int, rtt: RttEstimator | None = None, blocks: int) -> None:
        super().__init__(budget=budget, rtt=rtt)
        self._recent: deque[list[Fragment]] = deque(maxlen=blocks)  # newest first
        self._repeat_at = 0.0  # seconds; meaningful while `_recent` holds a fragment

    def datagrams_to_send(self, *, now: float) -> list[bytes]:
        """Return the lost packets and the new tokens, or else the repetition that is due after a pause."""
        before = self.sent
        datagrams = super().datagrams_to_send(now=now)
        if self.sent > before:
            self._repeat_at = now + IDLE_INTERVAL
        elif self.outstanding and any(self._recent) and self._repeat_at <= now:
            datagrams.append(self._repeat(now))
        return datagrams

    def _accompany(self, builder: DataBuilder) -> int:
        new = list(builder.fragments)
        redundant = self._add_recent(builder)
        if new:
            self._recent.appendleft(new)
        return redundant

    def _repeat(self, now: float) -> bytes:
        builder = DataBuilder(self._budget)
        redundant = self._add_recent(builder)
        payload = builder.build()
        self._count(payload, redundant)
        self._recent.appendleft([])
        self._repeat_at = now + IDLE_INTERVAL
        for packet in self._packets:  # Karn's rule: an acknowledgement may now be of this repetition
            packet.transmissions = max(packet.transmissions, 2)
        return payload

    def _add_recent(self, builder: DataBuilder) -> int:
        redundant = 0
        for block in self._recent:
            for fragment in block:
                if not builder.add(fragment):
                    return redundant
                redundant += len(fragment.data)
        return redundant

    def _next_deadline(self) -> float:
        deadline = super()._next_deadline()
        return min(deadline, self._repeat_at) if any(self._recent) else deadline


def _build(match: re.Match[str]) -> Scheme:
    blocks = int(match["blocks"])
    if not 1 <= blocks <= MAX_BLOCKS:
        raise ConfigurationError(f"'{match[0]}' is not a scheme: give from 1 to {MAX_BLOCKS} blocks, as in red-2")

    def make_sender(budget: int, rtt: RttEstimator) -> Sender:
        return RedSender(budget=budget, rtt=rtt, blocks=blocks)

    return Scheme(match[0], "datagram", make_sender)


FAMILY = Family("red-K", re.compile(r"red-(?P<blocks>\d{1,2})"), _build, "red-2")
