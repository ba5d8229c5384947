import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eloquent.errors import ConfigurationError
from eloquent.records.rows import LagRow, ProbeRow, RowWriter, SessionRow, StreamRow, TokenRow, read_rows

TOKEN = TokenRow(session="client1.eloquent.r1", index=0, generated_s=None, rendered_s=1.5)
TOKEN_LINE = "client1.eloquent.r1,0,,1.5\n"
HEADER = "session,index,generated_s,rendered_s\n"
STREAM_HEADER = "session,client,scheme,tokens,original_bytes,redundant_bytes,packets,wire_bytes,congestion_control\n"


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (
            SessionRow("c1.grpc.r1", "c1", "grpc", 1, 1.5, 2.25, "deadline_exceeded", 3),
            "session,client,scheme,round,requested_s,ended_s,outcome,tokens\nc1.grpc.r1,c1,grpc,1,1.5,2.25,deadline_exceeded,3\n",
        ),
        (TOKEN, HEADER + "client1.eloquent.r1,0,,1.5\n"),
        (LagRow(1.0, 0.001), "at_s,lag_s\n1.0,0.001\n"),
        (
            StreamRow("c1.grpc.r1", "c1", "grpc", 3, 15, None, None, 600),
            f"{STREAM_HEADER}c1.grpc.r1,c1,grpc,3,15,,,600,\n",
        ),
        (ProbeRow(7, 1.0, None, None), "sequence,sent_s,received_s,rtt_s\n7,1.0,,\n"),
    ],
    ids=["session", "token", "lag", "stream", "probe"],
)
def test_a_log_has_a_header_and_a_line_a_row(tmp_path, row, text):
    path = tmp_path / "new" / "log.csv"
    with RowWriter(path, type(row)) as writer:
        writer.write(row)
        assert path.read_text() == text  # before it is closed: nothing is lost when the process is killed now
    assert list(read_rows(path, type(row))) == [row]


def test_a_log_of_a_time_before_its_last_column_is_read(tmp_path):
    path = tmp_path / "log.csv"
    row = StreamRow("c1.grpc.r1", "c1", "grpc", 3, 15, 1, 4, 600)
    path.write_text(
        "session,client,scheme,tokens,original_bytes,redundant_bytes,packets,wire_bytes\nc1.grpc.r1,c1,grpc,3,15,1,4,600\n"
    )
    assert list(read_rows(path, StreamRow)) == [row]
    path.write_text("session,client,scheme,tokens,original_bytes,redundant_bytes,packets\n")
    with pytest.raises(ConfigurationError, match="is not a log"):
        list(read_rows(path, StreamRow))


@given(st.floats(min_value=0, max_value=1e9))
def test_an_instant_is_read_as_it_was(tmp_path_factory, instant):
    path = tmp_path_factory.mktemp("log") / "log.csv"
    with RowWriter(path, LagRow) as writer:
        writer.write(LagRow(instant, instant))
    assert list(read_rows(path, LagRow)) == [LagRow(instant, instant)]


def test_a_torn_last_line_is_left_out_wherever_it_was_cut(tmp_path):
    path = tmp_path / "log.csv"
    with RowWriter(path, TokenRow) as writer:
        writer.write(TOKEN)
        writer.write(TOKEN)
    whole = path.read_bytes()
    first = whole.index(b"1.5\n") + 4
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert list(read_rows(path, TokenRow)) == ([] if length < first else [TOKEN])


def test_a_writer_continues_a_log_behind_its_last_whole_line(tmp_path):
    path = tmp_path / "log.csv"
    for torn in ("", HEADER[:10], HEADER + "client1.el"):
        path.write_text(torn)
        with RowWriter(path, TokenRow) as writer:
            writer.write(TOKEN)
        with RowWriter(path, TokenRow) as writer:
            writer.write(TOKEN)
        assert list(read_rows(path, TokenRow)) == [TOKEN, TOKEN]
        assert path.read_text().count(HEADER) == 1


@pytest.mark.parametrize("room", range(len(TOKEN_LINE)))
def test_a_row_that_finds_no_room_is_told_of_and_never_comes_later(tmp_path, room):
    """A file that may not grow beyond a length is refused as one on a full disk is: first in part, then whole."""
    path = tmp_path / "log.csv"
    with RowWriter(path, TokenRow) as writer:
        writer.write(TOKEN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + room, resource.RLIM_INFINITY))
        try:
            for _ in range(2):
                with pytest.raises(OSError, match=r"No space left|too large"):
                    writer.write(TOKEN)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert list(read_rows(path, TokenRow)) == [TOKEN]
        writer.write(TOKEN)
    assert path.read_text() == HEADER + 2 * TOKEN_LINE


def test_rows_wait_for_a_flush_or_the_end(tmp_path):
    path = tmp_path / "log.csv"
    with RowWriter(path, TokenRow, is_buffered=True) as writer:
        writer.write(TOKEN)
        assert path.read_text() == HEADER
        writer.write(TOKEN)
        writer.flush()
        assert path.read_text() == HEADER + 2 * TOKEN_LINE
        writer.flush()
        writer.write(TOKEN)
    assert path.read_text() == HEADER + 3 * TOKEN_LINE


@pytest.mark.parametrize("room", range(2 * len(TOKEN_LINE)))
def test_rows_that_find_no_room_still_wait(tmp_path, room):
    path = tmp_path / "log.csv"
    with RowWriter(path, TokenRow, is_buffered=True) as writer:
        writer.write(TOKEN)
        writer.write(TOKEN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + room, resource.RLIM_INFINITY))
        try:
            with pytest.raises(OSError, match=r"No space left|too large"):
                writer.flush()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert path.read_text() == HEADER
        writer.write(TOKEN)
    assert path.read_text() == HEADER + 3 * TOKEN_LINE


def test_a_log_that_is_not_there_or_empty_has_no_rows(tmp_path):
    assert list(read_rows(tmp_path / "none.csv", TokenRow)) == []
    (tmp_path / "empty.csv").touch()
    assert list(read_rows(tmp_path / "empty.csv", TokenRow)) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("at_s,lag_s\n1,2\n", "{path} is not a log of session,index,generated_s,rendered_s"),
        (HEADER + "a,0,,1.5\na,b,,1.5\n", "{path}, line 3: 'a,b,,1.5' cannot be read"),
        (HEADER + "a,0,,\n", "{path}, line 2: 'a,0,,' cannot be read"),
        (HEADER + "a,0\n", "{path}, line 2: 'a,0' cannot be read"),
    ],
)
def test_a_log_that_cannot_be_read_is_named_with_its_line(tmp_path, content, message):
    path = tmp_path / "log.csv"
    path.write_text(content)
    with pytest.raises(ConfigurationError) as raised:
        list(read_rows(path, TokenRow))
    assert str(raised.value) == message.format(path=path)
