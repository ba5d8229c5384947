"""HTTP/3 as the testbed's token server streams it: from a thread of its own, in which aioquic has its loop.

Rules of this file: all users of a client host share one connection a scheme, as a browser's tabs and the streams of a relay do.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError
from contextlib import aclosing

from eloquent import schemes
from eloquent.calls import chat, names
from eloquent.calls.answer import AnswerFailed, AnswerToken
from eloquent.http3.chat import ask_chat
from eloquent.http3.client import Http3Client
from eloquent.load.clients.base import CancellationToken, LoadRequest, in_order

_CLOSE_TIME = 5.0  # seconds for the last words to the server


class SharedHttp3Client:
    """Asks over HTTP/3.

    Args:
        target: `HOST:PORT`.
        scheme: Name of a scheme of kind `quic`.

    Raises:
        ConfigurationError: The address is malformed.
    """

    def __init__(self, target: str, scheme: str) -> None:
        self._client = Http3Client(target)
        self._scheme = scheme
        between = schemes.get(scheme).between
        self._between = schemes.get(between) if between else None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def ask(
        self, request: LoadRequest, *, client: str, session: str, cancellation: CancellationToken
    ) -> Generator[AnswerToken, None, None]:
        """See `LoadClient`."""
        metadata = names.owner_metadata(client=client, scheme=self._scheme, session=session)
        return in_order(self._tokens(request, dict(metadata), cancellation))

    def close(self) -> None:
        """See `LoadClient`."""
        asyncio.run_coroutine_threadsafe(self._leave_all(), self._loop).result(_CLOSE_TIME)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_TIME)
        self._loop.close()

    async def _leave_all(self) -> None:
        """End what is still being read, and the connection."""
        reading = asyncio.all_tasks() - {asyncio.current_task()}
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        await self._client.close()

    def _tokens(
        self, request: LoadRequest, metadata: dict[str, str], cancellation: CancellationToken
    ) -> Generator[AnswerToken, None, None]:
        came: queue.SimpleQueue[AnswerToken | None] = queue.SimpleQueue()
        try:
            reading = asyncio.run_coroutine_threadsafe(self._read(request, metadata, came.put), self._loop)
        except RuntimeError as error:
            raise AnswerFailed("cancelled", "the client is closed") from error
        reading.add_done_callback(lambda _: came.put(None))
        try:
            with cancellation.on_cancel(reading.cancel):
                while (token := came.get()) is not None:
                    yield token
            reading.result()
        except CancelledError as error:
            raise AnswerFailed("cancelled", "its reader has left") from error
        finally:
            reading.cancel()

    async def _read(
        self, request: LoadRequest, metadata: dict[str, str], on_token: Callable[[AnswerToken], None]
    ) -> None:
        """Read an answer, in the loop's thread."""
        question = chat.question(request.prompt, token_gap_s=request.token_gap_s, max_tokens=request.max_tokens)
        try:
            async with (
                asyncio.timeout(request.timeout_s),
                aclosing(ask_chat(self._client, question, metadata, self._between)) as tokens,
            ):
                async for token in tokens:
                    on_token(token)
        except TimeoutError as error:
            raise AnswerFailed("deadline_exceeded", f"no end after {request.timeout_s:g} s") from error
