"""Eloquent in the process that asks: its driver speaks to the origin relay, and no edge relay stands between.

As in the edge relay, the sessions of a host share one socket, made when it is first needed. An answer that is lost has failed: this
client does not ask for its rest, as an edge relay would.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from pathlib import Path

from google.protobuf.message import DecodeError
from prometheus_client import CollectorRegistry

from eloquent import networks, telemetry
from eloquent.addresses import parse_address, reason_of
from eloquent.api.v1.token_service_pb2 import GenerateResponse
from eloquent.asking.client import AsyncClient, Metadata, Question
from eloquent.asking.grpc import generate_request
from eloquent.calls import names
from eloquent.calls.answer import AnswerFailed, AnswerToken
from eloquent.errors import LocalProtocolError
from eloquent.protocol.session import StreamEnded, StreamToken
from eloquent.relay.exchange import ANSWER_ID_SIZE, decode_outcome, encode_begin
from eloquent.relay.grpc_call import make_call, status_of
from eloquent.relay.uplink import RelayedAnswer, Uplink


class AsyncLibraryClient(AsyncClient):
    """Asks the origin relay itself.

    Args:
        target: `HOST:PORT` of the origin relay.
        scheme: Name of the scheme.
        network: The file of the network that datagrams leave from; None for the process's own.

    Raises:
        ConfigurationError: The address is malformed.
    """

    def __init__(self, target: str, scheme: str, network: Path | None = None) -> None:
        self._address = parse_address(target)
        self._scheme = scheme
        self._network = network
        self._opening = asyncio.Lock()
        self._uplink: Uplink | None = None

    async def connect(self) -> None:
        """See `AsyncClient`; a session begins with its first answer."""

    async def close(self) -> None:
        """See `AsyncClient`."""
        if self._uplink is not None:
            self._uplink.close()

    async def _tokens(self, question: Question, metadata: Metadata) -> AsyncGenerator[AnswerToken, None]:
        answer = await self._ask(question, metadata)
        try:
            async with asyncio.timeout(question.deadline):
                while isinstance(event := await answer.next(), StreamToken):
                    token = GenerateResponse.FromString(event.data)
                    yield AnswerToken(token.index, token.text, token.generated_at_ns / 1e9)
        except TimeoutError as error:
            raise AnswerFailed("deadline_exceeded", f"no end after {question.deadline:g} s") from error
        except DecodeError as error:
            raise AnswerFailed("data_loss", "a token cannot be decoded") from error
        finally:
            answer.cancel()
        if not isinstance(event, StreamEnded):
            raise AnswerFailed("unavailable", f"the path to the origin relay was lost: {event.reason}")
        code, message = status_of(decode_outcome(event.trailer))
        if code.value[0]:
            raise AnswerFailed(code.name.lower(), message)

    async def _ask(self, question: Question, metadata: Metadata) -> RelayedAnswer:
        body = generate_request(question).SerializeToString()
        call = make_call(names.GENERATE, body, dict(metadata), timeout=question.deadline)
        message = encode_begin(secrets.token_bytes(ANSWER_ID_SIZE), call)
        try:
            async with self._opening:
                if self._uplink is None:
                    way = networks.connect_datagrams(self._address, self._network)
                    self._uplink = await Uplink.connect(way, telemetry.SessionMetrics(CollectorRegistry()))
            return self._uplink.open(message, scheme=self._scheme)
        except LocalProtocolError as error:
            raise AnswerFailed("resource_exhausted", str(error)) from error
        except OSError as error:
            raise AnswerFailed("unavailable", f"no way to the origin relay: {reason_of(error)}") from error
