"""gRPC over the kernel's TCP, to the token server or to the edge relay of the client's host.

grpcio cannot ask from a host's network: threads of C-core make its sockets, wherever they are.
"""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

from google.protobuf.message import DecodeError

from eloquent import networks
from eloquent.addresses import parse_address
from eloquent.api.v1.token_service_pb2 import GenerateRequest, GenerateResponse
from eloquent.asking.client import ConnectedClient, Metadata, Question
from eloquent.asking.http2 import GrpcConnection
from eloquent.calls import names
from eloquent.calls.answer import AnswerFailed, AnswerToken


class _Channel:
    """A connection that leaves from a host's network, made when it is first needed and again when it has ended."""

    def __init__(self, target: str, network: Path | None) -> None:
        self._address = parse_address(target)
        self._network = network
        self._connecting = asyncio.Lock()
        self._connection: GrpcConnection | None = None

    async def connected(self) -> GrpcConnection:
        async with self._connecting:
            if self._connection is None or not self._connection.is_open:
                way = await networks.connect(self._address, self._network)
                _, self._connection = await asyncio.get_running_loop().create_connection(GrpcConnection, sock=way)
            return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class AsyncGrpcClient(ConnectedClient[_Channel]):
    """Asks by gRPC."""

    async def _tokens(self, question: Question, metadata: Metadata) -> AsyncGenerator[AnswerToken, None]:
        headers = (
            *((":method", "POST"), (":scheme", "http"), (":path", names.GENERATE), (":authority", self._target)),
            *(("te", "trailers"), ("content-type", "application/grpc")),
            *(("grpc-timeout", f"{round(question.deadline * 1e3)}m"), *metadata),
        )
        try:
            async with asyncio.timeout(question.deadline), self._connection() as channel:
                connection = await channel.connected()
                call = connection.call(headers, generate_request(question).SerializeToString())
                try:
                    while messages := await call.messages():
                        for message in messages:
                            token = GenerateResponse.FromString(message)
                            yield AnswerToken(token.index, token.text, token.generated_at_ns / 1e9)
                finally:
                    connection.leave(call)
        except TimeoutError as error:
            raise AnswerFailed("deadline_exceeded", f"no end after {question.deadline:g} s") from error
        except DecodeError as error:
            raise AnswerFailed("data_loss", "a token cannot be decoded") from error
        except OSError as error:
            raise AnswerFailed("unavailable", str(error) or repr(error)) from error

    def _make(self) -> _Channel:
        return _Channel(self._target, self._network)

    async def _warm(self, connection: _Channel) -> None:
        await connection.connected()

    async def _close(self, connection: _Channel) -> None:
        connection.close()


def generate_request(question: Question) -> GenerateRequest:
    """Write a question as gRPC's."""
    request = GenerateRequest(prompt=question.prompt, max_tokens=question.max_tokens)
    request.token_gap.FromNanoseconds(round(question.token_gap * 1e9))
    return request
