"""gRPC over the kernel's TCP, to the token server or to the edge relay of the client's host.

grpcio cannot ask from a host's network: threads of C-core make its sockets, wherever they are.
"""

from collections.abc import AsyncGenerator
from pathlib import Path

import grpclib.client
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.protocol import H2Protocol

from eloquent import networks
from eloquent.addresses import parse_address
from eloquent.api.v1.token_service_pb2 import GenerateRequest, GenerateResponse
from eloquent.asking.client import ConnectedClient, Metadata, Question
from eloquent.calls import names
from eloquent.calls.answer import AnswerFailed, AnswerToken


class _Channel(grpclib.client.Channel):
    """A connection of gRPC that leaves from a host's network."""

    def __init__(self, target: str, network: Path | None) -> None:
        self._address = parse_address(target)
        super().__init__(*self._address)
        self._network = network

    async def _create_connection(self) -> H2Protocol:
        connection = await networks.connect(self._address, self._network)
        _, protocol = await self._loop.create_connection(self._protocol_factory, sock=connection)
        return protocol


class AsyncGrpcClient(ConnectedClient[_Channel]):
    """Asks by gRPC."""

    async def _tokens(self, question: Question, metadata: Metadata) -> AsyncGenerator[AnswerToken, None]:
        request = generate_request(question)
        async with self._connection() as channel:
            generate = grpclib.client.UnaryStreamMethod(channel, names.GENERATE, GenerateRequest, GenerateResponse)
            try:
                async with generate.open(timeout=question.deadline, metadata=metadata) as call:
                    await call.send_message(request, end=True)
                    async for token in call:
                        yield AnswerToken(token.index, token.text, token.generated_at_ns / 1e9)
            except GRPCError as error:
                raise AnswerFailed(error.status.name.lower(), error.message or "") from error
            except TimeoutError as error:
                raise AnswerFailed("deadline_exceeded", f"no end after {question.deadline:g} s") from error
            except (StreamTerminatedError, OSError) as error:
                raise AnswerFailed("unavailable", str(error) or repr(error)) from error

    def _make(self) -> _Channel:
        return _Channel(self._target, self._network)

    async def _warm(self, connection: _Channel) -> None:
        await connection.__connect__()

    async def _close(self, connection: _Channel) -> None:
        connection.close()


def generate_request(question: Question) -> GenerateRequest:
    """Write a question as gRPC's."""
    request = GenerateRequest(prompt=question.prompt, max_tokens=question.max_tokens)
    request.token_gap.FromNanoseconds(round(question.token_gap * 1e9))
    return request
