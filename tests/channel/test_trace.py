"""Loss traces and Mahimahi traces: reading, writing, and what they become as loss models."""

from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.channel.loss import format_loss, parse_loss
from eloquent.channel.scenario import parse_line
from eloquent.channel.schedule import Direction, Schedule
from eloquent.channel.trace import (
    LossTrace,
    Outage,
    PacketFate,
    TraceLoss,
    expand_traces,
    format_shares,
    parse_loss_trace,
    parse_mahimahi,
    parse_shares,
)
from eloquent.errors import ConfigurationError

TEXT = """eloquent loss trace 1
# a phone, walked around
0.000000 arrived
0.100000 lost
0.210000 lost

0.290000 arrived
0.500000 end
"""
TRACE = LossTrace(
    (
        PacketFate(0.0, lost=False),
        PacketFate(0.1, lost=True),
        PacketFate(0.21, lost=True),
        PacketFate(0.29, lost=False),
    ),
    0.5,
)


def schedule(model: TraceLoss, seed: int = 1) -> Schedule:
    return Schedule(model, seed=seed, link="c1", direction=Direction.DOWN)


def test_a_loss_trace_is_read_and_written():
    assert parse_loss_trace(TEXT) == TRACE
    assert parse_loss_trace(TRACE.to_text("from\na test")) == TRACE
    assert TRACE.to_text("from\na test").splitlines()[:4] == [
        "eloquent loss trace 1",
        "# from",
        "# a test",
        "0.000000 arrived",
    ]
    assert TRACE.loss_rate == 0.5
    assert TRACE.bursts() == [2]


@given(
    st.lists(st.tuples(st.integers(0, 10**8), st.booleans()), min_size=1).map(sorted),
    st.integers(1, 10**6),
)
def test_any_loss_trace_survives_its_file(packets: list[tuple[int, bool]], tail: int):
    trace = LossTrace(tuple(PacketFate(at / 1e6, lost=lost) for at, lost in packets), (packets[-1][0] + tail) / 1e6)
    assert parse_loss_trace(trace.to_text()) == trace


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line"),
        ("0.0 arrived\n", "first line"),
        (TEXT.replace("0.500000 end\n", ""), "cut off"),
        (TEXT + "0.6 lost\n", "line 9"),
        (TEXT.replace("0.100000 lost", "0.1 gone"), "line 4"),
        (TEXT.replace("0.100000 lost", "-1 lost"), "line 4"),
        (TEXT.replace("0.100000 lost", "0.4 lost"), "order"),
        (TEXT.replace("0.500000 end", "0.2 end"), "end at"),
        ("eloquent loss trace 1\n1 end\n", "at least one packet"),
    ],
)
def test_a_bad_loss_trace_is_refused(text: str, message: str):
    with pytest.raises(ConfigurationError, match=message):
        parse_loss_trace(text)


def test_a_slot_has_the_share_of_its_packets_or_the_nearest_fate():
    # Slots of 100 ms: one arrives; one is lost; one of two is lost; nobody, nearest is the arrival at 290 ms, twice.
    assert TRACE.to_model().shares == (0.0, 1.0, 0.5, 0.0, 0.0)
    # 20 ms: the loss at 100 ms reaches from the middle of 0..100 ms, where the arrival at 0 ms ends.
    assert TRACE.to_model(slot=0.02).shares[:11] == (0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)


def test_a_schedule_replays_the_trace_and_begins_anew():
    losses = schedule(TRACE.to_model())
    assert [losses.loss_at(offset / 10) for offset in range(10)] == [0, 1, 0.5, 0, 0] * 2
    assert [stretch.start_s for stretch in islice(losses.states(), 5)] == [0, 0.1, 0.2, 0.3, 0.6]
    assert losses.mean_loss(0, 5) == pytest.approx(TRACE.to_model().stationary_loss) == pytest.approx(0.3)


def test_a_random_start_is_a_rotation_that_the_seed_chooses():
    shares = tuple(number / 10 for number in range(10))
    model = TraceLoss(slot=0.1, shares=shares, start=True)
    seen = set()
    for seed in range(40):  # 40 draws of 10 starts: all the same with probability 1e-39
        losses = schedule(model, seed)
        first = round(losses.loss_at(0.0) * 10)
        assert [losses.loss_at(slot / 10) for slot in range(12)] == [((first + slot) % 10) / 10 for slot in range(12)]
        seen.add(first)
    assert len(seen) > 1
    assert [shares[state] for state in islice(model.states(Random(3)), 3)] == [
        shares[state] for state in islice(model.states(Random(3)), 3)
    ]


def test_a_trace_stands_in_a_scenario_line():
    model = TraceLoss(slot=0.02, shares=(0.0, 0.0, 1.0, 0.5), start=True)
    text = "trace(slot=20ms,shares=0*2;1;0.5,start=random)"
    assert format_loss(model) == text
    assert parse_loss(text) == model
    scenario = parse_line(f"rtt=400ms loss={text}")
    assert scenario.loss_down == model
    assert parse_line(scenario.to_line()) == scenario
    assert (model.best_loss, model.worst_loss) == (0.0, 1.0)


@given(st.lists(st.integers(0, 200), min_size=1, max_size=300))
def test_shares_survive_being_written(steps: list[int]):
    model = TraceLoss(slot=0.1, shares=tuple(step / 200 for step in steps))
    assert parse_shares(format_shares(model.shares)) == model.shares
    assert parse_loss(format_loss(model)) == model
    assert len(model.loss_by_state) <= 201


@pytest.mark.parametrize(
    "text", ["trace(slot=100ms,shares=)", "trace(slot=100ms,shares=2)", "trace(slot=0.5ms,shares=1)", "trace(slot=1s)"]
)
def test_a_bad_model_is_refused(text: str):
    with pytest.raises(ConfigurationError):
        parse_loss(text)


def test_mahimahi_gives_rates_and_outages():
    trace = parse_mahimahi(["0", "100", "100", "900", "1000", "2000"])
    assert trace.length_s == 2.0
    assert trace.mean_rate == 6 * 1500 / 2
    assert trace.rates(1.0) == [4 * 1500.0, 1 * 1500.0]
    assert trace.outages() == [Outage(0.1, 0.9), Outage(1.0, 2.0)]
    assert [outage.length_s for outage in trace.outages(0.9)] == [1.0]
    model = trace.to_model(threshold=0.9)
    assert model.shares == (0.0,) * 10 + (1.0,) * 10
    assert trace.to_model(threshold=0.5, slot=0.4).shares == (0.75, 1.0, 0.75, 1.0, 1.0)


@pytest.mark.parametrize("lines", [[], ["x"], ["5", "4"], ["0"], ["-1"]])
def test_a_bad_mahimahi_trace_is_refused(lines: list[str]):
    with pytest.raises(ConfigurationError):
        parse_mahimahi(lines)


def test_files_become_losses_in_the_line():
    files = {"a.txt": TEXT, "b.down": "0\n1000\n2000\n"}
    line = "rtt=1s loss=trace(file=a.txt) loss_up=trace(file=b.down, slot=500ms, outage=900ms, start=random)"
    assert expand_traces(line, files.__getitem__) == (
        "rtt=1s loss=trace(slot=100ms,shares=0;1;0.5;0*2) loss_up=trace(slot=500ms,shares=1*4,start=random)"
    )
    assert expand_traces("rtt=1s loss=none", files.__getitem__) == "rtt=1s loss=none"
    with pytest.raises(ConfigurationError, match="speed"):
        expand_traces("trace(file=a.txt,speed=2)", files.__getitem__)
