import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.channel.loss_trace import HEADER, LossTrace, PacketFate, parse_loss_trace
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


@pytest.mark.parametrize("origin", ["1700000000", "1700000000000", "123456"])
def test_times_since_1970_count_from_the_first_packet(origin: str):
    text = f"{HEADER}\n{origin}.25 arrived\n{origin}.35 lost\n{origin}.75 end\n"
    trace = parse_loss_trace(text)
    assert [one.sent_s for one in trace.packets] == pytest.approx([0.0, 0.1], abs=1e-3)
    assert len(trace.to_model(slot=0.05).shares) in {10, 11}


@pytest.mark.parametrize(
    "line",
    ["1700000000.0 lost", "99999999999999999999 end", "9" * 5000 + " lost", "٣ lost", "nan lost"],
)
def test_a_time_that_is_none_names_its_line(line: str):
    with pytest.raises(ConfigurationError, match=r"^line 3: "):
        parse_loss_trace(f"{HEADER}\n0.5 arrived\n{line}\n0.4 end\n")


def test_a_comment_may_hold_any_separator():
    assert len(parse_loss_trace(f"{HEADER}\n# one\u2028two\x85three\x0bfour\n0.5 arrived\r\n0.6 end\r\n").packets) == 1


@pytest.mark.parametrize("slot", [0.0, 1e-6, 0.0004, 0.0015])
def test_a_slot_is_a_whole_number_of_milliseconds(slot: float):
    with pytest.raises(ConfigurationError, match="whole number of milliseconds"):
        TRACE.to_model(slot=slot)


def test_a_day_in_slots_of_a_millisecond_is_too_much():
    trace = LossTrace((PacketFate(0.0, lost=True),), 86_400.0)
    assert len(trace.to_model(slot=1.0).shares) == 86_400
    with pytest.raises(ConfigurationError, match="5000000 slots at most, not 86400000"):
        trace.to_model(slot=0.001)
