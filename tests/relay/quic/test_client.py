"""A client and a server over QUIC in virtual time: who gets in, what survives, and what comes back."""

from typing import Any

from eloquent.protocol.session import StreamEnded


def test_a_question_is_answered_after_three_round_trips(quic: Any) -> None:
    talk = quic.Talk(quic.Path(delay=0.1))
    talk.ask(b"question")
    talk.pair.run(until=10.0)
    assert talk.text(0) == b"hello world"
    assert talk.ends() == [StreamEnded(0, b"")]
