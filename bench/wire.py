"""How many frames the wire carries, at which cost, and how late each of them is: as root, in network namespaces of its own.

Rules of this file
- A frame is late by what it takes from its sender to the kernel of its receiver beyond the link's delay, by one clock. What the
  kernel takes on the way is in that, and the sender's and receiver's own slowness is not.
- The sender offers its frames each millisecond, as many as make up the rate: what comes together is what a loaded lab has.
"""

import os
import socket
import statistics
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack

from bench.mptcp import Wire, namespace, run_in
from bench.processes import cpu_of, running
from bench.tables import Column, Row, Rows, Table
from eloquent.emulation.carriers.impairment import ImpairedLink

OFFERED = (1_000, 5_000, 20_000, 40_000)  # frames a second
SECONDS = 3.0
RTT = 0.100  # seconds
SCENARIO = f"rtt={RTT * 1e3:g}ms rate=10gbit queue=100000"
SIZE = 200  # bytes of a frame's UDP payload
TICK = 0.001  # seconds
SENDER, RECEIVER, PORT = "10.9.0.2", "10.9.0.1", 5000
BUFFER = 64 * 1024 * 1024  # bytes of a socket's; nothing is to be lost there
SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_TIMESTAMPNS = 32, 33, 35  # asm-generic/socket.h
QUIET = 0.5  # seconds without a frame, after which no more come
_STAMP, _KERNEL_STAMP = struct.Struct("!d"), struct.Struct("qq")


def send(rate: int) -> None:
    """Send frames, each with the instant at which it left, and say how many."""
    ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ours.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, BUFFER)
    ours.connect((RECEIVER, PORT))
    filling, sent, began = bytes(SIZE - _STAMP.size), 0, time.monotonic()
    while (passed := time.monotonic() - began) < SECONDS:
        while sent < passed * rate:
            ours.send(_STAMP.pack(time.time()) + filling)
            sent += 1
        time.sleep(TICK)
    print(sent, flush=True)


def receive() -> None:
    """Receive frames until no more come, and say how many came, and how late they were, in seconds, p50 and p99."""
    ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ours.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    ours.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    ours.bind((RECEIVER, PORT))
    print("ready", flush=True)
    late: list[float] = []
    while True:
        try:
            data, extra, _, _ = ours.recvmsg(SIZE, 64)
        except TimeoutError:
            break
        seconds, nanoseconds = _KERNEL_STAMP.unpack(extra[0][2])
        late.append(seconds + nanoseconds / 1e9 - _STAMP.unpack_from(data)[0] - RTT / 2)
        ours.settimeout(QUIET)
    cuts = statistics.quantiles(late, n=100)
    print(len(late), cuts[49], cuts[98], flush=True)


def measure(offered: Sequence[int]) -> Rows:
    """Return what became of frames, by how many a second were offered."""
    with ExitStack() as stack:
        lab, ends = stack.enter_context(namespace()), [stack.enter_context(namespace()) for _ in range(2)]
        wire = Wire(lab, [ImpairedLink("c1", "tap-c", "tap-n", SCENARIO, seed=1)])
        stack.callback(wire.close)
        for pid, device, address in zip(ends, ("tap-c", "tap-n"), (RECEIVER, SENDER), strict=True):
            run_in(lab, "ip", "link", "set", device, "netns", str(pid))
            run_in(pid, "ip", "addr", "add", f"{address}/24", "dev", device)
            run_in(pid, "ip", "link", "set", device, "txqueuelen", "100000", "up")
        run_in(ends[1], "ping", "-c", "1", RECEIVER)  # so that each knows the other's address
        return {f"{rate:,} frames/s": _measure_rate(rate, wire.process.pid, ends) for rate in offered}


def _measure_rate(rate: int, wire: int, ends: list[int]) -> Row:
    with running("-m", "bench.wire", "receive", inside=ends[0]) as receiver:
        before = cpu_of(wire)
        with running("-m", "bench.wire", "send", str(rate), inside=ends[1]) as sender:
            sent = int(sender.said)
        came, median, late = map(float, receiver.next_line().split())
        cost = 1e6 * (cpu_of(wire) - before) / came
    return {
        "carried": came / SECONDS,
        "lost": 100 * (1 - came / sent),
        "cost": cost,
        "late": 1e3 * late,
        "median": 1e3 * median,
    }


def obstacle() -> str | None:
    """Return why this machine cannot measure it, or None."""
    return None if os.geteuid() == 0 else "it makes network namespaces: run it as root"


TABLE = Table(
    title="The wire",
    about=(
        f"Frames of {SIZE} bytes and headers through one link, RTT {RTT * 1e3:.0f} ms, no loss; how late each comes out, counted"
        " from its arrival at the device."
    ),
    case="offered",
    columns=(
        Column("carried", "frames/s"),
        Column("lost", "lost, %", 1),
        Column("cost", "processor, µs a frame", 1),
        Column("median", "late, ms, p50", 2),
        Column("late", "late, ms, p99", 2),
    ),
    compared="cost",
)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["send", rate]:
            send(int(rate))
        case ["receive"]:
            receive()
