"""Batches, and what is kept of a session."""

import pickle

import pytest

from eloquent import scenarios, schemes
from eloquent.errors import ConfigurationError
from eloquent.sim.engine.batch import SEEDS_APART, Batch, Point, read_instants, run_batch
from eloquent.sim.engine.choices import Choices
from eloquent.sim.engine.session import constant_rate, run_session

POINT = Point("eloquent", scenarios.load("paper-default"), Choices(ack_loss=True))


def test_a_batch_is_its_sessions():
    batch = Batch(POINT, constant_rate(5.0), seed=2, first=3, count=2)
    sums = run_batch(batch)
    assert [one.session for one in sums] == [3, 4]
    trace = run_session(
        schemes.get("eloquent"),
        POINT.scenario,
        seed=2 * SEEDS_APART + 3,
        generated_s=constant_rate(5.0),
        choices=POINT.choices,
    )
    assert (sums[0].stall_s, sums[0].stream_s) == (trace.measure().stall_s, trace.measure().stream_s)
    assert sums[0].wire_bytes == trace.account.wire_bytes
    assert sum(count for _, count in sums[0].gaps_ms) == len(trace.rendered_s) - 1


def test_batches_and_results_travel():
    batch = Batch(POINT, constant_rate(1.0), seed=2, first=0, count=1)
    assert pickle.loads(pickle.dumps(batch)) == batch
    assert pickle.loads(pickle.dumps(run_batch(batch))) == run_batch(batch)


def test_instants_are_read_one_a_line():
    assert read_instants("# seconds\n5.0\n\n5.1\n5.4\n", name="tokens") == (0.0, 0.1, 0.4)
    for text in ("", "# nothing\n", "1.0\nsoon\n"):
        with pytest.raises(ConfigurationError, match="tokens"):
            read_instants(text, name="tokens")


@pytest.mark.parametrize("word", ["nan", "inf", "-inf", "1e400", "0.4", "1e6", "x", "9" * 5000])
def test_an_instant_that_is_none_is_named_by_its_line(word):
    with pytest.raises(ConfigurationError, match=r"^tokens, line 4: "):
        read_instants(f"# seconds\x85\u2028 of any origin\n0\n0.5\n{word}\n", name="tokens")


def test_instants_since_1970_count_from_the_first():
    assert read_instants("1700000000.0\n1700000000.5\n", name="tokens") == (0.0, 0.5)
