"""Take requests from edge relays over Eloquent sessions, call the model server, and stream its answer back.

Rules of this file: a request names the gRPC method it wants, and only listed methods are called. Messages pass as
bytes, undecoded: one message is one token. How the call ended travels in the stream's trailer. A client that cancels,
or is gone, has its call cancelled. What a stream costs is counted while it runs, and logged when it is over.
"""

import argparse
import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from eloquent import process, schemes, telemetry
from eloquent.addresses import Address, cannot_listen, listen_on, parse_address
from eloquent.api.v1.relay_pb2 import RelayRequest, RelayStatus
from eloquent.calls import names
from eloquent.drivers.udp import UdpServer
from eloquent.errors import LocalProtocolError
from eloquent.nodes.common import runtime
from eloquent.nodes.common.stream_record import Spent, StreamOwner, StreamRecorder, add_flags
from eloquent.nodes.origin_relay.pair import PairOrigin
from eloquent.protocol.session import (
    ServerEvent,
    ServerSession,
    SessionLost,
    StreamCancelled,
    StreamDelivered,
    StreamFailed,
    StreamRequested,
    Tally,
)
from eloquent.protocol.session_base import SchemeLookup
from eloquent.relay.sealed.key import load_key
from eloquent.relay.settings import OFFERED_SCHEMES

MAX_BACKLOG = 1024  # unacknowledged tokens of one stream beyond which the upstream call is not read
MAX_MESSAGE = 400  # characters of a status message, so that a trailer fits into its 512 bytes
BASELINE = "duplicate-2"  # of the paper, which a lab compares with; to operators it is not offered
_POLL = 0.02  # seconds between two looks at a backlog that is too high
_SAMPLE_INTERVAL = 1.0  # seconds between two samples of the gauges and of running streams' costs

_Status = tuple[grpc.StatusCode, str]

_logger = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Stream:
    """One answer on its way.

    Attributes:
        session: The session that it belongs to.
        stream_id: Its number there.
        owner: What logs and metrics say of it.
        call: The task that reads the upstream call.
        counted: What the metrics already hold of its cost.
    """

    session: ServerSession
    stream_id: int
    owner: StreamOwner
    call: asyncio.Task[_Status]
    counted: Spent = field(default_factory=Spent)


class OriginRelay:
    """The relay on the model's side.

    Args:
        upstream: Channel to the model server.
        metrics: What is counted of streams.
        recorder: Where costs are counted and logged.
        methods: Full names of the gRPC methods that may be called.
        max_streams: Streams at once, over all sessions.
    """

    def __init__(
        self,
        upstream: grpc.aio.Channel,
        metrics: telemetry.OriginMetrics,
        recorder: StreamRecorder,
        *,
        methods: Collection[str] = (names.GENERATE,),
        max_streams: int = 1000,
    ) -> None:
        self._calls: dict[str, grpc.aio.UnaryStreamMultiCallable[bytes, bytes]] = {
            method: upstream.unary_stream(method) for method in methods
        }
        self._metrics = metrics
        self._recorder = recorder
        self._max_streams = max_streams
        self._streams: dict[tuple[ServerSession, int], _Stream] = {}
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()

    async def open(
        self, address: Address, *, scheme_of: SchemeLookup = schemes.get, tally: Tally | None = None
    ) -> UdpServer:
        """Listen for edge relays.

        Args:
            address: Host and port; port 0 takes a free one.
            scheme_of: Finds the schemes that are offered.
            tally: Where datagrams are counted.

        Raises:
            OSError: The address is in use or not ours.
        """
        self._server = await UdpServer.bind(address, scheme_of, self._on_event, tally=tally)
        return self._server

    def _on_event(self, session: ServerSession, event: ServerEvent) -> None:
        """Take an event of a session."""
        match event:
            case StreamRequested():
                self._start(session, event)
            case StreamDelivered():
                self._end(session, event.stream_id)
            case StreamCancelled() | StreamFailed():
                if stream := self._streams.get((session, event.stream_id)):
                    gave_up = isinstance(event, StreamFailed)
                    (self._metrics.given_up_streams if gave_up else self._metrics.cancelled_streams).inc()
                    stream.call.cancel()
                    self._end(session, event.stream_id)
            case SessionLost():
                _logger.info("session of %s:%d lost: %s", *session.address, event.reason)

    async def drain(self, grace: float) -> None:
        """Refuse new streams and wait for those that run; cut what is left after the grace time, in seconds."""
        self._draining = True
        try:
            await asyncio.wait_for(self._empty.wait(), grace)
        except TimeoutError:
            for stream in list(self._streams.values()):
                stream.call.cancel()
                self._end(stream.session, stream.stream_id)

    def sample(self) -> list[tuple[str, int]]:
        """Count what running streams have cost so far, and return scheme and backlog of each."""
        for stream in self._streams.values():
            self._count(stream)
        return [(one.owner.scheme, one.session.backlog(one.stream_id)) for one in self._streams.values()]

    def _start(self, session: ServerSession, event: StreamRequested) -> None:
        request = RelayRequest()
        try:
            request.ParseFromString(event.request)
        except DecodeError:
            message = "the request is not a RelayRequest: it cannot be decoded"
            self._finish(session, event.stream_id, grpc.StatusCode.INVALID_ARGUMENT, message)
            return
        if self._draining:
            self._finish(session, event.stream_id, grpc.StatusCode.UNAVAILABLE, "the origin relay is shutting down")
        elif request.method not in self._calls:
            message = f"the origin relay does not call '{request.method}'"
            self._finish(session, event.stream_id, grpc.StatusCode.UNIMPLEMENTED, message)
        elif len(self._streams) >= self._max_streams:
            message = f"the origin relay has {self._max_streams} streams open, which is its limit; try again later"
            self._finish(session, event.stream_id, grpc.StatusCode.RESOURCE_EXHAUSTED, message)
        else:
            metadata = dict(request.metadata)
            metadata[names.SCHEME_KEY] = event.scheme
            call = asyncio.get_running_loop().create_task(self._relay(session, event.stream_id, request, metadata))
            stream = _Stream(session, event.stream_id, StreamOwner.of(metadata), call)
            self._streams[session, event.stream_id] = stream
            call.add_done_callback(partial(self._called, session, event.stream_id))
            self._empty.clear()

    async def _relay(
        self, session: ServerSession, stream_id: int, request: RelayRequest, metadata: dict[str, str]
    ) -> _Status:
        """Call upstream, send on what comes, and return how the call ended."""
        timeout = request.timeout.ToNanoseconds() / 1e9 if request.HasField("timeout") else None
        call = self._calls[request.method](request.body, metadata=tuple(metadata.items()), timeout=timeout)
        try:
            async for token in call:
                while session.backlog(stream_id) >= MAX_BACKLOG:  # noqa: ASYNC110  (no event tells of progress)
                    await asyncio.sleep(_POLL)
                self._server.send_token(session, stream_id, token)
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details() or ""
        except LocalProtocolError as error:
            return grpc.StatusCode.RESOURCE_EXHAUSTED, f"the answer cannot be relayed: {error}"
        finally:
            call.cancel()
        return grpc.StatusCode.OK, ""

    def _called(self, session: ServerSession, stream_id: int, call: asyncio.Task[_Status]) -> None:
        """End the answer as its call has ended; a cancelled one has nobody to tell."""
        if call.cancelled():
            return
        if error := call.exception():
            _logger.error("relaying failed", exc_info=error)
            self._finish(session, stream_id, grpc.StatusCode.INTERNAL, "the origin relay failed")
        else:
            self._finish(session, stream_id, *call.result())

    def _finish(self, session: ServerSession, stream_id: int, code: grpc.StatusCode, message: str) -> None:
        """End a stream with the status of its call."""
        number: int = code.value[0]
        trailer = RelayStatus(code=number, message=message[:MAX_MESSAGE])
        while trailer.ByteSize() > MAX_MESSAGE:  # characters may take up to four bytes
            trailer.message = trailer.message[: len(trailer.message) // 2]
        self._server.finish(session, stream_id, trailer=trailer.SerializeToString())

    def _end(self, session: ServerSession, stream_id: int) -> None:
        """Record what a stream cost that is over, in whatever way."""
        stream = self._streams.pop((session, stream_id), None)
        if stream is not None:
            tokens = self._count(stream)
            self._recorder.write(stream.owner, tokens, stream.counted)
        if not self._streams:
            self._empty.set()

    def _count(self, stream: _Stream) -> int:
        account = stream.session.account(stream.stream_id)
        spent = Spent(account.original_bytes, account.redundant_bytes, account.packets, account.wire_bytes)
        self._recorder.count(stream.owner, stream.counted, spent)
        stream.counted = spent
        return account.tokens


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


async def serve(flags: argparse.Namespace, stop: asyncio.Event) -> None:
    """Serve until stopped."""
    parse_address(flags.upstream)
    listen_on(flags.listen, socket.SOCK_DGRAM).close()  # is it free? uvloop would not say why not
    metrics, sessions = telemetry.OriginMetrics(), telemetry.SessionMetrics()
    recorder = StreamRecorder.open(metrics, flags, "origin")
    tally = Tally(sent=sessions.sent, received=sessions.received)
    async with grpc.aio.insecure_channel(flags.upstream) as upstream:
        upstream.get_state(try_to_connect=True)  # so that the first request need not wait for it
        relays: list[OriginRelay | PairOrigin] = []
        relay = OriginRelay(upstream, metrics, recorder, methods=flags.methods, max_streams=flags.max_streams)
        try:
            servers = [
                await relay.open(
                    parse_address(flags.listen, listen=True), scheme_of=schemes.only(flags.schemes), tally=tally
                )
            ]
        except OSError as error:
            raise cannot_listen(flags.listen, error) from error
        relays.append(relay)
        if runtime.all_or_none(flags, "http_upstream", "sealed", "key_file"):
            pair = PairOrigin(flags.http_upstream, recorder)
            servers.append(await pair.open(flags.sealed, key=load_key(flags.key_file), tally=tally))
            relays.append(pair)
        if flags.metrics:
            telemetry.serve(flags.metrics)
        watching = asyncio.create_task(_watch(relays, StreamGauges(metrics, recorder), servers, sessions))
        process.announce_ready()
        await stop.wait()
        await asyncio.gather(*(one.drain(flags.grace) for one in relays))
        watching.cancel()
        for server in servers:
            server.close()
    recorder.close()


async def _watch(
    relays: Sequence[OriginRelay | PairOrigin],
    gauges: StreamGauges,
    servers: Sequence[UdpServer],
    sessions: telemetry.SessionMetrics,
) -> None:
    """Keep the metrics up to date that no event reports, for ever."""
    counted = 0
    while True:
        gauges.show(stream for relay in relays for stream in relay.sample())
        sessions.sessions.set(sum(len(server.endpoint.sessions) for server in servers))
        malformed = sum(server.malformed for server in servers)
        sessions.malformed_datagrams.inc(malformed - counted)
        counted = malformed
        await asyncio.sleep(_SAMPLE_INTERVAL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node."""
    parser = runtime.parser("origin_relay", __doc__)
    parser.add_argument("--listen", required=True, metavar="HOST:PORT", help="UDP address for edge relays")
    parser.add_argument("--upstream", required=True, metavar="HOST:PORT", help="gRPC address of the model server")
    parser.add_argument(
        "--methods",
        type=runtime.comma_separated,
        default=(names.GENERATE,),
        metavar="A,B",
        help="full names of the gRPC methods that may be called",
    )
    parser.add_argument(
        "--schemes",
        type=runtime.comma_separated,
        default=(*OFFERED_SCHEMES, BASELINE),
        metavar="A,B",
        help="schemes that clients may ask for, or 'any' (%(default)s)",
    )
    parser.add_argument("--max-streams", type=int, default=1000, help="streams at once (%(default)s)")
    pair = parser.add_argument_group("the relay pair for real services, beside that; all three or none")
    pair.add_argument("--http-upstream", metavar="URL", help="of the model server")
    pair.add_argument("--sealed", metavar="HOST:PORT", help="UDP address for its edge relays")
    pair.add_argument("--key-file", type=Path, metavar="FILE", help="holds the key that it shares with them")
    add_flags(parser, "origin")
    return process.run(partial(serve, parser.parse_args(arguments)))
