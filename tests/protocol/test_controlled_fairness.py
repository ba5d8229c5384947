"""Streams that share a path with little room: each has its turn."""

from collections import Counter
from typing import Any

import pytest

from eloquent.protocol.datagram import Answer, decode_datagram

STREAMS = 6


@pytest.mark.parametrize("scheme", ["eloquent", "eloquent-packed", "retransmit"])
def test_in_a_silence_each_stream_probes_in_its_turn(net: Any, scheme: str) -> None:
    """Who gets no turn hears nothing, and would take its peer for lost."""
    answers = {f"{i}".encode(): [b"word " * 20] * 200 for i in range(STREAMS)}
    talk = net.Talk(net.Path(blackouts=[(5.0, 1e9)]), answers=answers)
    for question in answers:
        talk.ask(question, scheme)
    talk.pair.run(until=38.0)
    said = [decode_datagram(data).body for at, data in talk.pair.sent["b"] if at > 10.0]
    turns = Counter(body.stream_id for body in said if isinstance(body, Answer))
    assert set(turns) == set(range(STREAMS))
    assert min(turns.values()) >= 2  # of some 14 probes in all, or more by a scheme that repeats several at once
