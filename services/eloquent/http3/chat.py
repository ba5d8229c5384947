"""A chat completion over HTTP/3: the tokens of its events, wherever they come."""

from collections.abc import AsyncGenerator

from eloquent.calls import chat, chat_stream
from eloquent.calls.answer import AnswerFailed, AnswerToken
from eloquent.http3.client import OK, Http3Client
from eloquent.http3.settings import Headers
from eloquent.protocol.scheme import Scheme

_HEADERS = {"content-type": "application/json"}
_MAX_REFUSAL = 65536  # bytes of a refusal that are read


async def ask_chat(
    client: Http3Client, question: bytes, headers: Headers, scheme: Scheme | None
) -> AsyncGenerator[AnswerToken, None]:
    """Ask the testbed's token server, and yield the tokens as they come.

    Args:
        client: The way to it.
        question: The body of the request (`chat.question`).
        headers: Whose answer it is.
        scheme: Whose packets in HTTP datagrams carry the answer; None for a QUIC stream.

    Raises:
        AnswerFailed: The answer does not come, or does not end well.
    """
    reader = chat_stream.TokenReader(is_plain=False)
    status, refusal = OK, bytearray()
    try:
        async with client.ask(
            "POST", chat.PATH, content=question, headers={**_HEADERS, **headers}, scheme=scheme
        ) as answer:
            async for came in answer:
                if isinstance(came, int):
                    status = came
                elif status != OK:
                    refusal += came[: _MAX_REFUSAL - len(refusal)]
                else:
                    for token in reader.feed(came):
                        yield token
    except ConnectionError as error:
        raise AnswerFailed("unavailable", str(error) or "no connection") from error
    if status != OK:
        raise chat_stream.refusal(status, bytes(refusal))
    reader.finish()
