"""A simulated session of the TCP model as a capture file, as tcpdump next to the server would have written it.

So what reads real captures (`eloquent.measure`) reads simulated ones: figure 4, and the loss traces of figure 7.

    python -m eloquent.sim.engine.capture OUT.pcap --scenario LINE --seconds 300 --seed 1

Rules of this file

- Raw IPv4 with TCP headers, timestamps (RFC 7323) and SACK blocks (RFC 2018), instants to the nanosecond; of the data the
  length alone is kept. A handshake stands before the session, so that a reader knows the place and the round-trip time.
- A segment is seen when it is sent, also one that is lost after; an acknowledgement when it arrives.
"""

import argparse
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from eloquent import scenarios, schemes
from eloquent.baselines.tcp_segment import Segment, SegmentAck, decode_segment
from eloquent.channel.scenario import Scenario
from eloquent.channel.schedule import Direction
from eloquent.errors import EloquentError
from eloquent.sim.engine.choices import Choices
from eloquent.sim.engine.session import constant_rate, run_session
from eloquent.sim.engine.trace import PacketLog, SessionTrace

BEGIN = 10.0  # seconds of the capture's clock at which the session begins
FIGURE_4_SEED = 15
_NANOSECOND_PCAP, _LINKTYPE_RAW, _SNAPLEN = 0xA1B23C4D, 101, 128
_SERVER, _CLIENT = (bytes([10, 0, 0, 1]), 7000), (bytes([10, 0, 0, 2]), 50000)
_SYN, _PUSH, _ACK = 0x02, 0x08, 0x10
_TICK = 0.001  # seconds; of the timestamps, as in Linux


class SegmentLog(PacketLog):
    """A packet log that also keeps what the segments say."""

    def __init__(self) -> None:
        super().__init__()
        self.segments: list[Segment | SegmentAck] = []

    def add(
        self, *, sent_s: float, arrived_s: float | None, direction: Direction, data: bytes, size_bytes: int
    ) -> None:
        """Note one packet."""
        super().add(sent_s=sent_s, arrived_s=arrived_s, direction=direction, data=data, size_bytes=size_bytes)
        self.segments.append(decode_segment(data))


def captured_session(
    scheme: str,
    scenario: Scenario,
    *,
    seed: int,
    seconds: float,
    choices: Choices = Choices(),  # noqa: B008 - frozen
) -> tuple[SessionTrace, bytes]:
    """Run a session of the TCP model and write its capture.

    Args:
        scheme: `tcp` or `tcp-bbr`.
        scenario: The link.
        seed: Seed of the session.
        seconds: Its length, with a token every 100 ms.
        choices: What the simulation assumes.

    Returns:
        The session, and the bytes of the capture file.
    """
    log = SegmentLog()
    trace = run_session(
        schemes.get(scheme), scenario, seed=seed, generated_s=constant_rate(seconds), choices=choices, record=log
    )
    return trace, to_pcap(log, rtt=scenario.rtt)


def figure_4() -> tuple[SessionTrace, bytes]:
    """Run the session of figure 4: the TCP model for 12 s over one of the traces of figure 7."""
    return captured_session("tcp-bbr", scenarios.load("trace-walk"), seed=FIGURE_4_SEED, seconds=12.0)


def to_pcap(log: SegmentLog, *, rtt: float) -> bytes:
    """Write what a capture next to the sender would hold.

    Args:
        log: The packets of a session of the TCP model.
        rtt: Round-trip time of the link in seconds, for the handshake.
    """
    head = struct.pack("<IHHiIII", _NANOSECOND_PCAP, 2, 4, 0, 0, _SNAPLEN, _LINKTYPE_RAW)
    packets = sorted([*_handshake(rtt), *_packets(log)], key=lambda item: item[0])
    return head + b"".join(
        _record(at_s, number, packet, length) for number, (at_s, packet, length) in enumerate(packets)
    )


_Seen = tuple[float, bytes, int]  # instant, TCP header, bytes of data


def _handshake(rtt: float) -> Iterator[_Seen]:
    asked = -rtt
    yield asked, _tcp(to_client=False, sequence=0, acknowledged=0, flags=_SYN, stamps=(_stamp(asked), 0)), 0
    yield (
        asked + 1e-6,
        _tcp(to_client=True, sequence=0, acknowledged=1, flags=_SYN | _ACK, stamps=(_stamp(asked), _stamp(asked))),
        0,
    )
    yield 0.0, _tcp(to_client=False, sequence=1, acknowledged=1, flags=_ACK, stamps=(_stamp(0.0), _stamp(asked))), 0


def _packets(log: SegmentLog) -> Iterator[_Seen]:
    echoes = _echoes(log)
    for number, (row, message) in enumerate(zip(log.rows, log.segments, strict=True)):
        if isinstance(message, Segment):
            stamps = (_stamp(row.sent_s), 0)
            header = _tcp(
                to_client=True, sequence=1 + message.offset, acknowledged=1, flags=_ACK | _PUSH, stamps=stamps
            )
            yield row.sent_s, header, len(message.data)
        elif row.arrived_s is not None:
            blocks = [end + 1 for block in message.blocks for end in block]
            stamps = (_stamp(row.sent_s), echoes[number])
            acknowledged = 1 + message.next_offset
            yield (
                row.arrived_s,
                _tcp(to_client=False, sequence=1, acknowledged=acknowledged, flags=_ACK, stamps=stamps, blocks=blocks),
                0,
            )


def _echoes(log: SegmentLog) -> dict[int, int]:
    """Return the timestamp that each acknowledgement echoes, by the packet's number (RFC 7323 §4.3)."""
    happened: list[tuple[float, bool, int]] = []  # instant, is an acknowledgement, number
    for number, (row, message) in enumerate(zip(log.rows, log.segments, strict=True)):
        if isinstance(message, SegmentAck):
            happened.append((row.sent_s, True, number))
        elif row.arrived_s is not None:
            happened.append((row.arrived_s, False, number))
    recent = last_sent = 0
    echoes = {}
    for _, _, number in sorted(happened, key=lambda item: (round(item[0], 9), item[1], item[2])):
        message = log.segments[number]
        if isinstance(message, SegmentAck):
            last_sent, echoes[number] = message.next_offset, recent
        elif message.offset <= last_sent:
            recent = max(recent, _stamp(log.rows[number].sent_s))
    return echoes


def _stamp(at_s: float) -> int:
    return round((BEGIN + at_s) / _TICK)


def _tcp(
    *,
    to_client: bool,
    sequence: int,
    acknowledged: int,
    flags: int,
    stamps: tuple[int, int],
    blocks: Sequence[int] = (),
) -> bytes:
    source, target = (_SERVER, _CLIENT) if to_client else (_CLIENT, _SERVER)
    options = struct.pack(">BBBBII", 1, 1, 8, 10, *stamps)
    if blocks:
        options += struct.pack(f">BBBB{len(blocks)}I", 1, 1, 5, 2 + 4 * len(blocks), *blocks)
    offset = (20 + len(options)) // 4 << 4
    return (
        struct.pack(">HHIIBBHHH", source[1], target[1], sequence, acknowledged, offset, flags, 0xFFFF, 0, 0) + options
    )


def _record(at_s: float, number: int, tcp: bytes, length: int) -> bytes:
    """Return one packet of the file: IPv4 around a TCP header, and no data; the lengths tell of it."""
    to_client = tcp[:2] == _SERVER[1].to_bytes(2)
    source, target = (_SERVER, _CLIENT) if to_client else (_CLIENT, _SERVER)
    total = 20 + len(tcp) + length
    packet = struct.pack(">BBHHHBBH4s4s", 0x45, 0, total, number & 0xFFFF, 0, 64, 6, 0, source[0], target[0]) + tcp
    nanoseconds = round((BEGIN + at_s) * 1e9)
    return struct.pack("<IIII", *divmod(nanoseconds, 10**9), len(packet), total) + packet


def main() -> None:
    """Write one capture."""
    parser = argparse.ArgumentParser(description="Simulate a TCP stream and write what tcpdump would have.")
    parser.add_argument("out", type=Path, help="capture file to write")
    parser.add_argument("--scheme", default="tcp-bbr", choices=("tcp", "tcp-bbr"))
    parser.add_argument("--scenario", default="paper-default", help="a shipped name, a YAML file, or a line")
    parser.add_argument("--seconds", type=float, default=300.0, help="length of the stream, a token every 100 ms")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    try:
        scenario = scenarios.load(options.scenario)
        _, capture = captured_session(options.scheme, scenario, seed=options.seed, seconds=options.seconds)
        options.out.write_bytes(capture)
    except (EloquentError, OSError) as error:
        parser.exit(1, f"error: {error}\n")


if __name__ == "__main__":
    main()
