"""Server-sent events over HTTP, as chat services stream: the token server's chat completions (docs/http.md)."""

import http.client
from collections.abc import Generator

from eloquent.calls import chat, names
from eloquent.drivers.udp import Address
from eloquent.load.clients.base import AskFailed, Deadline, Pool, Question, Token, in_order

_PIECE = 65536  # bytes read at most at once


class SseClient:
    """Asks by HTTP; connections are kept alive.

    Args:
        address: Host and port of the token server's HTTP endpoint.
        scheme: Name of the scheme.
    """

    def __init__(self, address: Address, scheme: str) -> None:
        self._address = address
        self._scheme = scheme
        self._pool = Pool(lambda: http.client.HTTPConnection(*self._address), http.client.HTTPConnection.close)

    def ask(self, question: Question, *, client: str, session: str) -> Generator[Token, None, None]:
        """See `Client`."""
        headers = dict(names.owner_metadata(client=client, scheme=self._scheme, session=session))
        return in_order(self._tokens(question, headers | {"content-type": "application/json"}))

    def close(self) -> None:
        """See `Client`."""
        self._pool.close()

    def _tokens(self, question: Question, headers: dict[str, str]) -> Generator[Token, None, None]:
        deadline = Deadline(question.timeout_s)
        body = chat.question(question.prompt, token_gap_s=question.token_gap_s, max_tokens=question.max_tokens)
        try:
            with self._pool.lend() as connection:
                connection.timeout = deadline.left()  # to connect
                if connection.sock is None:
                    connection.connect()
                sock = connection.sock
                sock.settimeout(deadline.left())
                connection.request("POST", chat.PATH, body, headers)
                response = connection.getresponse()
                if response.status != http.client.OK:
                    raise chat.refusal(response.status, response.read())
                reader = chat.ChunkReader()
                while data := response.read1(_PIECE):
                    for token in reader.feed(data):
                        yield Token(token.index, token.text, token.generated_at_ns / 1e9)
                    sock.settimeout(deadline.left())
                reader.finish()
        except chat.ChatError as error:
            raise AskFailed(error.outcome, str(error)) from error
        except TimeoutError as error:
            raise deadline.passed() from error
        except (OSError, http.client.HTTPException) as error:
            raise AskFailed("unavailable", str(error) or repr(error)) from error
