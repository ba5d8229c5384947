"""Server-sent events over HTTP, as chat services stream: the token server's chat completions (docs/http.md)."""

import contextlib
import http.client
import socket
from collections.abc import Generator

from eloquent.addresses import Address, family_of
from eloquent.calls import chat, chat_stream, names
from eloquent.calls.answer import AnswerFailed, AnswerToken
from eloquent.load.clients.base import CancellationToken, Deadline, LoadRequest, Pool, in_order

_PIECE = 65536  # bytes read at most at once


class SseClient:
    """Asks by HTTP; connections are kept alive.

    Args:
        address: Host and port of HTTP at the token server, or at the edge relay of the client's host.
        scheme: Name of the scheme.
        model: Which model to ask, of a server that is not the testbed's own; None for that.
    """

    def __init__(self, address: Address, scheme: str, *, model: str | None = None) -> None:
        self._model = model
        self._address = address
        self._scheme = scheme
        self._pool = Pool(lambda: http.client.HTTPConnection(*self._address), http.client.HTTPConnection.close)

    def ask(
        self, request: LoadRequest, *, client: str, session: str, cancellation: CancellationToken
    ) -> Generator[AnswerToken, None, None]:
        """See `LoadClient`."""
        headers = dict(names.owner_metadata(client=client, scheme=self._scheme, session=session))
        own = {} if self._model is None else chat.plain_headers()
        return in_order(self._tokens(request, headers | own | {"content-type": "application/json"}, cancellation))

    def close(self) -> None:
        """See `LoadClient`."""
        self._pool.close()

    def _tokens(
        self, request: LoadRequest, headers: dict[str, str], cancellation: CancellationToken
    ) -> Generator[AnswerToken, None, None]:
        deadline = Deadline(request.timeout_s)
        if self._model is None:
            body = chat.question(request.prompt, token_gap_s=request.token_gap_s, max_tokens=request.max_tokens)
        else:
            body = chat.plain_question(request.prompt, model=self._model, max_tokens=request.max_tokens)
        try:
            with self._pool.lend() as connection:
                is_new = connection.sock is None
                if is_new:
                    connection.sock = _make_socket(self._address)
                sock = connection.sock
                with cancellation.on_cancel(lambda: _shut(sock)):
                    sock.settimeout(deadline.left())
                    if is_new:
                        sock.connect(self._address)
                    connection.request("POST", chat.PATH, body, headers)
                    response = connection.getresponse()
                    if response.status != http.client.OK:
                        raise chat_stream.refusal(response.status, response.read())
                    reader = chat_stream.TokenReader(is_plain=self._model is not None)
                    while data := response.read1(_PIECE):
                        yield from reader.feed(data)
                        sock.settimeout(deadline.left())
                    reader.finish()
        except TimeoutError as error:
            raise deadline.passed() from error
        except (OSError, http.client.HTTPException) as error:
            raise AnswerFailed("unavailable", str(error) or repr(error)) from error


def _make_socket(address: Address) -> socket.socket:
    """Make a socket that another thread can shut while it connects."""
    sock = socket.socket(family_of(address[0]))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as `http.client` does
    return sock


def _shut(sock: socket.socket) -> None:
    """End what waits at a socket, whether it is connected or about to be."""
    with contextlib.suppress(OSError):  # it is neither
        sock.shutdown(socket.SHUT_RDWR)
