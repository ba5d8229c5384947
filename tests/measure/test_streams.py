from dataclasses import replace
from pathlib import Path

import pytest

from eloquent.errors import ConfigurationError
from eloquent.measure.flows import FlowDirection, Vantage, directions
from eloquent.measure.losses import fates
from eloquent.measure.packets import read_capture
from eloquent.measure.streams import choose, doubts

from .conftest import CLIENT, Story


@pytest.fixture
def seen(tmp_path: Path) -> FlowDirection:
    (direction,) = directions(read_capture(Story(lambda number, now: False, tokens=5).write(tmp_path / "a", "sender")))
    return direction


def pick(found: list[FlowDirection], **choice) -> tuple[list[FlowDirection], list[str]]:
    warnings: list[str] = []
    values = {"vantage": None, "port": None, "server": "", "sockets": (), "warn": warnings.append}
    return choose(found, **(values | choice)), warnings


def test_connections_without_a_handshake_are_left_out_and_counted(seen: FlowDirection):
    open_before = replace(seen, vantage=None, receiver=(CLIENT[0], 9))
    assert pick([seen, open_before, open_before])[0] == [seen]
    assert "2 connections were left out" in pick([seen, open_before, open_before])[1][0]
    assert pick([seen, open_before], vantage=Vantage.SENDER) == ([seen, open_before], [])
    assert pick([open_before]) == ([open_before], [])


def test_several_servers_are_not_put_together(seen: FlowDirection):
    other = replace(seen, sender=("10.0.0.9", 8000), receiver=(CLIENT[0], 9))
    with pytest.raises(ConfigurationError, match="2 servers"):
        pick([seen, other])
    assert pick([seen, other], server="10.0.0.9") == ([other], [])
    assert pick([seen, other], sockets={seen.receiver, other.receiver}) == ([seen, other], [])
    assert pick([seen, other], sockets={other.receiver}) == ([other], [])


def test_a_capture_that_missed_packets_or_joined_them_is_doubted(seen: FlowDirection):
    warnings: list[str] = []
    doubts([fates(seen)], warnings.append)
    assert warnings == []
    doubts([fates(replace(seen, data=seen.data[:-1], segment=60))], warnings.append)
    assert "100 bytes were acknowledged that no packet in it carries" in warnings[0]
    assert "4 packets are longer than the network carries" in warnings[1]


@pytest.mark.parametrize(
    ("rtt", "shorter", "is_amid"), [(0.4, 0.001, False), (0.4, 0.15, True), (0.02, 0.009, False), (0.02, 0.011, True)]
)
def test_a_capture_in_the_middle_of_the_path_is_doubted(seen: FlowDirection, rtt: float, shorter: float, is_amid: bool):
    warnings: list[str] = []
    doubts([fates(replace(seen, rtt_s=rtt, shorter_wait_s=shorter))], warnings.append)
    assert [("in the middle of their path" in one) for one in warnings] == [True] * is_amid
