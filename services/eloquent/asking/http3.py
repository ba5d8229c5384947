"""HTTP/3 as the testbed's token server streams it, from a QUIC stream or from its datagrams."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from eloquent import schemes
from eloquent.asking.client import ConnectedClient, Metadata, Question
from eloquent.calls import chat
from eloquent.calls.answer import AnswerFailed, AnswerToken
from eloquent.http3.chat import ask_chat
from eloquent.http3.client import Http3Client
from eloquent.protocol.scheme import Scheme


class AsyncQuicClient(ConnectedClient[Http3Client]):
    """Asks over HTTP/3.

    Args:
        target: `HOST:PORT`.
        scheme: What carries the answers, of kind `quic`.
        network: The file of the network that the connections leave from; None for the process's own.
        is_shared: Whether all sessions share one connection, as a browser's tabs do.
    """

    def __init__(self, target: str, scheme: Scheme, network: Path | None = None, *, is_shared: bool = False) -> None:
        super().__init__(target, network, is_shared=is_shared)
        self._between = schemes.get(scheme.between) if scheme.between else None

    async def _tokens(self, question: Question, metadata: Metadata) -> AsyncGenerator[AnswerToken, None]:
        body = chat.question(question.prompt, token_gap_s=question.token_gap, max_tokens=question.max_tokens)
        async with self._connection() as client:
            try:
                async with (
                    asyncio.timeout(question.deadline),
                    aclosing(ask_chat(client, body, dict(metadata), self._between)) as tokens,
                ):
                    async for token in tokens:
                        yield token
            except TimeoutError as error:
                raise AnswerFailed("deadline_exceeded", f"no end after {question.deadline:g} s") from error

    def _make(self) -> Http3Client:
        return Http3Client(self._target, self._network)

    async def _warm(self, connection: Http3Client) -> None:
        await connection.connect()

    async def _close(self, connection: Http3Client) -> None:
        await connection.close()
