"""The relay beside the model server: takes requests from edges, asks the server, and sends the answers.

Rules of this file
- An answer belongs to its id, not to the session that asked for it: who comes back, on whatever session, goes on where it was.
- The model is asked once for each id, however often that is asked for, by the upstream that speaks the protocol of the request.
- An answer has one reader: who comes for it takes it over, or a stream on a path that has died would hold it back.
- An answer is over when an edge has all of it, or says that it is not wanted (`Cancel`). An edge that is only gone may come
  back: its answer goes on into its log, and is ended when nobody has come for `keep` seconds. So is each whose client has
  said that he may come back for the rest.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Protocol

from eloquent import schemes
from eloquent.addresses import cannot_listen, listen_on
from eloquent.api.v1.exchange_pb2 import Ask, GrpcCall, HttpRequest, Outcome
from eloquent.drivers.udp import UdpServer
from eloquent.errors import LocalProtocolError, RemoteProtocolError
from eloquent.protocol.address_token import Address
from eloquent.protocol.limits import EndpointLimits
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
from eloquent.relay.answer_log import AnswerLog
from eloquent.relay.exchange import ModelRequest, decode_ask, encode_outcome
from eloquent.relay.observers import OriginObserver
from eloquent.relay.origin_streams import OriginAnswer, OriginStream, StreamEnd
from eloquent.relay.sealed import udp
from eloquent.relay.upstreams.base import Sink, Upstream

MAX_BACKLOG = 512  # unacknowledged fragments of one stream beyond which no more is given to it
KEEP = 60.0  # seconds that an answer without a reader is kept
LAST_WORDS = 1.0  # seconds in which edges are told of answers that are cut
_POLL = 0.02  # seconds between two looks at a backlog that is too high

_log = logging.getLogger(__name__)


class _Refused(Exception):
    """A request that nobody is asked for.

    Args:
        kind: What its outcome is.
        message: For the client.
    """

    def __init__(self, kind: Outcome.Kind.ValueType, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class _Log:
    """The log of an answer, as the sink of its tokens.

    Args:
        answer: The answer.
        observer: Is told of each token.
    """

    def __init__(self, answer: OriginAnswer, observer: OriginObserver) -> None:
        self._answer = answer
        self._on_token = observer.on_token
        self._append = answer.log.append
        self.room = answer.log.room

    def put(self, token: bytes) -> bool:
        """See `Sink`."""
        answer = self._answer
        if not answer.log.end:
            answer.request.ClearField("body")  # whoever answers needs it no more
        self._on_token(answer, token)
        return self._append(token)


class Guard(Protocol):
    """Tells those who have the key from strangers, and says what these may ask."""

    def restrict(self, ask: Ask, address: Address) -> bool:
        """Return whether a stranger asks, and leave of his request what may go to the model server.

        Args:
            ask: The request, which is changed.
            address: Of the session that asks.

        Raises:
            RemoteProtocolError: He may not ask that.
        """


class Origin:
    """Answer the requests of edges; `open` and `admit` let them in.

    Args:
        http: The model server that requests over HTTP are for; None refuses them.
        grpc: The model server that calls of gRPC are for; None refuses them.
        keep: Seconds that an answer without a reader is kept.
        max_answers: Answers at once, with those that are kept.
        max_strangers_answers: Of these, those that strangers have asked; what is left is for those with the key.
        max_backlog: Unacknowledged fragments of one stream beyond which no more is given to it.
        observer: Is told what becomes of answers.

    Attributes:
        servers: Where edges come in.
        refused: How often an answer was refused because there were `max_answers`.
    """

    def __init__(
        self,
        *,
        http: Upstream[HttpRequest] | None = None,
        grpc: Upstream[GrpcCall] | None = None,
        keep: float = KEEP,
        max_answers: int = 1000,
        max_strangers_answers: int = 500,
        max_backlog: int = MAX_BACKLOG,
        observer: OriginObserver | None = None,
    ) -> None:
        self._http = http
        self._grpc = grpc
        self._keep = keep
        self._max_answers = max_answers
        self._max_strangers_answers = max_strangers_answers
        self._max_backlog = max_backlog
        self._observer = OriginObserver() if observer is None else observer
        self.servers: list[UdpServer] = []
        self._guards: dict[UdpServer, Guard] = {}
        self._answers: dict[bytes, OriginAnswer] = {}
        self._readers: dict[tuple[ServerSession, int], OriginStream] = {}
        self.refused = 0
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()

    async def open(
        self,
        listen: str,
        *,
        scheme_of: SchemeLookup = schemes.get,
        key: bytes | None = None,
        limits: EndpointLimits | None = None,
        tally: Tally | None = None,
    ) -> None:
        """Let edges in over UDP.

        Args:
            listen: HOST:PORT; port 0 takes a free one.
            scheme_of: Finds the schemes that are offered.
            key: 32 bytes, shared with the edges; None takes plaintext, which is for closed networks only.
            limits: What edges may take up.
            tally: Where datagrams are counted.

        Raises:
            ConfigurationError: The address cannot be listened on.
        """
        bind = UdpServer.bind if key is None else partial(udp.bind, key=key)
        await self.admit(listen, partial(bind, scheme_of=scheme_of, limits=limits, tally=tally))

    async def admit(
        self, listen: str, bind: Callable[..., Awaitable[UdpServer]], *, guard: Guard | None = None
    ) -> UdpServer:
        """Let edges in by one more server.

        Args:
            listen: HOST:PORT; port 0 takes a free one.
            bind: Makes the server, of the address, and of `on_event`, which is called with each session and event.
            guard: Says what strangers may ask who come in there; None where only those with the key do.

        Raises:
            ConfigurationError: The address cannot be listened on.
        """
        probe = listen_on(listen, socket.SOCK_DGRAM)  # which says why not, as uvloop does not
        where = probe.getsockname()[:2]
        probe.close()

        def on_event(session: ServerSession, event: ServerEvent) -> None:
            self.on_event(server, session, event)

        try:
            server = await bind(where, on_event=on_event)
        except OSError as error:  # somebody else has taken it meanwhile
            raise cannot_listen(listen, error) from error
        self.servers.append(server)
        if guard is not None:
            self._guards[server] = guard
        return server

    @property
    def server(self) -> UdpServer:
        """Where edges came in first."""
        return self.servers[0]

    @property
    def sessions(self) -> list[ServerSession]:
        """The sessions that are open, wherever they came in."""
        return [session for server in self.servers for session in server.endpoint.sessions]

    @property
    def streams(self) -> list[OriginStream]:
        """The streams that are open."""
        return list(self._readers.values())

    @property
    def answers(self) -> int:
        """How many answers there are, with those that are kept."""
        return len(self._answers)

    @property
    def strangers_answers(self) -> int:
        """How many of these strangers have asked."""
        return sum(answer.is_strangers for answer in self._answers.values())

    def on_event(self, server: UdpServer, session: ServerSession, event: ServerEvent) -> None:
        """Take an event of a session that came in by a server."""
        match event:
            case StreamRequested():
                self._take(server, session, event)
            case StreamDelivered() | StreamCancelled():
                reader = self._detach(session, event.stream_id, event)
                if reader is not None:
                    reader.answer.is_delivered |= isinstance(event, StreamDelivered)
                    if not reader.answer.is_wanted:
                        self._drop(reader.answer_id)
            case StreamFailed():
                self._detach(session, event.stream_id, event)
            case SessionLost():
                _log.info("session of %s:%d lost: %s", *session.address, event.reason)

    async def drain(self, grace: float) -> None:
        """Refuse new answers and wait for those that run; cut what is left after the grace time, in seconds."""
        self._draining = True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), grace)
        if self._readers:
            _log.warning("%d answers are cut: they did not end within %g s", len(self._readers), grace)
        for answer_id in list(self._answers):
            self._drop(answer_id)
        with suppress(TimeoutError):  # they are told so, if they are there
            await asyncio.wait_for(self._empty.wait(), LAST_WORDS)
        for session, stream_id in list(self._readers):
            self._detach(session, stream_id)

    def close(self) -> None:
        """Close every session, telling the edges, and the sockets."""
        for server in self.servers:
            server.close()

    def _take(self, server: UdpServer, session: ServerSession, event: StreamRequested) -> None:
        try:
            ask, guard = decode_ask(event.request), self._guards.get(server)
            is_strangers = guard is not None and guard.restrict(ask, session.address)
            is_resumed = ask.answer_id in self._answers
            answer = self._find(ask, is_strangers=is_strangers)
        except RemoteProtocolError as error:
            self._refuse(server, session, event.stream_id, Outcome.INVALID, str(error))
        except _Refused as refused:
            self._refuse(server, session, event.stream_id, refused.kind, str(refused))
        else:
            stream = OriginStream(
                server, session, event.stream_id, ask.answer_id, answer, ask.resume.next, event.scheme, is_resumed
            )
            self._attach(stream)

    def _find(self, ask: Ask, *, is_strangers: bool) -> OriginAnswer:
        """Return the answer that is asked for, which is begun if it is not there.

        Raises:
            _Refused: Nobody is asked, or what is wanted of it is not kept.
        """
        answer = self._answers.get(ask.answer_id) or self._begin(ask, is_strangers=is_strangers)
        if not answer.log.first <= ask.resume.next <= answer.log.end:
            raise _Refused(Outcome.GONE, f"token {ask.resume.next} of this answer is not kept any more")
        return answer

    def _begin(self, ask: Ask, *, is_strangers: bool) -> OriginAnswer:
        """Ask the model server.

        Raises:
            _Refused: It is not asked.
        """
        request: ModelRequest
        call: Callable[[Sink], Coroutine[None, None, bytes]]
        if ask.HasField("resume"):
            raise _Refused(Outcome.GONE, "the origin relay does not have this answer any more")
        if ask.HasField("http") and self._http is not None:
            request, call = ask.http, partial(self._http.ask, ask.http)
        elif ask.HasField("grpc") and self._grpc is not None:
            request, call = ask.grpc, partial(self._grpc.ask, ask.grpc)
        else:
            raise _Refused(Outcome.UNSUPPORTED, f"the origin relay has no model server for {ask.WhichOneof('what')}")
        if self._draining:
            raise _Refused(Outcome.STOPPING, "the origin relay is shutting down")
        self._check_room(is_strangers=is_strangers)
        now = asyncio.get_running_loop().time()
        answer = OriginAnswer(request, now, AnswerLog(), ask.is_resumable, is_strangers)

        self._answers[ask.answer_id] = answer
        answer.call = asyncio.get_running_loop().create_task(self._run(answer, call(_Log(answer, self._observer))))
        return answer

    def _check_room(self, *, is_strangers: bool) -> None:
        """Check that one more answer may begin.

        Raises:
            _Refused: There are as many as may be.
        """
        limit, count = self._max_answers, len(self._answers)
        if is_strangers and count < limit:
            limit = self._max_strangers_answers
            count = self.strangers_answers
        if count >= limit:
            self.refused += 1
            raise _Refused(
                Outcome.REFUSED, f"the origin relay has {limit} answers, which is its limit; try again later"
            )

    async def _run(self, answer: OriginAnswer, call: Coroutine[None, None, bytes]) -> None:
        """Write what the model server answers into the log."""
        try:
            trailer = await call
        except asyncio.CancelledError:
            answer.log.finish(encode_outcome(Outcome.BROKEN, "the answer was cut"))
            raise
        except Exception:  # noqa: BLE001 - whatever it was, the client is told that the answer is not whole
            _log.exception("an answer failed")
            trailer = encode_outcome(Outcome.BROKEN, "the origin relay failed")
        answer.log.finish(trailer)

    def _attach(self, reader: OriginStream) -> None:
        if reader.answer.expiry is not None:
            reader.answer.expiry.cancel()
            reader.answer.expiry = None
        before = [other for other in self._readers.values() if other.answer is reader.answer]
        reader.wake = partial(self._give, reader)
        self._readers[reader.session, reader.stream_id] = reader
        self._observer.on_begin(reader)
        self._empty.clear()
        self._give(reader)
        for other in before:
            self._detach(other.session, other.stream_id)
            self._refuse(
                other.server, other.session, other.stream_id, Outcome.BROKEN, "the answer goes on by another stream"
            )

    def _detach(self, session: ServerSession, stream_id: int, event: StreamEnd | None = None) -> OriginStream | None:
        """Take a stream from its answer, which is kept for some time when nobody else reads it."""
        reader = self._readers.pop((session, stream_id), None)
        if reader is None:
            return None
        if reader.poll is not None:
            reader.poll.cancel()
        reader.answer.log.detach(reader.wake)
        is_forgotten = self._answers.get(reader.answer_id) is not reader.answer
        if not reader.answer.log.is_read and reader.answer.expiry is None and not is_forgotten:
            loop = asyncio.get_running_loop()
            reader.answer.expiry = loop.call_later(self._keep, self._drop, reader.answer_id)
        if not self._readers:
            self._empty.set()
        self._observer.on_end(reader, event)
        if is_forgotten and not reader.answer.log.is_read:
            self._observer.on_over(reader.answer)
        return reader

    def _drop(self, answer_id: bytes) -> None:
        """End an answer and forget it."""
        answer = self._answers.pop(answer_id, None)
        if answer is None:
            return
        if answer.expiry is not None:
            answer.expiry.cancel()
        if answer.call is not None:
            answer.call.cancel()
        if not answer.log.is_read:
            self._observer.on_over(answer)

    def _give(self, reader: OriginStream) -> None:
        """Give a stream what there is of its answer, as far as it has room."""
        log, session, stream_id = reader.answer.log, reader.session, reader.stream_id
        if (session, stream_id) not in self._readers:
            return
        if reader.poll is not None:
            reader.poll.cancel()
            reader.poll = None
        while (token := log.read(reader.position)) is not None:
            if session.backlog(stream_id) >= self._max_backlog:
                reader.poll = asyncio.get_running_loop().call_later(_POLL, self._give, reader)
                break
            try:
                reader.server.send_token(session, stream_id, token)
            except LocalProtocolError as error:
                self._refuse(
                    reader.server, session, stream_id, Outcome.BROKEN, f"the answer cannot be relayed: {error}"
                )
                self._drop(reader.answer_id)
                return
            reader.position += 1
        else:
            if log.trailer is not None:
                reader.server.finish(session, stream_id, trailer=log.trailer)
        if (session, stream_id) in self._readers:  # whose end may have been told while it was given something
            log.attach(reader.wake, reader.position)

    @staticmethod
    def _refuse(
        server: UdpServer, session: ServerSession, stream_id: int, kind: Outcome.Kind.ValueType, message: str
    ) -> None:
        server.finish(session, stream_id, trailer=encode_outcome(kind, message))
