"""What QUIC sent for an answer: read from aioquic's log of each packet (qlog), the one place where it tells that.

Rules of this file: an answer is accounted only if it had its connection to itself from its start until everything that its stream
sent was acknowledged, as over TCP (`tcp_account`). Bytes are those of the stream, HTTP/3's framing included.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from aioquic.quic.logger import QuicLogger, QuicLoggerTrace
from aioquic.quic.rangeset import RangeSet

from eloquent.nodes.common.stream_record import Spent

_IP_HEADER = 20  # bytes of IPv4; the log counts UDP's own


@dataclass(slots=True)
class _Watch:
    """The stream of one answer.

    Attributes:
        on_spent: Given the account once it is certain.
        on_unaccounted: Told why there will be none.
        packets: Of the connection, before the answer.
        wire_bytes: Likewise.
        sent: Bytes of the stream that were sent once or more often: up to here.
        repeated: Bytes that were sent again.
        acknowledged: Which of them the peer has.
        is_ended: Whether the peer has the stream's end.
        is_shared: Whether another answer was on the connection.
    """

    on_spent: Callable[[Spent], None]
    on_unaccounted: Callable[[str], None]
    packets: int
    wire_bytes: int
    sent: int = 0
    repeated: int = 0
    acknowledged: RangeSet = field(default_factory=RangeSet)
    is_ended: bool = False
    is_shared: bool = False


class PacketTrace(QuicLoggerTrace):
    """The log of one connection, of which nothing is kept but what its answers cost."""

    def __init__(self, *, is_client: bool, odcid: bytes) -> None:
        super().__init__(is_client=is_client, odcid=odcid)
        self._packets = self._wire_bytes = 0
        self._watches: dict[int, _Watch] = {}
        self._received: list[list[dict[str, Any]]] = []  # frames of packets, to be looked at
        self._on_way: dict[int, list[tuple[int, int, int, bool]]] = {}  # stream, from, to, end; by packet number

    def begin(self, stream: int, on_spent: Callable[[Spent], None], on_unaccounted: Callable[[str], None]) -> None:
        """Account an answer, of whose stream nothing was sent yet.

        Args:
            stream: Its number.
            on_spent: Given what it cost in bytes of the stream, once that is certain.
            on_unaccounted: Else told why that is not known: `shared` or `unsettled`.
        """
        watch = _Watch(on_spent, on_unaccounted, self._packets, self._wire_bytes)
        for other in self._watches.values():
            other.is_shared = watch.is_shared = True
        self._watches[stream] = watch

    @property
    def is_settled(self) -> bool:
        """Whether there is no answer of which something may still be on its way."""
        return not self._watches

    def unacknowledged(self, stream: int) -> int:
        """Return how many bytes of an answer's stream were sent and are not acknowledged."""
        watch = self._watches.get(stream)
        return 0 if watch is None else watch.sent - sum(map(len, watch.acknowledged))

    def abandon(self, stream: int) -> None:
        """Take it that a stream was broken off: what is on its way will not be repeated, and its account not be whole."""
        if stream in self._watches:
            watch = self._end(stream)
            watch.on_unaccounted("shared" if watch.is_shared else "unsettled")

    def abandon_all(self) -> None:
        """Take it that the connection has ended."""
        self.look()
        for stream in list(self._watches):
            self.abandon(stream)

    def look(self) -> None:
        """Look at what has come, when aioquic is done with it: it logs a packet before its frames."""
        received, self._received = self._received, []
        for frame in chain.from_iterable(received):
            if frame["frame_type"] == "ack":
                self._note_acknowledged(frame["acked_ranges"])

    def log_event(self, *, category: str, event: str, data: dict[str, Any]) -> None:
        """Take what aioquic tells."""
        if category != "transport":
            return
        match event:
            case "datagrams_sent":
                self._packets += 1
                self._wire_bytes += _IP_HEADER + data["raw"][0]["length"]
            case "packet_sent" if data["header"]["packet_type"] == "1RTT":
                self._note_sent(data["header"]["packet_number"], data["frames"])
            case "packet_received" if data["header"]["packet_type"] == "1RTT":
                self._received.append(data["frames"])

    def encode_http3_headers_frame(self, *_args: Any, **_named: Any) -> dict[str, Any]:
        """Look into no headers, which a client may write as it likes."""
        return {}

    def encode_http3_push_promise_frame(self, *_args: Any, **_named: Any) -> dict[str, Any]:
        """Likewise."""
        return {}

    def _note_sent(self, number: int, frames: list[dict[str, Any]]) -> None:
        for frame in frames:
            if frame["frame_type"] != "stream" or (watch := self._watches.get(frame["stream_id"])) is None:
                continue
            start, stop = frame["offset"], frame["offset"] + frame["length"]
            new = max(0, stop - max(watch.sent, start))
            watch.repeated += stop - start - new
            watch.sent = max(watch.sent, stop)
            self._on_way.setdefault(number, []).append((frame["stream_id"], start, stop, frame["fin"]))

    def _note_acknowledged(self, ranges: list[list[int]]) -> None:
        for number in [one for one in self._on_way if any(first <= one <= last for first, last in ranges)]:
            for stream, start, stop, is_end in self._on_way.pop(number):
                if (watch := self._watches.get(stream)) is None:
                    continue
                if stop > start:
                    watch.acknowledged.add(start, stop)
                watch.is_ended |= is_end
                if watch.is_ended and sum(map(len, watch.acknowledged)) == watch.sent:
                    self._settle(stream)

    def _settle(self, stream: int) -> None:
        watch = self._end(stream)
        if watch.is_shared:
            watch.on_unaccounted("shared")
            return
        wire_bytes, packets = self._wire_bytes - watch.wire_bytes, self._packets - watch.packets
        watch.on_spent(Spent(watch.sent, watch.repeated, packets, wire_bytes))

    def _end(self, stream: int) -> _Watch:
        watch = self._watches.pop(stream)
        if not self._watches:
            self._on_way.clear()  # of what was lost and sent again, the lost packets
        return watch


class PacketLogger(QuicLogger):
    """Makes the log of each connection.

    Attributes:
        latest: The log of the connection that was made last.
        open: The logs of connections that have not ended.
    """

    latest: PacketTrace

    def __init__(self) -> None:
        super().__init__()
        self.open: set[PacketTrace] = set()

    def start_trace(self, is_client: bool, odcid: bytes) -> PacketTrace:  # noqa: FBT001  (aioquic's)
        """Begin the log of a connection."""
        self.latest = PacketTrace(is_client=is_client, odcid=odcid)
        self.open.add(self.latest)
        return self.latest

    def end_trace(self, trace: QuicLoggerTrace) -> None:
        """End one."""
        assert isinstance(trace, PacketTrace)
        self.open.discard(trace)
        trace.abandon_all()
