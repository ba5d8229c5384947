"""gRPC over the kernel's TCP, to the token server or to the edge relay of the client's host."""

from collections.abc import Generator

import grpc
from grpc.experimental import ChannelOptions

from eloquent.api.v1.token_service_pb2 import GenerateRequest, GenerateResponse
from eloquent.calls import names
from eloquent.calls.answer import AnswerFailed, Token
from eloquent.load.clients.base import Leave, Pool, Question, in_order

_OPTIONS = (
    # gRPC must not retry behind our back, nor share one connection between two channels.
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    # The thread that reads an answer waits for it itself, which costs a third less than being told of it by another.
    (ChannelOptions.SingleThreadedUnaryStream, 1),
)


class GrpcClient:
    """Asks by gRPC.

    Args:
        target: `HOST:PORT`.
        scheme: Name of the scheme.
        shared: Whether all sessions share one connection, as they may where it crosses no link.
    """

    def __init__(self, target: str, scheme: str, *, shared: bool = False) -> None:
        self._target = target
        self._scheme = scheme
        self._pool: Pool[grpc.Channel] = Pool(self._connect, lambda channel: channel.close())
        self._shared = self._connect() if shared else None

    def ask(self, question: Question, *, client: str, session: str, leave: Leave) -> Generator[Token, None, None]:
        """See `Client`."""
        metadata = names.owner_metadata(client=client, scheme=self._scheme, session=session)
        return in_order(self._tokens(question, metadata, leave))

    def close(self) -> None:
        """See `Client`."""
        self._pool.close()
        if self._shared is not None:
            self._shared.close()

    def _tokens(
        self, question: Question, metadata: tuple[tuple[str, str], ...], leave: Leave
    ) -> Generator[Token, None, None]:
        if self._shared is not None:
            yield from self._call(self._shared, question, metadata, leave)
        else:
            with self._pool.lend() as channel:
                yield from self._call(channel, question, metadata, leave)

    def _call(
        self, channel: grpc.Channel, question: Question, metadata: tuple[tuple[str, str], ...], leave: Leave
    ) -> Generator[Token, None, None]:
        request = GenerateRequest(prompt=question.prompt, max_tokens=question.max_tokens)
        request.token_gap.FromNanoseconds(round(question.token_gap_s * 1e9))
        generate: grpc.UnaryStreamMultiCallable[GenerateRequest, GenerateResponse] = channel.unary_stream(
            names.GENERATE, GenerateRequest.SerializeToString, GenerateResponse.FromString
        )
        try:
            call = generate(request, metadata=metadata, timeout=question.timeout_s)
        except ValueError as error:
            raise AnswerFailed("cancelled", "the client is closed") from error
        try:
            with leave.by(call.cancel):
                for token in call:
                    yield Token(token.index, token.text, token.generated_at_ns / 1e9)
        except grpc.RpcError as error:
            raise AnswerFailed(error.code().name.lower(), error.details() or "") from error
        finally:
            call.cancel()

    def _connect(self) -> grpc.Channel:
        return grpc.insecure_channel(self._target, options=_OPTIONS)
