"""Captures that were read wrongly once, each a case of a kind (`captures/`), and what is right for each."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from eloquent.cli import app
from eloquent.errors import ConfigurationError
from eloquent.measure import findings as found
from eloquent.measure.findings import Findings
from eloquent.measure.flows import Vantage

CAPTURES = Path(__file__).parent / "captures"
OURS = ("10.0.0.2", 40000)


def read(name: str, **choice) -> tuple[Findings, list[str]]:
    warnings: list[str] = []
    streams = found.read_streams(CAPTURES / name, warn=warnings.append, **choice)
    return found.find(name, None, streams, warnings), warnings


@pytest.mark.parametrize(
    ("name", "connections", "packets", "lost"),
    [
        ("micro-and-nano.pcapng", 1, 43, 3),  # each interface has its own clock resolution
        ("ethernet-and-tun.pcapng", 1, 43, 3),  # and its own link type
        ("ports-used-again-lower.pcap", 2, 40, 0),  # a SYN begins a connection, also behind an open one
        ("sequence-far-away.pcap", 2, 40, 0),
        ("keepalive-repeats-a-byte.pcap", 1, 20, 0),
        ("masquerade.pcap", 1, 43, 3),  # before and behind a NAT: once
        ("pppoe.pcap", 1, 43, 3),
    ],
)
def test_what_a_capture_tells(name: str, connections: int, packets: int, lost: int):
    figures, warnings = read(name)
    assert (figures.connections, figures.packets, figures.lost) == (connections, packets, lost)
    assert figures.unknown == 0
    assert figures.rtt_s == pytest.approx(0.05, abs=0.002)
    assert warnings == []


@pytest.mark.parametrize("name", ["cut-in-header.pcap", "cut.pcapng"])
def test_of_a_cut_capture_what_is_whole_is_read(name: str):
    figures, (warning,) = read(name)
    assert (figures.packets, figures.lost) == (43, 3)
    assert warning == f"{name}: the file ends within a record: what stands before it was read, 84 packets"
    assert figures.warnings == (warning,)


def test_without_acknowledgements_nothing_is_known_near_the_sender(tmp_path: Path):
    figures, (warning,) = read("one-way-sender.pcap", vantage=Vantage.SENDER)
    assert (figures.packets, figures.lost, figures.loss_rate, figures.unknown) == (0, 0, None, 43)
    assert "no acknowledgement of 10.0.0.2:40000" in warning
    with pytest.raises(ConfigurationError, match="no acknowledgement"):
        read("one-way-sender.pcap")
    answer = CliRunner().invoke(
        app,
        ["measure", "read", str(CAPTURES / "one-way-sender.pcap"), "--vantage", "sender", "--out", str(tmp_path)],
    )
    assert answer.exit_code == 0, answer.output
    assert "warning: no acknowledgement" in answer.output
    assert {path.name for path in tmp_path.iterdir()} == {"measurement.json", "figure4.png", "figure4.svg"}


def test_a_study_reads_its_own_connections_only():
    figures, _ = read("ours-and-browser.pcap", port=443, sockets={OURS})
    assert (figures.connections, figures.packets, figures.lost) == (1, 40, 0)
    figures, _ = read("ours-and-browser.pcap", port=443, server="203.0.113.5")
    assert (figures.connections, figures.packets, figures.lost) == (1, 40, 0)
    figures, _ = read("ours-and-browser.pcap", server="198.51.100.9")
    assert (figures.packets, figures.lost) == (52, 5)  # somebody else's
    with pytest.raises(
        ConfigurationError, match=r"2 servers: 203\.0\.113\.5 \(1\), 198\.51\.100\.9 \(1\); choose one by --server"
    ):
        read("ours-and-browser.pcap", port=443)
    with pytest.raises(ConfigurationError, match=r"no TCP connection with 203\.0\.113\.9 of port 443"):
        read("ours-and-browser.pcap", port=443, server="203.0.113.9")


def test_behind_a_nat_a_study_takes_what_leads_to_its_port_and_says_so():
    figures, (warning,) = read("pppoe.pcap", sockets={("192.168.1.7", 40000)})
    assert figures.packets == 43
    assert "none of the run's own connections" in warning
