"""What an origin relay writes down of each answer over HTTP, for those who operate it: a line of JSON when it is over.

Rules of this file
- No word of a request or of an answer is written, nor who asked, but for whether it was a page: times, sizes and outcomes only.
- A file that was moved away, as programs that rotate logs do, is begun anew.
"""

import asyncio
import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from logging.handlers import WatchedFileHandler
from pathlib import Path
from weakref import WeakKeyDictionary

from eloquent.addresses import reason_of
from eloquent.api.v1.exchange_pb2 import HttpRequest, Outcome
from eloquent.errors import ConfigurationError, RemoteProtocolError
from eloquent.relay.exchange import decode_head, decode_outcome
from eloquent.relay.observers import OriginObserver
from eloquent.relay.origin_streams import OriginAnswer, OriginStream, StreamEnd


@dataclass(slots=True)
class _Entry:
    """What is known of one answer so far.

    Attributes:
        status: Of HTTP; None before the head.
        first_s: Seconds from the request to the first event, or piece of other content.
        last_s: Likewise, to the latest.
        longest_gap_s: The longest time between two.
        events: How many came.
        bytes: How long they were together.
        streams: How many streams have carried it: more than one where it was lost and resumed.
        wire_bytes: What these have cost, down to the headers of IP.
    """

    status: int | None = None
    first_s: float | None = None
    last_s: float | None = None
    longest_gap_s: float = 0.0
    events: int = 0
    bytes: int = 0
    streams: int = 0
    wire_bytes: int = 0


class Journal(OriginObserver):
    """Writes the lines.

    Args:
        path: The file, to which they are added.

    Raises:
        ConfigurationError: It cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._entries: WeakKeyDictionary[OriginAnswer, _Entry] = WeakKeyDictionary()
        try:
            self._file = WatchedFileHandler(path, encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"cannot write {path}: {reason_of(error)}") from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def on_token(self, answer: OriginAnswer, token: bytes) -> None:
        """See `OriginObserver`."""
        if answer not in self._entries:
            self._entries[answer] = _Entry(_status(token))
            return
        entry, now_s = self._entries[answer], _since(answer)
        if entry.last_s is None:
            entry.first_s = now_s
        else:
            entry.longest_gap_s = max(entry.longest_gap_s, now_s - entry.last_s)
        entry.last_s = now_s
        entry.events += 1
        entry.bytes += len(token)

    def on_end(self, stream: OriginStream, event: StreamEnd | None) -> None:  # noqa: ARG002 - however it ended
        """See `OriginObserver`."""
        entry = self._entries.setdefault(stream.answer, _Entry())
        entry.streams += 1
        entry.wire_bytes += stream.account.wire_bytes

    def on_over(self, answer: OriginAnswer) -> None:
        """See `OriginObserver`."""
        assert isinstance(answer.request, HttpRequest)
        entry = self._entries.pop(answer, _Entry())
        asked_at = datetime.now(UTC) - timedelta(seconds=_since(answer))
        line = {
            "asked_at": asked_at.isoformat(timespec="milliseconds"),
            "from": "page" if answer.is_strangers else "edge",
            "method": answer.request.method,
            "path": answer.request.target.partition("?")[0],
            "status": entry.status,
            "outcome": outcome_of(answer),
            "first_s": _rounded(entry.first_s),
            "last_s": _rounded(entry.last_s),
            "longest_gap_s": _rounded(entry.longest_gap_s),
            "events": entry.events,
            "bytes": entry.bytes,
            "streams": entry.streams,
            "wire_bytes": entry.wire_bytes,
        }
        self._file.handle(logging.makeLogRecord({"msg": json.dumps(line)}))


def _status(head: bytes) -> int | None:
    try:
        return decode_head(head).status
    except RemoteProtocolError:
        return None


def outcome_of(answer: OriginAnswer) -> str:
    """Return `complete`, `broken` where it has ended in another way, or `left` where nobody has all of it."""
    if not answer.is_delivered or answer.log.trailer is None:
        return "left"
    return "complete" if decode_outcome(answer.log.trailer).kind == Outcome.COMPLETE else "broken"


def _since(answer: OriginAnswer) -> float:
    """Return the seconds since an answer was asked."""
    return asyncio.get_running_loop().time() - answer.began


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
