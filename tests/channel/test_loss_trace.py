import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.channel.loss_trace import LossTrace, PacketFate, parse_loss_trace
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
