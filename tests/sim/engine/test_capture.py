"""A simulated session as a capture: what reads captures finds in it what happened."""

from pathlib import Path

import pytest

from eloquent import scenarios
from eloquent.channel.schedule import Direction
from eloquent.measure.findings import read_streams
from eloquent.measure.flows import Vantage
from eloquent.measure.transmissions import Fate
from eloquent.sim.engine.capture import captured_session, figure_4


@pytest.mark.parametrize("scheme", ["tcp", "tcp-bbr"])
def test_the_measurement_study_finds_the_losses_that_were_simulated(scheme: str, tmp_path: Path):
    """Nothing is random here but the seeds; a lost acknowledgement cannot mislead, for none is lost."""
    session, capture = captured_session(scheme, scenarios.load("paper-default"), seed=1, seconds=60.0)
    (tmp_path / "session.pcap").write_bytes(capture)
    (stream,) = read_streams(tmp_path / "session.pcap")
    assert (stream.vantage, stream.rtt_s) == (Vantage.SENDER, pytest.approx(0.4))

    truth = [row.arrived_s is None for row in session.packets if row.direction is Direction.DOWN]
    told = [packet.fate is Fate.LOST for packet in stream.transmissions]
    assert len(told) == len(truth)
    assert 30 < sum(truth) < 150
    assert sum(one != two for one, two in zip(told, truth, strict=True)) <= 0.02 * len(truth)


def test_figure_4_shows_packets_that_wait_for_a_retransmission(tmp_path: Path):
    session, capture = figure_4()
    (tmp_path / "figure-4.pcap").write_bytes(capture)
    (stream,) = read_streams(tmp_path / "figure-4.pcap")
    assert session.outcome == "ok"
    assert sum(packet.blocked for packet in stream.transmissions) >= 5
    assert any(packet.blocking for packet in stream.transmissions)
    assert figure_4()[1] == capture
