"""The switches of a simulation."""

import pytest

from eloquent.errors import ConfigurationError
from eloquent.sim.engine.choices import Choices


def test_a_line_says_what_was_changed():
    assert Choices().to_line() == "defaults"
    assert Choices(ack_loss=True, phase="random").to_line() == "ack_loss=True phase=random"
    assert Choices(content="openai").to_line() == "content=openai"


@pytest.mark.parametrize(
    "changes",
    [{"phase": "odd"}, {"jitter": -1.0}, {"header_bytes": -1}, {"token_bytes": -1}, {"content": "none.jsonl"}],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, object]):
    with pytest.raises(ConfigurationError):
        Choices(**changes)
