import pytest

from eloquent.baselines.tcp_loss import PERSISTENCE, Flight, Rack, Reordering


def sent(count: int, gap: float = 0.1) -> list[Flight]:
    return [Flight(10 * i, 10 * i + 10, i * gap) for i in range(count)]


def arrive(rack: Rack, segment: Flight, now: float) -> None:
    segment.sacked = True
    rack.arrived(segment, now)
    if segment.transmissions == 1:
        rack.reordering.measured(now - segment.sent_at)


def detect(rack: Rack, flight: list[Flight], now: float, *, recovering: bool = False) -> list[int]:
    rack.detect(flight, now, smoothed=0.4, recovering=recovering)
    return [i for i, segment in enumerate(flight) if segment.lost]


def test_nothing_is_lost_before_something_later_has_arrived() -> None:
    rack, flight = Rack(), sent(3)
    assert detect(rack, flight, 100.0) == []
    arrive(rack, flight[0], 0.4)
    assert detect(rack, flight, 100.0) == []
    assert rack.deadline is None


def test_a_round_trip_and_a_quarter_after_sending_it_is_lost() -> None:
    rack, flight = Rack(), sent(3, gap=0.05)
    arrive(rack, flight[1], 0.45)
    assert detect(rack, flight, 0.45) == []
    assert rack.deadline == pytest.approx(0.5)
    assert detect(rack, flight, 0.5) == [0]


@pytest.mark.parametrize("recovering", [True, False])
def test_without_reordering_there_is_no_window_in_recovery_or_after_three(*, recovering: bool) -> None:
    rack, flight = Rack(), sent(5, gap=0.01)
    for segment in flight[1 : 2 if recovering else 4]:
        arrive(rack, segment, segment.sent_at + 0.4)
    assert detect(rack, flight, 0.42 if recovering else 0.44, recovering=recovering) == [0]


def test_reordering_brings_the_window_back() -> None:
    rack, flight = Rack(), sent(5, gap=0.01)
    for place in (1, 0, 3):
        arrive(rack, flight[place], 0.43)
    assert detect(rack, flight, 0.43, recovering=True) == []
    assert rack.deadline is not None


def test_an_acknowledgement_sooner_than_any_round_trip_is_of_an_earlier_transmission() -> None:
    rack, flight = Rack(), sent(3)
    arrive(rack, flight[0], 0.4)
    flight[2].transmissions, flight[2].sent_at = 2, 0.6
    arrive(rack, flight[2], 0.65)
    assert detect(rack, flight, 10.0) == []


def test_a_lost_retransmission_is_found_too() -> None:
    rack, flight = Rack(), sent(3)
    flight[0].transmissions, flight[0].sent_at = 2, 0.15
    arrive(rack, flight[1], 0.5)
    assert detect(rack, flight, 0.5) == []
    arrive(rack, flight[2], 0.6)
    assert detect(rack, flight, 0.65) == [0]


@pytest.fixture
def reordering() -> Reordering:
    return Reordering(min_rtt=0.4, seen=True)


def width(reordering: Reordering, smoothed: float = 10.0) -> float:
    return reordering.window(smoothed=smoothed, certain=True)


def repeat(reordering: Reordering, now: float) -> None:
    """A D-SACK, and something that was sent in this round trip and is delivered."""
    reordering.repeated()
    reordering.delivered(sent_at=now, now=now)


def test_each_repetition_widens_the_window_by_a_quarter_up_to_the_smoothed_round_trip(reordering: Reordering) -> None:
    widths = [width(reordering, smoothed=0.4)]
    for i in range(5):
        repeat(reordering, float(i))
        widths.append(width(reordering, smoothed=0.4))
    assert widths == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])


def test_it_widens_once_in_a_round_trip_and_when_something_new_is_delivered(reordering: Reordering) -> None:
    reordering.repeated()
    assert reordering.steps == 1
    reordering.delivered(sent_at=0.6, now=1.0)
    assert reordering.steps == 2
    reordering.repeated()
    reordering.delivered(sent_at=0.9, now=1.3)  # sent before the window was widened
    assert reordering.steps == 2
    repeat(reordering, 1.4)
    assert reordering.steps == 3


def test_it_stays_wide_for_sixteen_recoveries(reordering: Reordering) -> None:
    repeat(reordering, 1.0)
    for i in range(PERSISTENCE):
        reordering.delivered(sent_at=2.0 + i, now=2.4 + i)
        assert reordering.steps == 2
        reordering.recovered()
    reordering.delivered(sent_at=99.0, now=99.4)
    assert reordering.steps == 1


def test_a_needless_recovery_does_not_count_among_them(reordering: Reordering) -> None:
    repeat(reordering, 1.0)
    for _ in range(PERSISTENCE):
        reordering.recovered()
        reordering.spared()
    reordering.delivered(sent_at=99.0, now=99.4)
    assert reordering.steps == 2


def test_repetitions_do_not_count_before_reordering_was_seen() -> None:
    reordering = Reordering(min_rtt=0.4)
    repeat(reordering, 1.0)
    assert (reordering.steps, width(reordering)) == (1, 0.0)
    assert reordering.window(smoothed=10.0, certain=False) == pytest.approx(0.1)
