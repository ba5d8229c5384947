"""Event streams as bytes: every line ending, every cut, and what is no line ending."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.calls import sse
from eloquent.calls.answer import AnswerFailed
from eloquent.calls.sse import MAX_EVENT, EventReader, ServerSentEvent, write_event


def read(*parts: bytes) -> list[tuple[str, str]]:
    reader = EventReader()
    return [(event.type, event.data) for part in parts for event in reader.feed(part)]


STREAM = (
    b"\xef\xbb\xbf: a comment\n"
    b"data: one\n\n"
    b"event: error\ndata:two\ndata\ndata:  lines\nid: 7\nretry: 5\nwhatever: x\n\n"
    b"event: dropped, for it has no data\n\n"
    b"data:\n\n"
    b"data: n\xc3\xa9\xe2\x80\xa8x\xc2\x85y\x0bz\x0cw\x1cv\xe2\x80\xa9\n\n"
    b"data: cut off"
)
EVENTS = [
    ("message", "one"),
    ("error", "two\n\n lines"),
    ("message", ""),
    ("message", "né\u2028x\u0085y\x0bz\x0cw\x1cv\u2029"),
]


@pytest.mark.parametrize("ending", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_the_same_however_lines_end_and_bytes_are_cut(ending, size):
    stream = STREAM.replace(b"\n", ending)
    assert read(*(stream[at : at + size] for at in range(0, len(stream), size))) == EVENTS


@pytest.mark.parametrize("ending", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])
def test_an_event_is_given_as_soon_as_its_empty_line_is_there(ending):
    reader = EventReader()
    assert list(reader.feed(b"data: now" + ending + ending)) == [ServerSentEvent("message", "now")]
    assert list(reader.feed(b"data: and now" + ending + ending)) == [ServerSentEvent("message", "and now")]


def test_a_carriage_return_and_a_line_feed_are_one_ending_in_two_reads_and_two_in_a_row_are_two():
    assert read(b"data: a\r", b"\ndata: b\r", b"", b"\n\r", b"\n") == [("message", "a\nb")]
    assert read(b"data: a\n\r") == [("message", "a")]


def test_a_mark_of_byte_order_is_one_only_at_the_beginning():
    assert read(b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n") == [("message", "a")]
    assert read(b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n") == []


def test_bytes_that_are_no_text_are_replaced():
    assert read(b"data: a\xffb\n\n") == [("message", "a\ufffdb")]


@pytest.mark.parametrize(
    "endless",
    [b"data: xy\n", b"data:\n", b"x", b"data:\xff\n"],
    ids=["many lines", "many empty lines", "one line", "no text"],
)
def test_an_event_without_an_end_is_refused_and_takes_bounded_memory(endless, monkeypatch):
    monkeypatch.setattr(sse, "MAX_EVENT", 65536)
    reader, part = EventReader(), endless * (1000 // len(endless))
    tracemalloc.start()
    with pytest.raises(AnswerFailed, match="longer than"):
        _feed(reader, [part] * 1000)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 6 * 65536


def _feed(reader: EventReader, parts: list[bytes]) -> None:
    for part in parts:
        list(reader.feed(part))


def test_an_event_of_the_most_bytes_is_read():
    longest = b"x" * (MAX_EVENT - len(b"data: "))
    assert read(write_event(longest)) == [("message", longest.decode())]


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_any_bytes_are_read_the_same_whole_and_in_parts(parts):
    assert read(*parts) == read(b"".join(parts))


@given(st.lists(st.text().filter(lambda text: not {*"\r\n"} & {*text}), min_size=1, max_size=5))
def test_what_was_written_is_read(texts):
    stream = b"".join(write_event(text.encode(errors="replace")) for text in texts)
    assert [data for _, data in read(stream)] == [text.encode(errors="replace").decode() for text in texts]
