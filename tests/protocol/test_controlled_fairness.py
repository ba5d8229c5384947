"""Streams that share a path with little room: each has its turn."""

from collections import Counter
from typing import Any

import pytest

from eloquent.protocol.congestion import CongestionController
from eloquent.protocol.controlled import ControlledSender
from eloquent.protocol.datagram import Answer, decode_datagram
from eloquent.protocol.limits import EndpointLimits

STREAMS = 6


@pytest.mark.parametrize("scheme", ["eloquent", "eloquent-packed", "retransmit"])
def test_in_a_silence_each_stream_probes_in_its_turn(net: Any, scheme: str) -> None:
    """Who gets no turn hears nothing, and would take its peer for lost."""
    answers = {f"{i}".encode(): [b"word " * 20] * 200 for i in range(STREAMS)}
    talk = net.Talk(net.Path(blackouts=[(5.0, 1e9)]), answers=answers, limits=EndpointLimits(congestion_control=True))
    for question in answers:
        talk.ask(question, scheme)
    talk.pair.run(until=38.0)
    said = [decode_datagram(data).body for at, data in talk.pair.sent["b"] if at > 10.0]
    turns = Counter(body.stream_id for body in said if isinstance(body, Answer))
    assert set(turns) == set(range(STREAMS))
    assert min(turns.values()) >= 2  # of some 14 probes in all, or more by a scheme that repeats several at once


@pytest.mark.pure
def test_those_that_wait_cost_the_others_nothing(net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While there is no room, a token has its own stream asked, however many wait; when there is again, each has its turn."""
    asked: list[ControlledSender] = []
    ask = ControlledSender.datagrams_to_send

    def count(sender: ControlledSender, *, now: float) -> list[bytes]:
        asked.append(sender)
        return ask(sender, now=now)

    answers = {f"{i}".encode(): [b"word "] * 50 for i in range(STREAMS)}
    talk = net.Talk(net.Path(), answers=answers, limits=EndpointLimits(congestion_control=True))
    for question in answers:
        talk.ask(question, "eloquent-packed")
    talk.pair.run(until=1.0)
    monkeypatch.setattr(ControlledSender, "datagrams_to_send", count)
    monkeypatch.setattr(CongestionController, "room", lambda self, now: 0.0)
    monkeypatch.setattr(CongestionController, "next_room", lambda self, now: now + 0.1)
    talk.pair.run(until=2.0)
    assert len(set(asked)) == STREAMS
    assert (
        len(asked) <= 15 * STREAMS
    )  # ten tokens each, and what was under way; asking all each time would be six times that
    monkeypatch.undo()
    talk.pair.run(until=10.0)
    assert [talk.text(i) for i in range(STREAMS)] == [b"word " * 50] * STREAMS
