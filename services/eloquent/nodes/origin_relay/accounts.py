"""What the streams of an origin relay cost: counted while they run, and logged when they are over.

Rules of this file: a token is what brings something to read, as it is for those who render: a message of a gRPC call, and an event
of a chat that has words in it. What frames such a chat (its head, the role, the end) costs bytes and is no token.
"""

from collections import Counter
from collections.abc import Iterable
from weakref import WeakKeyDictionary

from eloquent import telemetry
from eloquent.api.v1.exchange_pb2 import GrpcCall
from eloquent.calls import names
from eloquent.calls.answer import AnswerFailed
from eloquent.calls.chat_stream import DeltaReader
from eloquent.nodes.common.stream_record import Spent, StreamOwner, StreamRecorder
from eloquent.protocol.session import StreamCancelled, StreamFailed
from eloquent.relay.observers import OriginObserver
from eloquent.relay.origin_streams import OriginAnswer, OriginStream, StreamEnd


class _Reading:
    """Counts the tokens of one answer, each message of which is one.

    Attributes:
        tokens: How many there were.
        logged: How many of them stand in the log.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self.logged = 0

    def feed(self, message: bytes) -> None:  # noqa: ARG002 - whatever it says
        """Take what came next."""
        self.tokens += 1


class _ChatReading(_Reading):
    """Counts the tokens of a chat, which its events bring."""

    def __init__(self) -> None:
        super().__init__()
        self._has_head = False
        self._reader: DeltaReader | None = DeltaReader()

    def feed(self, message: bytes) -> None:
        """Take what came next."""
        if not self._has_head:
            self._has_head = True
        elif self._reader is not None:
            try:
                self.tokens += sum(1 for _ in self._reader.feed(message))
            except AnswerFailed:  # what that says is for the client
                self._reader = None


class StreamAccounts(OriginObserver):
    """Records what streams cost, and how they ended.

    Args:
        metrics: Where ends are counted.
        recorder: Where costs are counted and logged.
    """

    def __init__(self, metrics: telemetry.OriginMetrics, recorder: StreamRecorder) -> None:
        self._metrics = metrics
        self._recorder = recorder
        self._readings: WeakKeyDictionary[OriginAnswer, _Reading] = WeakKeyDictionary()
        self._counted: WeakKeyDictionary[OriginStream, Spent] = WeakKeyDictionary()

    def on_token(self, answer: OriginAnswer, token: bytes) -> None:
        """See `OriginObserver`."""
        self._reading(answer).feed(token)

    def on_end(self, stream: OriginStream, event: StreamEnd | None) -> None:
        """See `OriginObserver`."""
        if isinstance(event, StreamCancelled):
            self._metrics.cancelled_streams.inc()
        elif isinstance(event, StreamFailed):
            self._metrics.given_up_streams.inc()
        reading = self._reading(stream.answer)
        self._recorder.write(owner_of(stream), reading.tokens - reading.logged, self._count(stream))
        reading.logged = reading.tokens

    def sample(self, streams: Iterable[OriginStream]) -> list[tuple[str, int]]:
        """Count what running streams have cost so far, and return scheme and backlog of each."""
        sampled = []
        for stream in streams:
            self._count(stream)
            sampled.append((owner_of(stream).scheme, stream.backlog))
        return sampled

    def _reading(self, answer: OriginAnswer) -> _Reading:
        if (reading := self._readings.get(answer)) is None:
            reading = _Reading() if isinstance(answer.request, GrpcCall) else _ChatReading()
            self._readings[answer] = reading
        return reading

    def _count(self, stream: OriginStream) -> Spent:
        """Bring the metrics of a stream up to date, and return what it has cost so far."""
        account = stream.account
        spent = Spent(account.original_bytes, account.redundant_bytes, account.packets, account.wire_bytes)
        self._recorder.count(owner_of(stream), self._counted.get(stream, Spent()), spent)
        self._counted[stream] = spent
        return spent


def owner_of(stream: OriginStream) -> StreamOwner:
    """Return whose stream it is: of a call by its metadata, but for its scheme, which is the one that carries it."""
    request = stream.answer.request
    if isinstance(request, GrpcCall):
        return StreamOwner.of({**request.metadata, names.SCHEME_KEY: stream.scheme})
    return StreamOwner.of({field.name.lower(): field.value.decode("latin-1") for field in request.fields})


class StreamGauges:
    """Shows how many answers are on their way, and how much of them is not acknowledged.

    Args:
        metrics: Where.
        recorder: Knows what metrics call a scheme.
    """

    def __init__(self, metrics: telemetry.OriginMetrics, recorder: StreamRecorder) -> None:
        self._metrics = metrics
        self._recorder = recorder
        self._schemes: set[str] = set()  # that there were streams of: they stay in the metrics, at 0

    def show(self, streams: Iterable[tuple[str, int]]) -> None:
        """Show what streams there are.

        Args:
            streams: Scheme and backlog of each.
        """
        numbers: Counter[str] = Counter()
        backlogs: Counter[str] = Counter()
        for scheme, backlog in streams:
            label = self._recorder.scheme_label(scheme)
            numbers[label] += 1
            backlogs[label] += backlog
        self._schemes |= numbers.keys()
        for gauge, counts in ((self._metrics.relayed_streams, numbers), (self._metrics.unacked_tokens, backlogs)):
            for scheme in self._schemes:
                gauge.labels(scheme).set(counts[scheme])
