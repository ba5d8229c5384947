"""What a capture and a per-token log show: loss, stalls, blocked packets, and the scenario that replays the losses."""

import json
from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from eloquent.calls.chat_stream import Kind
from eloquent.channel.loss import write_duration
from eloquent.errors import ConfigurationError
from eloquent.measure.capture_file import Warn
from eloquent.measure.flows import Vantage, directions
from eloquent.measure.losses import StreamFates, fates, loss_trace
from eloquent.measure.packets import no_warning, read_capture
from eloquent.measure.sessions import LoggedSession, first_kinds
from eloquent.measure.streams import choose, doubts
from eloquent.measure.tcp_packet import Address
from eloquent.qoe.ratios import percentile, ratio
from eloquent.qoe.session import STALL_THRESHOLD, gaps
from eloquent.records.run_directory import write_json, write_whole

TRACE, SCENARIO, FINDINGS = "loss-trace.txt", "scenario.yaml", "measurement.json"
DEFAULT_SLOT = 0.020  # seconds; well below the time between two tokens, so that each packet's own fate is replayed
_ASSUMED_RTT = 0.400  # seconds; of the scenario, where the capture does not tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The figures of a measurement; None where nothing was measured. Times in seconds, ratios 0..1.

    Attributes:
        name: Of the run or of the capture.
        sessions: Sessions that ended well.
        failed: The others.
        tokens: Tokens of the sessions that ended well, of all kinds.
        reasoning_tokens: Those of them that are pieces of reasoning.
        tool_call_tokens: Those that are pieces of tool calls.
        ttft_p50_s: Median time from the request to the first token, of whichever kind that is.
        ttft_p95_s: Its 95th percentile.
        ttft_kind: What the first tokens were: `text`, `reasoning` or `tool call`; several where sessions differ.
        stalls: Gaps longer than 200 ms.
        stall_p95_s: 95th percentile of the lengths of the stalls (Eloquent §2.2).
        gap_p95_s: 95th percentile of all gaps between tokens.
        stall_ratio: Time in stalls over stream time.
        connections: Connections of the capture that carried data.
        packets: Packets with data whose fate is known, retransmissions included.
        lost: Those that were lost.
        loss_rate: Lost over packets.
        retransmissions: Packets that carried only what had been sent before.
        blocked: Packets that arrived while bytes before them were missing.
        longest_block_s: Longest time that one of them waited.
        rtt_s: Median over the connections of the shortest round-trip time seen.
        vantage: Where the capture was made: `sender` or `receiver`.
        unknown: Packets with data whose fate is not known.
        warnings: What was left out of the capture, or makes its figures doubtful.
    """

    name: str
    sessions: int | None = None
    failed: int | None = None
    tokens: int | None = None
    reasoning_tokens: int | None = None
    tool_call_tokens: int | None = None
    ttft_p50_s: float | None = None
    ttft_p95_s: float | None = None
    ttft_kind: str | None = None
    stalls: int | None = None
    stall_p95_s: float | None = None
    gap_p95_s: float | None = None
    stall_ratio: float | None = None
    connections: int | None = None
    packets: int | None = None
    lost: int | None = None
    loss_rate: float | None = None
    retransmissions: int | None = None
    blocked: int | None = None
    longest_block_s: float | None = None
    rtt_s: float | None = None
    vantage: str | None = None
    unknown: int | None = None
    warnings: tuple[str, ...] = ()


def read_streams(
    capture: Path,
    *,
    vantage: Vantage | None = None,
    port: int | None = None,
    server: str = "",
    sockets: Collection[Address] = (),
    warn: Warn = no_warning,
) -> list[StreamFates]:
    """Return the fates of the packets of a capture, one stream a connection that carried data.

    Args:
        capture: A pcap or pcapng file.
        vantage: Where it was made; None takes what each connection's handshake tells, and leaves out connections that were
            open before the capture began, such as those of other programs, where there are others.
        port: Port of the server; None takes all connections.
        server: Address of the server; empty takes the only one.
        sockets: The study's own ends of its connections; empty where they are not known.
        warn: Told, in a sentence each, of what was left out and what cannot be known.

    Raises:
        ConfigurationError: The file cannot be read, holds several servers' connections or none, or does not tell where it
            was made.
    """
    heard: list[str] = []
    found = directions(read_capture(capture, heard.append))
    for sentence in heard:
        warn(f"{capture.name}: {sentence}")
    try:
        chosen = choose(found, vantage=vantage, port=port, server=server, sockets=sockets, warn=warn)
    except ConfigurationError as error:
        raise ConfigurationError("; ".join([f"{capture} holds {error}", *heard])) from None
    streams = [fates(one, vantage) for one in chosen]
    doubts(streams, warn)
    return streams


def find(
    name: str,
    sessions: Sequence[LoggedSession] | None,
    streams: Sequence[StreamFates] | None,
    warnings: Sequence[str] = (),
) -> Findings:
    """Compute the figures of a measurement (docs/measurement.md).

    Args:
        name: Of the run or of the capture.
        sessions: Those of the per-token log, where there is one.
        streams: Those of the capture, where there is one.
        warnings: What has to be said of the capture.
    """
    return Findings(
        name=name, warnings=tuple(warnings), **_token_figures(sessions or ()), **_packet_figures(streams or ())
    )


def _token_figures(sessions: Sequence[LoggedSession]) -> dict[str, Any]:
    if not sessions:
        return {}
    ended_well = [session for session in sessions if session.ended_well]
    all_gaps = [gap for session in ended_well for gap in gaps(session.rendered_s)]
    stalls = [gap for gap in all_gaps if gap > STALL_THRESHOLD]
    kinds = [kind for session in ended_well for kind in session.kinds.values()]
    waits_for_first = [session.rendered_s[0] - session.row.requested_s for session in ended_well]
    return {
        "sessions": len(ended_well),
        "failed": len(sessions) - len(ended_well),
        "tokens": sum(len(session.rendered_s) for session in ended_well),
        "reasoning_tokens": kinds.count(Kind.REASONING),
        "tool_call_tokens": kinds.count(Kind.TOOL_CALL),
        "ttft_p50_s": percentile(waits_for_first, 0.5),
        "ttft_p95_s": percentile(waits_for_first, 0.95),
        "ttft_kind": first_kinds(ended_well) or None,
        "stalls": len(stalls),
        "stall_p95_s": percentile(stalls, 0.95),
        "gap_p95_s": percentile(all_gaps, 0.95),
        "stall_ratio": ratio(stalls or [0.0], all_gaps),
    }


def _packet_figures(streams: Sequence[StreamFates]) -> dict[str, Any]:
    if not streams:
        return {}
    packets = [packet for stream in streams for packet in stream.transmissions]
    trips = [stream.rtt_s for stream in streams if stream.rtt_s is not None]
    return {
        "connections": len(streams),
        "packets": sum(stream.known for stream in streams),
        "lost": sum(stream.lost for stream in streams),
        "loss_rate": ratio([stream.lost for stream in streams], [stream.known for stream in streams]),
        "retransmissions": sum(packet.is_retransmission for packet in packets),
        "blocked": sum(packet.blocked for packet in packets),
        "longest_block_s": max((wait for stream in streams for wait in waits(stream)), default=None),
        "rtt_s": median(trips) if trips else None,
        "vantage": "/".join(sorted({stream.vantage.value for stream in streams})),
        "unknown": len(packets) - sum(stream.known for stream in streams),
    }


def waits(stream: StreamFates) -> list[float]:
    """Return how long each blocked packet waited for what was missing before it, in seconds."""
    offsets = [offset for _, offset in stream.delivered]
    times = []
    for packet in stream.transmissions:
        place = bisect_left(offsets, packet.end)
        if packet.blocked and packet.arrived_s is not None and place < len(offsets):
            times.append(stream.delivered[place][0] - packet.arrived_s)
    return times


def stream_of(session: LoggedSession, streams: Iterable[StreamFates]) -> StreamFates | None:
    """Return the stream that carried a session: that of its socket, or else the one with most bytes seen while it ran.

    Args:
        session: A session whose run noted the wall clock.
        streams: Those of the run's capture.
    """
    if session.wall_offset_s is None:
        return None
    own = [stream for stream in streams if session.socket in {stream.direction.sender, stream.direction.receiver}]
    streams = own or streams
    begin, end = session.row.requested_s + session.wall_offset_s, session.row.ended_s + session.wall_offset_s
    inside = [stream for stream in streams if begin - 0.01 <= stream.direction.data[0].at_s <= end]
    return max(inside, key=lambda stream: stream.direction.payload_bytes, default=None)


def write(out: Path, findings: Findings, streams: Sequence[StreamFates] | None, *, slot: float = DEFAULT_SLOT) -> None:
    """Write the figures, and the loss trace with the scenario that replays it: each session, from another place of it.

    Without a packet of known fate there is nothing to replay.

    Args:
        out: Where to; made where it is missing.
        findings: The figures.
        streams: The streams of the capture, where there is one.
        slot: Length of the scenario's slots in seconds.
    """
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / FINDINGS, asdict(findings))
    if not streams or not findings.packets:
        return
    trace = loss_trace(streams)
    origin = (
        f"{findings.name}: {findings.lost} of {findings.packets} packets with data lost, "
        f"capture near the {findings.vantage}"
    )
    write_whole(out / TRACE, trace.to_text(origin))
    rtt_s = findings.rtt_s if findings.rtt_s is not None else _ASSUMED_RTT
    measured = "the shortest seen" if findings.rtt_s is not None else "assumed, for the capture does not tell it"
    lines = (
        "description: >-",
        f"  Losses of the measurement {origin}. The round-trip time is {measured}.",
        f"rtt: {write_duration(round(rtt_s, 6))}",
        f"loss: trace(file={TRACE}, slot={write_duration(slot)}, start=random)",
    )
    write_whole(out / SCENARIO, "\n".join(lines) + "\n")


def read_findings(path: Path) -> Findings:
    """Read the figures of an earlier measurement.

    Args:
        path: `measurement.json`, or the directory that holds it.

    Raises:
        ConfigurationError: There are none.
    """
    file = path / FINDINGS if path.is_dir() else path
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return Findings(**found | {"warnings": tuple(found.get("warnings", ()))})
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigurationError(f"{path} holds no measurement: {error}") from None
