"""The edge's side of an answer: one sequence of tokens, whatever becomes of the sessions that carry it.

Rules of this file
- A stream that is lost is asked for again from the next token on, until the origin has been out of reach for `patience` seconds.
- The model is never asked twice: what was begun is resumed, or the answer fails.
"""

import asyncio
import logging
import secrets

from eloquent.api.v1.exchange_pb2 import HttpRequest, Outcome
from eloquent.errors import LocalProtocolError
from eloquent.protocol.session import StreamEnded, StreamToken
from eloquent.relay.exchange import ANSWER_ID_SIZE, decode_outcome, encode_begin, encode_resume
from eloquent.relay.uplink import RelayedAnswer, Uplink

RESUME_TIMEOUT = 60.0  # seconds since the last token for which a lost answer is asked for again
_PAUSE = 0.5  # seconds between two trials

_log = logging.getLogger(__name__)


class EdgeAnswer:
    """An answer on its way; read it with `next` until it returns an outcome.

    Args:
        uplink: The way to the origin relay.
        scheme: Name of the scheme that carries it.
        answer_id: Names it at the origin relay; None draws a new one.
    """

    def __init__(self, uplink: Uplink, scheme: str, *, answer_id: bytes | None = None) -> None:
        self.answer_id = secrets.token_bytes(ANSWER_ID_SIZE) if answer_id is None else answer_id
        self._uplink = uplink
        self._scheme = scheme
        self._position = 0  # index of the next token
        self._stream: RelayedAnswer | None = None

    def begin(self, request: HttpRequest) -> None:
        """Ask the model server.

        Raises:
            ConfigurationError: There is no such scheme, or it is not carried by datagrams.
            LocalProtocolError: The request is too long, or too many streams are open.
        """
        self._stream = self._uplink.open(encode_begin(self.answer_id, request), scheme=self._scheme)

    def resume(self, position: int) -> None:
        """Go on with an answer that was begun by somebody.

        Args:
            position: Index of the first token that is wanted.

        Raises:
            LocalProtocolError: Too many streams are open.
        """
        self._position = position
        self._stream = self._uplink.open(encode_resume(self.answer_id, position), scheme=self._scheme)

    @property
    def position(self) -> int:
        """Index of the next token."""
        return self._position

    async def next(self) -> bytes | Outcome:
        """Wait for the next token, or for how the answer ended."""
        loop = asyncio.get_running_loop()
        lost_at: float | None = None
        while True:
            assert self._stream is not None
            event = await self._stream.next()
            if isinstance(event, StreamToken):
                self._position += 1
                return event.data
            if isinstance(event, StreamEnded):
                return decode_outcome(event.trailer)
            if lost_at is None:
                lost_at = loop.time()
                _log.warning("an answer was lost at token %d (%s) and is asked for again", self._position, event.reason)
            while True:
                if loop.time() - lost_at > RESUME_TIMEOUT:
                    return Outcome(kind=Outcome.BROKEN, message=f"the origin relay is out of reach: {event.reason}")
                await asyncio.sleep(_PAUSE)
                try:
                    self.resume(self._position)
                    break
                except LocalProtocolError as error:
                    _log.debug("not yet: %s", error)

    def take_ready(self) -> list[bytes]:
        """Return the tokens that have come already."""
        assert self._stream is not None
        tokens = self._stream.take_ready()
        self._position += len(tokens)
        return tokens

    def cancel(self) -> None:
        """Tell the origin relay that nobody wants the rest; does nothing after the end."""
        if self._stream is not None:
            self._stream.cancel()
