"""The wire: a link that is a process, for kernels without netem.

Each access link is two TAP devices. The lab moves one into the client's namespace and gives the other to the switch; this process
holds both descriptors and carries frames from one to the other, as netem would: first it may lose the frame, then the frame waits
for the link's rate, then for its one-way delay. A full queue drops at the tail.

    python -m eloquent.emulation.carriers.wire        (plan and commands on standard input, see impairment.py)
"""

import errno
import fcntl
import gc
import heapq
import os
import random
import select
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from eloquent.channel.link import LinkModel
from eloquent.channel.schedule import Direction
from eloquent.emulation.carriers.impairment import STDIN, ImpairedLink, ImpairmentPlan, Steering, prefer_this_process

TUNSETIFF = 0x400454CA  # linux/if_tun.h
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
FRAME_BYTES = 65536  # more than any frame: offloads are off, so one packet is one packet
TICK = 0.001  # seconds at least between two looks: under load frames are then carried in groups, here and in the switch behind
EARLY = TICK / 2  # seconds a frame may come out too soon, so that the error centres on zero
BATCH = 64  # frames read from one device before the others get their turn


def open_tap(name: str) -> int:
    """Make a TAP device and give its descriptor, non-blocking; the device lives as long as the descriptor is open.

    Args:
        name: The interface name, at most 15 characters.

    Raises:
        OSError: The kernel refused: no TUN support, or no permission.
    """
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@dataclass(slots=True)
class OneWay:
    """One direction of a link: two descriptors, and the rule by which frames cross from one to the other.

    Attributes:
        name: What messages call it.
        source: Descriptor the frames are read from.
        sink: Descriptor the frames are written to.
        model: Decides the fate of each frame.
        loss: The present loss probability, 0..1.
        carried: Frames handed to the far device.
    """

    name: str
    source: int
    sink: int
    model: LinkModel
    loss: float = 0.0
    carried: int = 0

    def admit(self, frame: bytes, now: float) -> float | None:
        """Decide the fate of a frame: give the instant at which it comes out, or None if it is dropped."""
        return self.model.admit(len(frame), now, self.loss)

    def emit(self, frame: bytes) -> None:
        """Hand a frame to the far device; one that is down or full loses it, as a real one would."""
        self.model.leave()
        try:
            os.write(self.sink, frame)
        except OSError as error:
            if error.errno not in {errno.EIO, errno.EAGAIN, errno.ENETDOWN, errno.EINVAL}:
                raise
            self.model.overflowed += 1
        else:
            self.carried += 1


class Wire:
    """All links of a lab in one event loop."""

    def __init__(self, links: Sequence[ImpairedLink]) -> None:
        self._directions = [direction for link in links for direction in connect(link)]
        self._by_source = {direction.source: direction for direction in self._directions}
        self._in_flight: list[tuple[float, int, OneWay, bytes]] = []
        self._sequence = 0
        self._steering = Steering(links, set_loss=self._set_loss, count=self._count)

    def _set_loss(self, index: int, loss: float) -> None:
        self._directions[index].loss = loss

    def _count(self) -> list[dict[str, int]]:
        return [
            {
                "carried": direction.carried,
                "lost": direction.model.lost,
                "overflowed": direction.model.overflowed,
            }
            for direction in self._directions
        ]

    def run(self) -> None:
        """Carry frames until standard input ends."""
        with select.epoll() as devices:
            for descriptor in (STDIN, *self._by_source):
                devices.register(descriptor, select.EPOLLIN)
            looked = time.monotonic()
            while True:
                self._steering.rest()
                time.sleep(max(0.0, looked + TICK - time.monotonic()))
                readable = self._wait(devices)
                looked = time.monotonic()
                self._steering.apply_due()
                self._release(looked + EARLY)
                for descriptor, _ in readable:
                    if descriptor != STDIN:
                        self._take(self._by_source[descriptor])
                    elif not self._steering.read_commands():
                        return

    def _wait(self, devices: select.epoll) -> list[tuple[int, int]]:
        """Wait until a frame or a command comes, or something is due; give who is readable.

        epoll counts in milliseconds, which would be one of RTT: what is left below one is slept, and a frame of that time waits.
        """
        deadline = min(self._steering.deadline, self._in_flight[0][0] - EARLY if self._in_flight else float("inf"))
        if deadline == float("inf"):
            return devices.poll()
        left = deadline - time.monotonic()
        readable = devices.poll(max(0, int(left * 1e3)) / 1e3)
        if not readable and (left := deadline - time.monotonic()) > 0:
            time.sleep(left)
            readable = devices.poll(0)
        return readable

    def _take(self, direction: OneWay) -> None:
        for _ in range(BATCH):
            try:
                frame = os.read(direction.source, FRAME_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.EBADFD:
                    raise
                sys.exit(f"the device {direction.name} is gone: its namespace ended before the carrier")
            out_at = direction.admit(frame, time.monotonic())
            if out_at is not None:
                self._sequence += 1
                heapq.heappush(self._in_flight, (out_at, self._sequence, direction, frame))

    def _release(self, horizon: float) -> None:
        while self._in_flight and self._in_flight[0][0] <= horizon:
            _, _, direction, frame = heapq.heappop(self._in_flight)
            direction.emit(frame)


def connect(link: ImpairedLink) -> list[OneWay]:
    """Make the two devices of a link and its two directions, in the order of `Direction`."""
    scenario = link.parse_scenario()
    client, network = open_tap(link.client_device), open_tap(link.network_device)
    ends = {Direction.DOWN: (network, client), Direction.UP: (client, network)}
    return [
        OneWay(
            f"{link.name} {direction.value}",
            *ends[direction],
            LinkModel(
                delay=scenario.rtt / 2,
                rate=scenario.rate,
                queue=scenario.queue,
                rng=random.Random(f"{link.seed}/{link.name}/{direction.value}/frames"),
            ),
        )
        for direction in Direction
    ]


def main() -> None:
    """Run the carrier process."""
    prefer_this_process()
    plan = ImpairmentPlan.read()
    wire = Wire(plan.links)
    gc.freeze()
    gc.disable()  # no cycles are made in the loop, and a collection would be lateness
    plan.say_ready()
    wire.run()


if __name__ == "__main__":
    main()
