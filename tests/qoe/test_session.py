import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.qoe.session import TOLERANT_THRESHOLD, Rendering, SessionMeasures, SessionMeter, gaps, measure

# Ten tokens, one every 100 ms, over a way of 50 ms. Token 3 is lost and comes 200 ms late, with 4 and 5 behind it;
# token 8 is 250 ms late, with 9 behind it. Gaps in ms: 100 100 300 0 0 100 100 350 0.
GENERATED = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9]
RENDERED = [1.05, 1.15, 1.25, 1.55, 1.55, 1.55, 1.65, 1.75, 2.10, 2.10]

SESSIONS = st.lists(
    st.tuples(
        st.floats(min_value=0, max_value=1.0) | st.sampled_from([0.0, 0.1, 0.2, 0.21, 0.4]),
        st.none() | st.floats(min_value=0, max_value=1.0) | st.just(0.4),
    ),
    max_size=40,
)


def meter_of(rendered, generated, **options):
    meter = SessionMeter(**options)
    steps = [meter.add(rendered_s=at, generated_s=made) for at, made in zip(rendered, generated, strict=True)]
    return meter.measures(), steps


def test_a_session_worked_out_by_hand():
    assert gaps(RENDERED) == [0.1, 0.1, 0.3, 0.0, 0.0, 0.1, 0.1, 0.35, 0.0]
    measures = measure(RENDERED, GENERATED, late_after=0.2)
    assert (measures.tokens, measures.stalls, measures.late_tokens, measures.timed_tokens) == (10, 2, 2, 10)
    assert measures.stall_s == pytest.approx(0.65)
    assert measures.excess_s == pytest.approx(0.25)
    assert measures.stream_s == pytest.approx(1.05)
    assert measure(RENDERED, GENERATED).late_tokens == 0


def test_one_lost_token_at_ten_a_second_is_the_knife_edge():
    """The token after the lost one brings both: a gap of exactly 200 ms is no longer than 200 ms; 1 ms more is."""
    exact = measure([0.0, 0.1, 0.3, 0.3, 0.4], [None] * 5)
    late = measure([0.0, 0.1, 0.301, 0.301, 0.4], [None] * 5)
    assert (exact.stalls, exact.stall_s) == (0, 0.0)
    assert (late.stalls, late.stall_s) == (1, pytest.approx(0.201))
    assert measure([0.0, 0.1, 0.301, 0.301, 0.4], [None] * 5, threshold=TOLERANT_THRESHOLD).stalls == 0


@given(st.integers(min_value=0, max_value=10**6), st.sampled_from([0.0, 86_400.0, 1e6]))
def test_floating_point_makes_no_stall(tick, boot):
    """0.9 - 0.7 is 0.20000000000000007; after a week of uptime, neighbouring floats are 1e-10 s apart."""
    assert measure([boot + tick / 10, boot + (tick + 2) / 10], [None] * 2).stalls == 0
    assert measure([boot + tick / 10, boot + (tick + 2) / 10 + 1e-6], [None] * 2).stalls == 1


def test_the_wait_for_the_first_token_is_no_stall():
    assert measure([5.0, 5.1], [0.0, 5.0]).stalls == 0


@pytest.mark.parametrize(("rendered", "tokens"), [([], 0), ([7.0], 1)])
def test_fewer_than_two_tokens_have_no_stream(rendered, tokens):
    nothing = SessionMeasures(
        tokens=tokens, stalls=0, stall_s=0.0, excess_s=0.0, stream_s=0.0, late_tokens=0, timed_tokens=0
    )
    assert measure(rendered, [None] * tokens) == nothing
    assert meter_of(rendered, [None] * tokens)[0] == nothing


def test_late_is_longer_than_400_ms_and_needs_a_time_of_generation():
    measures = measure([1.0, 1.1, 1.2], [0.6, 0.699, None])
    assert (measures.late_tokens, measures.timed_tokens) == (1, 2)


@given(SESSIONS, st.sampled_from([0.0, 0.2, 0.21]))
def test_the_meter_equals_the_batch(steps, threshold):
    rendered, generated, now = [], [], 100.0
    for gap, age in steps:
        now += gap
        rendered.append(now)
        generated.append(None if age is None else now - age)
    whole = measure(rendered, generated, threshold=threshold)
    metered, additions = meter_of(rendered, generated, threshold=threshold)
    assert metered == whole
    assert [step.gap_s for step in additions if step.gap_s is not None] == gaps(rendered)
    assert sum(step.stall_s for step in additions) == whole.stall_s
    assert sum(step.excess_s for step in additions) == whole.excess_s
    assert sum(step.stall_s > 0 for step in additions) == whole.stalls
    assert sum(step.late is True for step in additions) == whole.late_tokens
    assert sum(step.gap_s or 0 for step in additions) == pytest.approx(whole.stream_s, abs=1e-6)


def test_the_meter_says_what_each_token_adds():
    _, additions = meter_of([1.0, 1.1, 1.5], [0.5, 1.1, None])
    assert additions[:2] == [
        Rendering(gap_s=None, stall_s=0.0, excess_s=0.0, late=True),
        Rendering(gap_s=0.1, stall_s=0.0, excess_s=0.0, late=False),
    ]
    assert additions[2] == Rendering(gap_s=0.4, stall_s=0.4, excess_s=pytest.approx(0.2), late=None)


def test_a_clock_that_runs_backwards_is_refused():
    with pytest.raises(ValueError, match=r"^the clock ran backwards: from 2.0 s to 1.0 s$"):
        measure([2.0, 1.0], [None, None])
    meter = SessionMeter()
    meter.add(rendered_s=2.0)
    with pytest.raises(ValueError, match=r"^the clock ran backwards: from 2.0 s to 1.0 s$"):
        meter.add(rendered_s=1.0)


def test_every_token_needs_its_place_in_both_sequences():
    with pytest.raises(ValueError, match="zip"):
        measure([1.0, 2.0], [1.0])


def test_a_token_from_the_future_of_another_clock_is_not_late_and_ends_nothing():
    assert measure([1.0, 1.1], [9.0, 9.1]).late_tokens == 0
    assert SessionMeter().add(rendered_s=1.0, generated_s=9.0).late is False
