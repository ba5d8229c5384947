from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.channel.trace_files import expand_traces
from eloquent.errors import ConfigurationError

LOSSES = "eloquent loss trace 1\n0 arrived\n0.1 lost\n0.21 lost\n0.29 arrived\n0.5 end\n"


def test_files_become_losses_in_the_line():
    files = {"a.txt": LOSSES, "b.down": "0\n1000\n2000\n"}
    line = "rtt=1s loss=trace(file=a.txt) loss_up=trace(file=b.down, slot=500ms, outage=900ms, start=random)"
    assert expand_traces(line, files.__getitem__) == (
        "rtt=1s loss=trace(slot=100ms,shares=0;1;0.5;0*2) loss_up=trace(slot=500ms,shares=1*4,start=random)"
    )
    assert expand_traces("rtt=1s loss=none", files.__getitem__) == "rtt=1s loss=none"
    with pytest.raises(ConfigurationError, match="speed"):
        expand_traces("trace(file=a.txt,speed=2)", files.__getitem__)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("a,b.txt", "a,b.txt"),
        ("walk (1).txt", "walk (1).txt"),
        ("a[1],(b),{c}.txt", "a[1],(b),{c}.txt"),
        ("dir, with=sign/a b.txt", None),
        ('"dir, with=sign/a b.txt"', "dir, with=sign/a b.txt"),
        ("'half (a bracket'", "half (a bracket"),
        ('"it\'s)"', "it's)"),
        ("it's.txt", "it's.txt"),
    ],
)
def test_names_may_hold_commas_and_brackets(written: str, name: str | None):
    for inside in (f"file={written}", f"file={written}, slot=500ms", f"slot=500ms , file = {written},start=begin"):
        text = f"rtt=1s loss=trace({inside}) loss_up=none"
        if name is None:
            with pytest.raises(ConfigurationError, match="'with' is not one of"):
                expand_traces(text, lambda found: LOSSES)
            continue
        asked: list[str] = []
        expanded = expand_traces(text, lambda found, asked=asked: asked.append(found) or LOSSES)
        assert asked == [name]
        assert expanded.startswith("rtt=1s loss=trace(slot=")
        assert expanded.endswith(") loss_up=none")


@pytest.mark.parametrize(
    "text",
    [
        "trace(file=a",
        "trace(file='a)",
        "trace(slot=1s,shares=0;1)",
        "trace(",
        "trace)",
        "trace(()(file=x)",
        "retrace(file=a)",
    ],
)
def test_what_names_no_file_stays_as_it_is(text: str):
    assert expand_traces(text, lambda name: pytest.fail(f"asked for {name}")) == text


def test_an_error_names_the_file_and_the_line():
    files = {"a.txt": LOSSES.replace("0.21 lost", "gone"), "b.down": "0\n1000\nx\n"}
    with pytest.raises(ConfigurationError, match=r"^the trace a\.txt, line 4: 'gone' is not SECONDS"):
        expand_traces("trace(file=a.txt)", files.__getitem__)
    with pytest.raises(ConfigurationError, match=r"^the trace b\.down, line 3: 'x' is not a number"):
        expand_traces("trace(file=b.down)", files.__getitem__)


def test_where_a_trace_begins_that_does_not_say():
    read = {"a": LOSSES}.__getitem__
    assert "start=random" in expand_traces("trace(file=a)", read, random_start=True)
    assert "start" not in expand_traces("trace(file=a,start=begin)", read, random_start=True)


PIECES = [
    "trace(",
    "file=",
    "slot=",
    "start=",
    "outage=",
    "a",
    "'",
    '"',
    "(",
    ")",
    ",",
    " ",
    "=",
    "20ms",
    "1us",
    "random",
    "x=1",
]


@given(text=st.lists(st.sampled_from(PIECES), max_size=14).map("".join), content=st.text(max_size=60) | st.just(LOSSES))
def test_any_text_is_expanded_or_refused_in_a_sentence(text: str, content: str):
    with suppress(ConfigurationError):
        assert isinstance(expand_traces(text, lambda name: content), str)
