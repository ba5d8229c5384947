"""Our own messages, read back as a client does."""

from itertools import islice, pairwise
from random import Random

from eloquent.api.v1.token_service_pb2 import GenerateResponse
from eloquent.content import book, messages


def test_the_messages_carry_the_text_with_ascending_instants():
    read = [GenerateResponse.FromString(item) for item in islice(messages.generated(Random(1)), 300)]
    assert [message.index for message in read] == list(range(300))
    assert "".join(message.text for message in read) in book.prose() * 2
    steps = [two.generated_at_ns - one.generated_at_ns for one, two in pairwise(read)]
    assert min(steps) > 0
    assert sum(steps) / len(steps) / 1e9 < 0.021
