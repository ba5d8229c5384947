"""The reader of a simulated session: step by step it shows what `qoe.playout` finds afterwards."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent import scenarios, schemes
from eloquent.errors import ConfigurationError
from eloquent.protocol.frames import Ack, ReaderState, decode_payload
from eloquent.qoe.playout import Playout, display_times
from eloquent.sim.engine.choices import Choices
from eloquent.sim.engine.reader import Reader, SimulatedClient
from eloquent.sim.engine.session import constant_rate, run_session
from eloquent.sim.engine.trace import PacketLog

GAPS = st.lists(st.integers(0, 600), min_size=1, max_size=40)  # milliseconds
PLAYOUTS = st.builds(Playout, st.sampled_from([0.0, 0.1, 0.15]), st.integers(1, 5), st.integers(1, 3))


def shown_through(client: SimulatedClient, arrived_s: list[float]) -> list[float]:
    """Return, after each token, the instant through which there is something to show."""
    found = []
    for now in arrived_s:
        client.take_token(now)
        found.append(now + client.report(now).buffered_s)
    return found


@given(GAPS, PLAYOUTS)
def test_the_buffer_lasts_as_long_as_what_arrived_is_displayed(gaps: list[int], playout: Playout) -> None:
    arrived = [sum(gaps[: index + 1]) / 1e3 for index in range(len(gaps))]
    found = shown_through(SimulatedClient(Reader(playout), 60.0), arrived)
    for count, (now, until) in enumerate(zip(arrived, found, strict=True), start=1):
        more = [now + 1e3] * 5  # so that nothing is cut short by the end of the answer
        displayed = display_times(arrived[:count] + more, playout)[count - 1]
        is_shown = displayed < now + 900
        assert until == pytest.approx(displayed + playout.token_time if is_shown else now)


def test_a_reader_turns_away_and_back() -> None:
    client = SimulatedClient(Reader(away=(0.25, 0.75)), 20.0)
    assert client.next_change() == 5.0
    client.turn()
    assert client.report(5.0) == ReaderState(looking=False)
    assert client.next_change() == 15.0
    client.turn()
    assert client.report(15.0) == ReaderState(looking=True)
    assert client.next_change() == math.inf


def test_a_reader_in_a_line_of_choices() -> None:
    assert Choices(reader=Reader(Playout(0.15, 2))).to_line() == "reader=150ms/2/1"
    assert Choices(reader=Reader(away=(0.25, 0.75))).to_line() == "reader=0ms/1/1/away:0.25-0.75"


@pytest.mark.parametrize("away", [(0.5, 0.4), (-0.1, 0.5), (0.5, 1.1)])
def test_a_stretch_outside_the_session_is_refused(away: tuple[float, float]) -> None:
    with pytest.raises(ConfigurationError):
        Reader(away=away)


class Acks(PacketLog):
    """A packet log that keeps the acknowledgements alone, and what they say."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[float, Ack]] = []

    def add(self, *, sent_s: float, data: bytes, **_: object) -> None:
        """Keep an acknowledgement."""
        if isinstance(payload := decode_payload(data), Ack):
            self.told.append((sent_s, payload))


def test_a_session_reports_its_reader() -> None:
    acks = Acks()
    choices = Choices(reader=Reader(Playout(0.15), away=(0.25, 0.75)))
    scheme, scenario = schemes.get("eloquent-adaptive"), scenarios.load("paper-default")
    run_session(scheme, scenario, seed=1, generated_s=constant_rate(20.1), choices=choices, record=acks)
    told = [(at, ack.reader) for at, ack in acks.told if ack.reader is not None]
    assert len(told) >= len(acks.told) - 1  # all but that of the first token
    assert {at: state.looking for at, state in told if at in {5.0, 15.0}} == {5.0: False, 15.0: True}
    assert all(state.looking == (not 5.0 <= at < 15.0) for at, state in told if at not in {5.0, 15.0})
    assert told[-1][1].buffered_s > 5.0
