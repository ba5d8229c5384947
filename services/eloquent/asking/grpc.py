"""gRPC over the kernel's TCP, to the token server or to the edge relay of the client's host.

grpcio cannot ask from a host's network: threads of C-core make its sockets, wherever they are.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from google.protobuf.message import DecodeError

from eloquent import networks
from eloquent.addresses import parse_address
from eloquent.api.v1.token_service_pb2 import GenerateRequest, GenerateResponse
from eloquent.asking.client import ConnectedClient, Metadata, Question
from eloquent.calls import names
from eloquent.calls.answer import AnswerFailed, AnswerToken
from eloquent.rpc.channel import CallChannel, CallFailed

_MAX_TOKEN = 4 << 20  # bytes of a message (gRPC's own default)


class AsyncGrpcClient(ConnectedClient[CallChannel]):
    """Asks by gRPC."""

    async def _tokens(self, question: Question, metadata: Metadata) -> AsyncGenerator[AnswerToken, None]:
        request = generate_request(question).SerializeToString()
        try:
            async with asyncio.timeout(question.deadline), self._connection() as channel:
                call = channel.answers(names.GENERATE, request, metadata=metadata, patience=question.deadline)
                async with aclosing(call) as answers:
                    async for messages in answers:
                        for message in messages:
                            token = GenerateResponse.FromString(message)
                            yield AnswerToken(token.index, token.text, token.generated_at_ns / 1e9)
        except TimeoutError as error:
            raise AnswerFailed("deadline_exceeded", f"no end after {question.deadline:g} s") from error
        except DecodeError as error:
            raise AnswerFailed("data_loss", "a token cannot be decoded") from error
        except CallFailed as failure:
            raise AnswerFailed(failure.code.name.lower(), failure.details) from failure

    def _make(self) -> CallChannel:
        connect = partial(networks.connect, parse_address(self._target), self._network)
        return CallChannel(self._target, max_message=_MAX_TOKEN, open_socket=connect)

    async def _warm(self, connection: CallChannel) -> None:
        await connection.connect()

    async def _close(self, connection: CallChannel) -> None:
        await connection.close()


def generate_request(question: Question) -> GenerateRequest:
    """Write a question as gRPC's."""
    request = GenerateRequest(prompt=question.prompt, max_tokens=question.max_tokens)
    request.token_gap.FromNanoseconds(round(question.token_gap * 1e9))
    return request
