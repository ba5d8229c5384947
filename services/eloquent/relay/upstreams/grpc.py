"""Ask a model server over gRPC, and pass on what it answers, byte for byte.

Rules of this file
- A call names the method that it wants, and only listed ones are called.
- Messages pass as bytes, undecoded: one message is one token. How the call ended stands in the trailer, whatever it was.
- The caller's deadline holds at the server, too.
"""

from collections.abc import Collection

import grpc
import grpc.aio

from eloquent.api.v1.exchange_pb2 import GrpcCall
from eloquent.protocol.frames import MAX_TOKEN
from eloquent.relay.grpc_call import encode_status
from eloquent.relay.upstreams.base import Send

_OPTIONS = (("grpc.max_receive_message_length", MAX_TOKEN),)


class GrpcUpstream:
    """A model server that speaks gRPC.

    Args:
        target: Its HOST:PORT.
        methods: Full names of the methods that may be called, each with one message and any number of them as the answer.
    """

    def __init__(self, target: str, *, methods: Collection[str]) -> None:
        self._target = target
        self._methods = methods
        self._channel: grpc.aio.Channel | None = None
        self._calls: dict[str, grpc.aio.UnaryStreamMultiCallable[bytes, bytes]] = {}

    async def open(self) -> None:
        """Begin to connect, so that the first call need not wait for it."""
        self._channel = grpc.aio.insecure_channel(self._target, options=_OPTIONS)
        self._channel.get_state(try_to_connect=True)
        self._calls = {method: self._channel.unary_stream(method) for method in self._methods}

    async def close(self) -> None:
        """Close the connection."""
        if self._channel is not None:
            await self._channel.close()

    async def ask(self, request: GrpcCall, send: Send) -> bytes:
        """Call, send the messages of the answer, and return the trailer; cancelled, cancel the call.

        Args:
            request: The caller's.
            send: Takes the tokens.
        """
        if request.method not in self._calls:
            return encode_status(grpc.StatusCode.UNIMPLEMENTED, f"the origin relay does not call '{request.method}'")
        timeout = request.timeout.ToNanoseconds() / 1e9 if request.HasField("timeout") else None
        metadata = tuple(request.metadata.items())
        call = self._calls[request.method](request.body, metadata=metadata, timeout=timeout)
        try:
            async for message in call:
                await send(message)
        except grpc.aio.AioRpcError as error:
            return encode_status(error.code(), error.details() or "")
        finally:
            call.cancel()
        return encode_status(grpc.StatusCode.OK)
