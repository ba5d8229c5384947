"""Every kind of content: a function of its kind and seed, without end."""

from itertools import islice

import pytest

from eloquent import content
from eloquent.errors import ConfigurationError


@pytest.mark.parametrize("kind", content.KINDS)
def test_a_stream_is_a_function_of_its_kind_and_seed(kind: str):
    first, again, other = (list(islice(content.stream(kind, seed), 200)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert all(isinstance(item, bytes) and item for item in first)


@pytest.mark.parametrize("kind", content.KINDS)
def test_a_stream_outlasts_a_minute_of_the_fastest_model(kind: str):
    assert sum(1 for _ in islice(content.stream(kind, 3), 30_000)) == 30_000


def test_content_that_there_is_not_is_refused():
    with pytest.raises(ConfigurationError, match="'txt' is no content: choose from text, openai,"):
        content.stream("txt", 1)
