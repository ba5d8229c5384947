import json
from pathlib import Path

import dpkt
import pytest

from eloquent import scenarios
from eloquent.channel.loss_trace import parse_loss_trace
from eloquent.errors import ConfigurationError
from eloquent.measure import findings as found
from eloquent.measure.flows import Vantage
from eloquent.measure.sessions import read_sessions
from eloquent.records.rows import SessionRow, TokenRow
from eloquent.records.run_directory import RunDirectory

from .conftest import CLIENT, EPOCH, Story

OFFSET = EPOCH - 100.0  # the sessions' clock reads 100 s when the captures' reads EPOCH


def write_run(folder: Path, stories: list[Story]) -> RunDirectory:
    run = RunDirectory.create(folder, "a")
    run.write_manifest(
        {
            "run": "a",
            "scenario": {"name": "measured", "line": ""},
            "seed": 0,
            "schemes": ["sse"],
            "clock": {"wall_minus_monotonic_s": OFFSET},
        }
    )
    with run.session_writer("c") as sessions, run.token_writer("c") as tokens:
        for number, story in enumerate(stories, start=1):
            name = f"c.sse.r{number}"
            rendered = [at for at, reached in story.arrivals for _ in range(reached // 100)]
            count = 0
            for at, reached in story.arrivals:
                while count < reached // 100:
                    tokens.write(TokenRow(name, count, None, 100.0 + at))
                    count += 1
            assert rendered
            outcome = "ok" if count == story.tokens else "unavailable"
            sessions.write(SessionRow(name, "c", "sse", number, 99.9, 100.0 + story.arrivals[-1][0], outcome, count))
    return run


def test_the_figures_of_a_run_and_its_capture(lossy: Story, tmp_path: Path):
    run = write_run(tmp_path, [lossy])
    streams = found.read_streams(lossy.write(tmp_path / "a.pcap", "sender"))
    sessions = read_sessions(run)
    figures = found.find("a", sessions, streams)
    assert (figures.sessions, figures.failed, figures.tokens) == (1, 0, 300)
    assert (figures.packets, figures.lost) == (len(lossy.sent), len(lossy.lost))
    assert figures.retransmissions == sum(one.again for one in lossy.sent)
    gaps = [
        two - one
        for one, two in zip(lossy.arrivals, lossy.arrivals[1:], strict=False)
        for one, two in [(one[0], two[0])]
    ]
    stalls = sorted(gap for gap in gaps if gap > 0.2 + 1e-9)
    assert figures.stalls == len(stalls) > 10
    assert figures.stall_p95_s is not None
    assert stalls[-3] <= figures.stall_p95_s <= stalls[-1]
    assert figures.stall_ratio == pytest.approx(sum(stalls) / sum(gaps))
    assert figures.rtt_s == pytest.approx(lossy.rtt, abs=1e-3)
    assert (figures.vantage, figures.connections) == ("sender", 1)
    assert found.stream_of(sessions[0], streams) is streams[0]


def test_a_connection_that_was_open_before_the_capture_is_left_out(lossy: Story, tmp_path: Path):
    """Such as another program's; with a vantage it counts."""
    path, both = lossy.write(tmp_path / "a.pcap", "sender"), tmp_path / "both.pcap"
    with path.open("rb") as file, both.open("wb") as copy:
        writer = dpkt.pcap.Writer(copy, nano=True)
        for at_s, frame in dpkt.pcap.Reader(file):
            writer.writepkt(frame, ts=at_s)
            packet = dpkt.ethernet.Ethernet(frame)
            tcp = packet.data.data
            if tcp.flags & dpkt.tcp.TH_SYN:
                continue
            tcp.sport, tcp.dport = (port + 1 if port == CLIENT[1] else port for port in (tcp.sport, tcp.dport))
            writer.writepkt(bytes(packet), ts=at_s)
    (stream,) = found.read_streams(both)
    assert stream.direction.receiver[1] == CLIENT[1]
    assert len(found.read_streams(both, vantage=Vantage.SENDER)) == 2


def test_the_longest_block(tmp_path: Path):
    story = Story(lambda number, now: number == 5, tokens=20)
    (stream,) = found.read_streams(story.write(tmp_path / "a.pcap", "receiver"))
    again = next(one for one in story.sent if one.again)
    # Token 6 came first of those that waited, for the retransmission of token 5.
    assert max(found.waits(stream)) == pytest.approx(again.at_s - 0.6, abs=1e-5)
    assert len(found.waits(stream)) == sum(one.blocked for one in stream.transmissions)


def test_sessions_that_failed_enter_no_figure(tmp_path: Path):
    cut = Story(lambda number, now: number >= 10, tokens=12)
    whole = Story(lambda number, now: False, tokens=12)
    figures = found.find("a", read_sessions(write_run(tmp_path, [cut, whole])), None)
    assert (figures.sessions, figures.failed, figures.tokens, figures.stalls) == (1, 1, 12, 0)
    assert (figures.stall_p95_s, figures.loss_rate) == (None, None)


def test_what_is_written_can_be_run_as_a_scenario(lossy: Story, tmp_path: Path):
    streams = found.read_streams(lossy.write(tmp_path / "a.pcap", "sender"))
    figures = found.find("a", None, streams)
    found.write(tmp_path / "out", figures, streams, slot=0.05)
    trace = parse_loss_trace((tmp_path / "out" / "loss-trace.txt").read_text())
    assert trace.loss_rate == figures.loss_rate
    scenario = scenarios.load(tmp_path / "out" / "scenario.yaml")
    assert scenario.rtt == pytest.approx(lossy.rtt, abs=1e-3)
    assert scenario.loss_down == trace.to_model(slot=0.05, start=True)
    assert found.read_findings(tmp_path / "out") == figures
    assert json.loads((tmp_path / "out" / "measurement.json").read_text())["stalls"] is None


def test_a_port_without_data_and_a_file_without_figures_are_refused(lossy: Story, tmp_path: Path):
    path = lossy.write(tmp_path / "a.pcap", "sender")
    assert len(found.read_streams(path, port=8000, vantage=Vantage.SENDER)) == 1
    with pytest.raises(ConfigurationError, match="port 9"):
        found.read_streams(path, port=9)
    for name in ("gone.json", "a.pcap"):
        with pytest.raises(ConfigurationError, match="no measurement"):
            found.read_findings(tmp_path / name)
