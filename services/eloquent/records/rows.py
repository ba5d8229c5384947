"""The rows of a run's logs, and how they are written and read.

Rules of this file:

- A log is CSV with a header line; a row is a frozen dataclass, and its fields are the columns.
- Instants are seconds of CLOCK_MONOTONIC of one kernel, so the logs of all processes of a run share a time axis.
- Numbers are written in full: a figure computed from the log equals the one computed while the run went on.
- An empty cell is a value that was not measured.
- Each row leaves the process with one write as soon as it is complete, so a killed process costs at most the row it was
  writing; where that is too dear, rows wait for a flush, which is one write. A last line without its line feed is torn: readers
  leave it out, a writer that goes on cuts it off.
"""

import csv
import errno
import io
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import Any, Generic, TypeVar

from eloquent.errors import ConfigurationError

LAG_INTERVAL = 0.05  # seconds between two samples of a loop's lag
SUCCESS = "ok"
LEFT = "left"  # the reader turned away, or the load test was over: nothing failed
ENDED_WELL = frozenset({SUCCESS, LEFT})
"""Outcomes of sessions; any other is the reason of a failure."""


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One question and its answer, logged by the viewer when it ends.

    Attributes:
        session: `<client>.<scheme>.r<round>`.
        client: Name of the client.
        scheme: Name of the scheme.
        round: Number of the round, from 1.
        requested_s: When the question was sent.
        ended_s: When the answer was complete, or given up.
        outcome: `ok`, `left` if the reader turned away, or a gRPC status in lower case.
        tokens: Tokens rendered.
    """

    session: str
    client: str
    scheme: str
    round: int
    requested_s: float
    ended_s: float
    outcome: str
    tokens: int


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One token on the screen, logged by the viewer.

    Attributes:
        session: The session that it belongs to.
        index: Its place in the answer, from 0.
        generated_s: When the server made it, where that is known.
        rendered_s: When the viewer showed it.
    """

    session: str
    index: int
    generated_s: float | None
    rendered_s: float


@dataclass(frozen=True, slots=True)
class KindRow:
    """What a token of another kind than text is a piece of, logged by a measurement study.

    Attributes:
        session: The session that it belongs to.
        index: Its place in the answer, from 0.
        kind: `reasoning` or `tool call`.
    """

    session: str
    index: int
    kind: str


@dataclass(frozen=True, slots=True)
class LagRow:
    """How late an event loop was, every `LAG_INTERVAL`; of relays and servers, only where it is notable, and each second.

    Attributes:
        at_s: When it was sampled.
        lag_s: Seconds by which the loop woke too late.
    """

    at_s: float
    lag_s: float


@dataclass(frozen=True, slots=True)
class StreamRow:
    """What one answer cost on the sending side, logged by the origin relay or, without relays, by the token server.

    Attributes:
        session: The session that it belongs to.
        client: Name of the client.
        scheme: Name of the scheme.
        tokens: Tokens sent.
        original_bytes: Bytes of the tokens' messages, each counted once, without framing and headers.
        redundant_bytes: Bytes of them sent again, where that is known; over TCP, their share of what was retransmitted.
        packets: Packets sent, where that is known.
        wire_bytes: Bytes sent with IP and transport headers, where that is known.
        congestion_control: Of the TCP connection that carried it, as its socket said; empty where there was none.
    """

    session: str
    client: str
    scheme: str
    tokens: int
    original_bytes: int
    redundant_bytes: int | None
    packets: int | None
    wire_bytes: int | None
    congestion_control: str = ""


@dataclass(frozen=True, slots=True)
class ProbeRow:
    """One probe across the access link, logged by the link probe.

    Attributes:
        sequence: Its number, from 0.
        sent_s: When it was sent.
        received_s: When it reached the client; None where the downlink lost it.
        rtt_s: Seconds until its echo was back; None where either was lost.
    """

    sequence: int
    sent_s: float
    received_s: float | None
    rtt_s: float | None


_Row = TypeVar("_Row", SessionRow, TokenRow, KindRow, LagRow, StreamRow, ProbeRow)


class RowWriter(Generic[_Row]):
    """Append rows of one kind to a log, each with one write; any thread may.

    Args:
        path: The file; its folder is made where it is missing, and a file that is there is continued.
        kind: The dataclass of its rows.
        is_buffered: Whether rows wait for `flush`, or for the end.
    """

    def __init__(self, path: Path, kind: type[_Row], *, is_buffered: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        length = _cut_torn_line(path)
        self._file = path.open("ab", buffering=0)
        self._line = io.StringIO()
        self._csv = csv.writer(self._line, lineterminator="\n")
        self._cells = attrgetter(*(item.name for item in fields(kind)))
        self._lock = threading.Lock()
        self._is_buffered = is_buffered
        self._waiting: list[_Row] = []
        if length == 0:
            self._append([[item.name for item in fields(kind)]])

    def write(self, row: _Row) -> None:
        """Append one row.

        Raises:
            OSError: It could not be written, such as to a full disk; nothing of it is in the log, now or later.
        """
        if self._is_buffered:
            self._waiting.append(row)
            return
        with self._lock:
            self._append([self._cells(row)])

    def flush(self) -> None:
        """Append the rows that wait.

        Raises:
            OSError: They could not be written; nothing of them is in the log, and they still wait.
        """
        with self._lock:
            if rows := self._waiting[:]:  # others may come meanwhile
                self._append(map(self._cells, rows))
                del self._waiting[: len(rows)]

    def _append(self, rows: Iterable[Iterable[object]]) -> None:
        self._line.seek(0)
        self._line.truncate()
        self._csv.writerows(rows)
        lines = self._line.getvalue().encode()
        written = self._file.write(lines)
        if written < len(lines):  # the disk is full after this
            self._file.truncate(os.fstat(self._file.fileno()).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._file.name)

    def close(self) -> None:
        """Append the rows that wait, if they can be, and close the file; closing twice does nothing."""
        if self._waiting:
            with suppress(OSError):
                self.flush()
        self._file.close()

    def __enter__(self) -> "RowWriter[_Row]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_rows(path: Path, kind: type[_Row]) -> Iterator[_Row]:
    """Yield the rows of a log in the order in which they were written.

    Args:
        path: The file; one that does not exist has no rows.
        kind: The dataclass of its rows.

    Raises:
        ConfigurationError: The header or a complete line is not what such a log holds.
    """
    if not path.exists():
        return
    text = path.read_text(encoding="utf-8")
    lines = csv.reader(text.split("\n")[:-1])
    header = next(lines, None)
    if header is None:
        return
    known, needed = fields(kind), [item for item in fields(kind) if item.default is MISSING]
    columns = known[: max(len(header), len(needed))]  # older logs lack the last ones
    if header != [item.name for item in columns]:
        raise ConfigurationError(f"{path} is not a log of {','.join(item.name for item in known)}")
    readers = [_READERS[item.type] for item in columns]
    for cells in lines:
        try:
            yield kind(*(read(cell) for read, cell in zip(readers, cells, strict=True)))
        except ValueError:
            raise ConfigurationError(f"{path}, line {lines.line_num}: '{','.join(cells)}' cannot be read") from None


_READERS: dict[Any, Any] = {
    str: str,
    int: int,
    float: float,
    float | None: lambda cell: float(cell) if cell else None,
    int | None: lambda cell: int(cell) if cell else None,
}


def _cut_torn_line(path: Path) -> int:
    """Cut off what a killed writer left unfinished, and return the length of the rest in bytes."""
    if not path.exists():
        return 0
    with path.open("rb+") as file:
        return file.truncate(file.read().rfind(b"\n") + 1)
