"""gRPC over the kernel's TCP, to the token server or to the edge relay of the client's host."""

from collections.abc import Generator

import grpc
from grpc.experimental import ChannelOptions

from eloquent.api.v1.token_service_pb2 import GenerateRequest, GenerateResponse
from eloquent.calls import names
from eloquent.calls.answer import AnswerFailed, AnswerToken
from eloquent.load.clients.base import CancellationToken, LoadRequest, Pool, in_order

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

    def ask(
        self, request: LoadRequest, *, client: str, session: str, cancellation: CancellationToken
    ) -> Generator[AnswerToken, None, None]:
        """See `LoadClient`."""
        metadata = names.owner_metadata(client=client, scheme=self._scheme, session=session)
        return in_order(self._tokens(request, metadata, cancellation))

    def close(self) -> None:
        """See `LoadClient`."""
        self._pool.close()
        if self._shared is not None:
            self._shared.close()

    def _tokens(
        self, request: LoadRequest, metadata: tuple[tuple[str, str], ...], cancellation: CancellationToken
    ) -> Generator[AnswerToken, None, None]:
        if self._shared is not None:
            yield from self._call(self._shared, request, metadata, cancellation)
        else:
            with self._pool.lend() as channel:
                yield from self._call(channel, request, metadata, cancellation)

    def _call(
        self,
        channel: grpc.Channel,
        request: LoadRequest,
        metadata: tuple[tuple[str, str], ...],
        cancellation: CancellationToken,
    ) -> Generator[AnswerToken, None, None]:
        body = GenerateRequest(prompt=request.prompt, max_tokens=request.max_tokens)
        body.token_gap.FromNanoseconds(round(request.token_gap_s * 1e9))
        generate: grpc.UnaryStreamMultiCallable[GenerateRequest, GenerateResponse] = channel.unary_stream(
            names.GENERATE, GenerateRequest.SerializeToString, GenerateResponse.FromString
        )
        try:
            call = generate(body, metadata=metadata, timeout=request.timeout_s)
        except ValueError as error:
            raise AnswerFailed("cancelled", "the client is closed") from error
        try:
            with cancellation.on_cancel(call.cancel):
                for token in call:
                    yield AnswerToken(token.index, token.text, token.generated_at_ns / 1e9)
        except grpc.RpcError as error:
            raise AnswerFailed(error.code().name.lower(), error.details() or "") from error
        finally:
            call.cancel()

    def _connect(self) -> grpc.Channel:
        return grpc.insecure_channel(self._target, options=_OPTIONS)
