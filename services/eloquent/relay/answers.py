"""The edge's side of an answer: one sequence of tokens, whatever becomes of the sessions that carry it.

Rules of this file
- A stream that is lost is asked for again from the next token on, until none has come for `RESUME_TIMEOUT`.
- The model is never asked twice: what was begun is resumed, or the answer fails. A request that the origin relay has not said
  to have is sent again, under the same id, by which an origin relay knows what it has begun.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable

from eloquent.api.v1.exchange_pb2 import Outcome
from eloquent.errors import LocalProtocolError
from eloquent.protocol.session import RequestState, StreamEnded, StreamFailed, StreamToken
from eloquent.relay.exchange import ANSWER_ID_SIZE, ModelRequest, decode_outcome, encode_begin, encode_resume
from eloquent.relay.uplink import CarrierName, RelayedAnswer, Way

RESUME_TIMEOUT = 60.0  # seconds since an answer was lost, without a token, for which it is asked for again
_PAUSE = 0.5  # seconds between two trials

_log = logging.getLogger(__name__)


class EdgeAnswer:
    """An answer on its way; read it with `next` until that returns an outcome.

    Args:
        uplink: The way to the origin relay.
        scheme: Name of the scheme that carries it.

    Attributes:
        id: Names it.
        position: Index of the next token.
        carrier: What carries it, or carried it until it was lost.
        resumptions: How often it was asked for again.
    """

    carrier: CarrierName

    def __init__(self, uplink: Way, scheme: str) -> None:
        self.id = secrets.token_bytes(ANSWER_ID_SIZE)
        self.position = self.resumptions = 0
        self._uplink = uplink
        self._scheme = scheme
        self._request: bytes | None = None  # to be sent again; None once the origin relay has it
        self._stream: RelayedAnswer | None = None  # None while the answer is lost
        self._lost_at = 0.0  # seconds; when the first of the streams was lost that brought no token
        self._loss = ""  # why; empty if the last stream has brought one
        self._resume_at = 0.0  # seconds; meaningful while the answer is lost

    def begin(self, request: ModelRequest, *, is_resumable: bool = False) -> None:
        """Ask the model server.

        Args:
            request: The client's.
            is_resumable: Whether the client may come back for the rest.

        Raises:
            ConfigurationError: There is no such scheme, or it is not carried by datagrams.
            LocalProtocolError: Too many streams are open.
        """
        self._request = encode_begin(self.id, request, is_resumable=is_resumable)
        self._open(self._request)

    def go_on(self, answer_id: bytes, position: int) -> None:
        """Ask for the rest of an answer that was begun before, perhaps by another edge.

        Args:
            answer_id: Names it.
            position: Index of the first token that is wanted.

        Raises:
            ConfigurationError: There is no such scheme, or it is not carried by datagrams.
            LocalProtocolError: Too many streams are open.
        """
        self.id, self.position = answer_id, position
        self._open(encode_resume(answer_id, position))

    async def next(self) -> bytes | Outcome:
        """Wait for the next token, or for how the answer ended. A wait that is cancelled may be begun again."""
        while True:
            if self._stream is None:
                if (outcome := await self._come_back()) is not None:
                    return outcome
                continue
            event = await self._stream.next()
            if isinstance(event, StreamToken):
                self._note_token()
                return event.data
            if (outcome := self._judge(event)) is not None:
                return outcome

    async def pour(self, put: Callable[[bytes], bool], room: Callable[[], Awaitable[None]]) -> Outcome:
        """Hand out each token at once when it comes, and return how the answer ended.

        Args:
            put: Takes a token; returns whether there is room for another.
            room: Waits until there is.
        """

        def take(token: bytes) -> bool:
            self._note_token()
            return put(token)

        while True:
            if self._stream is None:
                if (outcome := await self._come_back()) is not None:
                    return outcome
                continue
            event = await self._stream.pour(take)
            if event is None:
                await room()
            elif (outcome := self._judge(event)) is not None:
                return outcome

    def _note_token(self) -> None:
        self._loss, self._request = "", None
        self.position += 1

    async def _come_back(self) -> Outcome | None:
        """Ask for the rest when it is time; return the outcome if that has been tried for too long."""
        now = asyncio.get_running_loop().time()
        if now - self._lost_at > RESUME_TIMEOUT:
            return Outcome(kind=Outcome.BROKEN, message=f"the origin relay is out of reach: {self._loss}")
        await asyncio.sleep(max(self._resume_at - now, 0.0))
        self._resume()
        return None

    def _judge(self, end: StreamEnded | StreamFailed) -> Outcome | None:
        """Return the outcome, or None of a stream that was lost, which is asked for again."""
        if isinstance(end, StreamEnded):
            return decode_outcome(end.trailer)
        if end.request is RequestState.REFUSED:
            return Outcome(kind=Outcome.REFUSED, message=f"the origin relay refuses the request: {end.reason}")
        if end.request is RequestState.TAKEN:
            self._request = None
        self._lose(end.reason)
        return None

    def _lose(self, reason: str) -> None:
        now = asyncio.get_running_loop().time()
        if not self._loss:
            self._lost_at = now
            _log.warning("an answer was lost at token %d (%s) and is asked for again", self.position, reason)
        self._stream, self._loss, self._resume_at = None, reason, now + _PAUSE

    def _resume(self) -> None:
        """Ask for the rest, or see to it that this is tried again."""
        request = encode_resume(self.id, self.position) if self._request is None else self._request
        try:
            self._open(request)
        except LocalProtocolError as error:
            self._lose(str(error))
        else:
            self.resumptions += 1

    def _open(self, request: bytes) -> None:
        self._stream = self._uplink.open(request, scheme=self._scheme)
        self.carrier = self._stream.carrier

    def take_ready(self) -> list[bytes]:
        """Return the tokens that have come already."""
        if self._stream is None:
            return []
        tokens = self._stream.take_ready()
        self.position += len(tokens)
        return tokens

    def cancel(self) -> None:
        """Tell the origin relay that nobody wants the rest; does nothing after the end."""
        if self._stream is not None:
            self._stream.cancel()
