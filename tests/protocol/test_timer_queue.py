"""The next of many instants, against a dictionary that is searched."""

from hypothesis import given
from hypothesis import strategies as st

from eloquent.protocol.timer_queue import TimerQueue

KEYS = st.integers(0, 4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), KEYS, st.none() | st.integers(0, 9).map(float)),
        st.tuples(st.just("pop"), st.just(0), st.integers(0, 9).map(float)),
    ),
    max_size=60,
)


@given(STEPS)
def test_as_a_dictionary(steps: list[tuple[str, int, float | None]]) -> None:
    queue: TimerQueue[int] = TimerQueue()
    due: dict[int, float] = {}
    for what, key, instant in steps:
        if what == "set":
            queue.set(key, instant)
            due.pop(key, None)
            if instant is not None:
                due[key] = instant
        elif instant is not None:
            popped = queue.pop(instant)
            first = min(due.values(), default=None)
            assert (popped is None) == (first is None or first > instant)
            if popped is not None:
                assert due.pop(popped) == first
        assert queue.first() == min(due.values(), default=None)
        assert len(queue) == len(due)


def test_what_is_stale_is_removed() -> None:
    queue: TimerQueue[int] = TimerQueue()
    for instant in range(10_000):
        queue.set(0, 1.0)
        queue.set(1, float(instant + 2))
    assert queue.first() == 1.0
    assert len(queue._heap) < 100
