"""An HTTP connection that serves clients which have said all they will, and does not wait for ever for those which say nothing.

Rules of this file: a request has arrived, head and body, within its time, or the connection ends. A client that has shut down its
sending side after its request gets its answer. Whether it has left altogether can then only be tried: it is sent something that
it need not heed (an interim response, or a comment between two events), and a host refuses what comes for a closed socket.
"""

import asyncio
import json
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from eloquent.calls import chat

ABORT = "abort"  # key in a request's state: ends its connection, or its stream, in the middle of the answer
DESCRIPTOR = "descriptor"  # likewise: returns that of its socket, -1 when it is closed
ACCOUNT = "account"  # likewise, of a connection that is not the kernel's: has what it sends accounted (`model.Caller`)
_TRIAL_INTERVAL = 1.0  # seconds between two trials whether a client is still there
_COMMENT = b":\n\n"  # of an event stream (WHATWG HTML, 9.2.6)


class HttpConnection(H11Protocol):
    """uvicorn's own connection with HTTP/1.1 by h11, with the rules above.

    Args:
        request_time: Seconds in which a request has to arrive, from the connection's beginning or the request's first byte.
        uvicorn: What uvicorn gives each connection.
    """

    def __init__(self, *, request_time: float, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self.app_state = {**self.app_state, ABORT: self._abort, DESCRIPTOR: self._descriptor}
        self._request_time = request_time
        self._waiting: asyncio.TimerHandle | None = None  # for the rest of a request
        self._half_closed = False
        self._trial: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request."""
        super().data_received(data)
        self._wait()

    def on_response_complete(self) -> None:
        """Go on with the next request, unless no more can come."""
        super().on_response_complete()
        if self._half_closed and self.conn.their_state is h11.IDLE:
            self.transport.close()
        self._wait()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, in the form of all other errors."""
        self._refuse(HTTPStatus.BAD_REQUEST, msg, code="invalid_argument")
        self.transport.close()

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn lets the connection be closed
        """Keep the connection open if the client waits for an answer."""
        if self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
            return False
        self._half_closed = True
        self._try()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Set no timer off any more."""
        for timer in (self._waiting, self._trial):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def _wait(self) -> None:
        """Set the timer while a request is on its way, and only then; between two, uvicorn's own runs."""
        begun = bool(self.conn.trailing_data[0]) or self.timeout_keep_alive_task is None
        arriving = self.conn.their_state is h11.SEND_BODY or (self.conn.their_state is h11.IDLE and begun)
        if not arriving and self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        elif arriving and self._waiting is None:
            self._waiting = self.loop.call_later(self._request_time, self._give_up)

    def _give_up(self) -> None:
        """End the connection, and say why if the client has begun to speak and was not answered yet."""
        is_silent = self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]
        if not is_silent and self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._refuse(
                HTTPStatus.REQUEST_TIMEOUT,
                f"the request has not arrived within {self._request_time:g} s",
                code="deadline_exceeded",
            )
        self.transport.close()

    def _refuse(self, status: HTTPStatus, message: str, *, code: str) -> None:
        body = json.dumps(chat.error_body(message, kind="invalid_request_error", code=code)).encode()
        headers = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
        response = h11.Response(status_code=status, headers=list(headers.items()), reason=status.phrase.encode())
        for event in (response, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")

    def _try(self) -> None:
        """Find out, by and by, whether a client that says nothing more is still there: writing fails once its host has refused."""
        if self.transport.is_closing() or self.cycle.response_complete:
            return
        if self.cycle.response_started:
            trial: h11.Event | None = h11.Data(data=_COMMENT)
        elif self.scope["http_version"] == "1.1":
            trial = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
        else:
            trial = None  # HTTP/1.0 has no interim responses
        # What could not be sent yet tries by itself; and only then may an answer be unfinished that is no stream.
        if trial is not None and not self.flow.write_paused:
            self.transport.write(self.conn.send(trial) or b"")
        self._trial = self.loop.call_later(_TRIAL_INTERVAL, self._try)

    def _descriptor(self) -> int:
        return -1 if self.transport.is_closing() else int(self.transport.get_extra_info("socket").fileno())

    def _abort(self) -> None:
        self.cycle.disconnected = True
        self.transport.close()
