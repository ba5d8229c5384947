"""Server-sent events (WHATWG HTML, 9.2), written and read as bytes: the one reader of event streams in this project.

Rules of this file: lines end with CR, LF or CRLF and with nothing else, however the bytes are cut; an event is given as soon as
its empty line is there. Other characters that Python calls line breaks (U+2028, U+0085, form feeds) are data. An event
that its stream's end cuts off is dropped. An event has a bounded length.

`httpx-sse` reads them too, but from httpx alone, without a bound, and holds back an event that ends with CR until the next bytes
come.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from eloquent.calls.answer import AnswerFailed

MAX_EVENT = 4 * 1024 * 1024  # bytes of one event, or of one comment: what gRPC allows a message
_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n?|\n")


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event.

    Attributes:
        type: Its type, `message` where the server names none.
        data: Its data, the lines joined by line feeds.
    """

    type: str
    data: str


def write_event(data: bytes) -> bytes:
    """Write an event without a type.

    Args:
        data: One line.
    """
    return b"data: " + data + b"\n\n"


class EventReader:
    """Reads the events of one stream, as they come."""

    def __init__(self) -> None:
        self._line = bytearray()  # the beginning of a line whose end has not come
        self._after_cr = False
        self._is_first_line = True
        self._type = b""
        self._data = bytearray()  # each line with a line feed

    def feed(self, data: bytes) -> Iterator[ServerSentEvent]:
        """Take some bytes of the stream and yield the events that they complete.

        Raises:
            AnswerFailed: An event is too long.
        """
        for line in self._lines(data):
            if not line:
                yield from self._dispatch()
            else:
                self._take(line)

    def _lines(self, data: bytes) -> Iterator[bytes]:
        start = int(self._after_cr and data.startswith(b"\n"))  # the second half of a CRLF
        self._after_cr = data.endswith(b"\r") if data else self._after_cr
        for end in _LINE_END.finditer(data, start):
            self._keep(data[start : end.start()])
            line = bytes(self._line)
            self._line.clear()
            start = end.end()
            yield line.removeprefix(_BOM) if self._is_first_line else line
            self._is_first_line = False
        self._keep(data[start:])

    def _keep(self, part: bytes) -> None:
        self._line += part
        if len(self._data) + len(self._line) > MAX_EVENT:
            raise AnswerFailed("resource_exhausted", f"an event of the stream is longer than {MAX_EVENT} bytes")

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data += value + b"\n"
        elif name == b"event":
            self._type = value

    def _dispatch(self) -> Iterator[ServerSentEvent]:
        if self._data:
            yield ServerSentEvent(_text(self._type) or "message", _text(self._data[:-1]))
        self._type = b""
        self._data.clear()


def _text(encoded: bytes | bytearray) -> str:
    return encoded.decode(errors="replace")
