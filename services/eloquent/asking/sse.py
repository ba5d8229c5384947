"""Server-sent events over HTTP, as chat services stream (docs/http.md): from the token server, or an edge relay."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from pathlib import Path

import aiohttp

from eloquent import networks
from eloquent.asking.client import ConnectedClient, Metadata, Question
from eloquent.calls import chat, chat_stream
from eloquent.calls.answer import AnswerFailed, AnswerToken

_OK = 200
_KEPT_FOR = 86400.0  # seconds that a connection may wait for its next session


class AsyncSseClient(ConnectedClient[aiohttp.ClientSession]):
    """Asks by HTTP, and reads server-sent events.

    Args:
        target: `HOST:PORT`.
        network: The file of the network that the connections leave from; None for the process's own.
        model: Which model to ask, of a server that is not the testbed's own; None for that.
    """

    def __init__(self, target: str, network: Path | None = None, *, model: str | None = None) -> None:
        super().__init__(target, network)
        self._model = model

    async def _tokens(self, question: Question, metadata: Metadata) -> AsyncGenerator[AnswerToken, None]:
        if self._model is None:
            body = chat.question(question.prompt, token_gap_s=question.token_gap, max_tokens=question.max_tokens)
        else:
            body = chat.plain_question(question.prompt, model=self._model, max_tokens=question.tokens)
        own = {} if self._model is None else chat.plain_headers()
        headers = {"content-type": "application/json", **own, **dict(metadata)}
        try:
            async with (
                self._connection() as client,
                asyncio.timeout(question.deadline),
                client.post(chat.PATH, data=body, headers=headers) as response,
            ):
                if response.status != _OK:
                    raise chat_stream.refusal(response.status, await response.read())
                reader = chat_stream.TokenReader(is_plain=self._model is not None)
                async for data in response.content.iter_any():
                    for token in reader.feed(data):
                        yield token
                reader.finish()
        except TimeoutError as error:
            raise AnswerFailed("deadline_exceeded", f"no end after {question.deadline:g} s") from error
        except aiohttp.ClientError as error:
            raise AnswerFailed("unavailable", str(error) or repr(error)) from error

    def _make(self) -> aiohttp.ClientSession:
        one = aiohttp.TCPConnector(limit=1, keepalive_timeout=_KEPT_FOR, socket_factory=self._make_socket)
        return aiohttp.ClientSession(
            f"http://{self._target}",
            connector=one,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # a session has a deadline
        )

    def _make_socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        return networks.make_socket(str(address[-1][0]), socket.SOCK_STREAM, self._network)

    async def _warm(self, connection: aiohttp.ClientSession) -> None:
        try:
            async with connection.get("/health") as response:
                await response.read()
        except aiohttp.ClientError as error:
            raise ConnectionError(str(error)) from error

    async def _close(self, connection: aiohttp.ClientSession) -> None:
        await connection.close()
