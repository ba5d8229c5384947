"""One direction of a link: the one rule by which the simulator and the wire treat a packet.

First the packet may be lost, then it waits for the link's rate, then it travels. What is lost takes neither capacity nor a
place in the queue; a full queue drops at the tail. Order is kept, so a packet with more jitter holds up those behind it.
"""

from dataclasses import dataclass
from random import Random


@dataclass(slots=True, kw_only=True)
class LinkModel:
    """One direction of a link, and the packets that are under way on it.

    Attributes:
        delay: One-way delay in seconds.
        rate: Bytes per second; infinite where packets take no time to send.
        queue: Packets that may be under way before the tail is dropped.
        rng: Draws the fate of each packet, one number a packet, and one more where there is jitter.
        jitter: Further delay of a packet, uniform between 0 and this, in seconds.
        free_at: When the link has sent what it was given so far.
        last_out: When the last admitted packet comes out.
        under_way: Packets admitted and not yet out.
        lost: Packets lost.
        overflowed: Packets dropped at the tail.
    """

    delay: float
    rate: float
    queue: int
    rng: Random
    jitter: float = 0.0
    free_at: float = 0.0
    last_out: float = 0.0
    under_way: int = 0
    lost: int = 0
    overflowed: int = 0

    def admit(self, size_bytes: int, now: float, loss: float) -> float | None:
        """Decide the fate of a packet.

        Args:
            size_bytes: Its size with all headers that the link carries.
            now: The instant, in seconds; not before that of the packet ahead of it.
            loss: The probability of loss at this instant, 0..1.

        Returns:
            The instant at which it comes out, when `leave` is to be called; None if it is dropped.
        """
        if self.rng.random() < loss:
            self.lost += 1
            return None
        if self.under_way >= self.queue:
            self.overflowed += 1
            return None
        self.free_at = max(self.free_at, now) + size_bytes / self.rate
        self.under_way += 1
        wait = self.rng.random() * self.jitter if self.jitter else 0.0
        self.last_out = max(self.last_out, self.free_at + self.delay + wait)
        return self.last_out

    def leave(self) -> None:
        """Note that a packet has come out of the link."""
        self.under_way -= 1
