"""What the edge of the relay pair takes for the scheme of a request."""

import pytest

from eloquent.errors import ConfigurationError
from eloquent.nodes.edge_relay.pair import scheme_between


@pytest.mark.parametrize(
    ("fields", "between"),
    [({}, "eloquent-packed"), ({"x-eloquent-scheme": "openai"}, "eloquent-packed")]
    + [({"x-eloquent-scheme": f"openai-{name}"}, name) for name in ("retransmit", "red-2")],
)
def test_a_request_names_by_what_its_answer_comes(fields, between):
    assert scheme_between(fields) == between


@pytest.mark.parametrize("name", ["sse", "eloquent", "openai-grpc", "nothing"])
def test_what_the_pair_does_not_carry_is_refused(name):
    with pytest.raises(ConfigurationError, match=f"'{name}'"):
        scheme_between({"x-eloquent-scheme": name})
