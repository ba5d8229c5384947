"""The origin of the relay pair for real services, whose streams' costs are recorded as those of every sender of a lab.

Rules of this file: a token is an event that brings something to read, as it is for those who render; what frames an answer (its
head, the role, the end) costs bytes and is no token.
"""

from weakref import WeakKeyDictionary

from eloquent import schemes
from eloquent.addresses import cannot_listen, parse_address
from eloquent.calls.answer import AnswerFailed
from eloquent.calls.chat_stream import DeltaReader
from eloquent.drivers.udp import UdpServer
from eloquent.nodes.common.stream_record import Spent, StreamOwner, StreamRecorder
from eloquent.protocol.session import Tally
from eloquent.relay.origin import Origin, OriginAnswer, OriginObserver, OriginStream
from eloquent.relay.sealed import udp
from eloquent.relay.serve import HELD_REQUESTS, limits_for
from eloquent.relay.settings import MAX_REQUEST
from eloquent.relay.upstreams.http import HttpUpstream


class _Reading:
    """Counts the tokens of one answer.

    Attributes:
        tokens: How many there were.
        logged: How many of them stand in the log.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self.logged = 0
        self._reader: DeltaReader | None = DeltaReader()

    def feed(self, event: bytes) -> None:
        """Take an event of it."""
        if self._reader is not None:
            try:
                self.tokens += sum(1 for _ in self._reader.feed(event))
            except AnswerFailed:  # what that says is for the client
                self._reader = None


class PairAccounts(OriginObserver):
    """Records what the streams of the pair cost.

    Args:
        recorder: Where costs are counted and logged.
    """

    def __init__(self, recorder: StreamRecorder) -> None:
        self._recorder = recorder
        self._readings: WeakKeyDictionary[OriginAnswer, _Reading] = WeakKeyDictionary()
        self._counted: WeakKeyDictionary[OriginStream, Spent] = WeakKeyDictionary()

    def on_token(self, answer: OriginAnswer, token: bytes) -> None:
        """See `OriginObserver`."""
        if answer in self._readings:
            self._readings[answer].feed(token)
        else:  # the head
            self._readings[answer] = _Reading()

    def on_end(self, stream: OriginStream) -> None:
        """See `OriginObserver`."""
        reading = self._readings.get(stream.answer) or _Reading()
        self._recorder.write(owner_of(stream), reading.tokens - reading.logged, self.count(stream))
        reading.logged = reading.tokens

    def count(self, stream: OriginStream) -> Spent:
        """Bring the metrics of a stream up to date, and return what it has cost so far."""
        account = stream.account
        spent = Spent(account.original_bytes, account.redundant_bytes, account.packets, account.wire_bytes)
        self._recorder.count(owner_of(stream), self._counted.get(stream, Spent()), spent)
        self._counted[stream] = spent
        return spent


def owner_of(stream: OriginStream) -> StreamOwner:
    """Return whose stream it is, as the header of its request says."""
    fields = stream.answer.request.fields
    return StreamOwner.of({field.name.lower(): field.value.decode("latin-1") for field in fields})


class PairOrigin:
    """The origin of the relay pair for real services, sealed, before the model server's HTTP.

    Args:
        upstream: URL of the model server.
        recorder: Where costs are counted and logged.
    """

    def __init__(self, upstream: str, recorder: StreamRecorder) -> None:
        self._upstream = HttpUpstream(upstream, max_held=HELD_REQUESTS * MAX_REQUEST)
        self._accounts = PairAccounts(recorder)
        self._origin = Origin(self._upstream, observer=self._accounts)

    async def open(self, listen: str, *, key: bytes, tally: Tally | None = None) -> UdpServer:
        """Listen for edge relays that have the key.

        Args:
            listen: HOST:PORT; port 0 takes a free one.
            key: 32 bytes, shared with them.
            tally: Where datagrams are counted.

        Raises:
            ConfigurationError: The address cannot be listened on.
        """
        address = parse_address(listen, listen=True)
        try:
            server = await udp.bind(
                address, schemes.get, self._origin.on_event, key=key, limits=limits_for(MAX_REQUEST), tally=tally
            )
        except OSError as error:
            raise cannot_listen(listen, error) from error
        await self._upstream.open()
        self._origin.server = server
        return server

    def sample(self) -> list[tuple[str, int]]:
        """Count what running streams have cost so far, and return scheme and backlog of each."""
        streams = self._origin.streams
        for stream in streams:
            self._accounts.count(stream)
        return [(owner_of(stream).scheme, stream.backlog) for stream in streams]

    async def drain(self, grace: float) -> None:
        """Refuse new answers, wait for those that run at most so many seconds, and stop asking."""
        await self._origin.drain(grace)
        await self._upstream.close()
