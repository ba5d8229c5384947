"""Ask a model server over gRPC, and pass on what it answers, byte for byte.

Rules of this file
- A call names the method that it wants, and only listed ones are called.
- Messages pass as bytes, undecoded: one message is one token. How the call ended stands in the trailer, whatever it was.
- The caller's deadline holds at the server, too.
"""

from collections.abc import Collection

import grpc

from eloquent.api.v1.exchange_pb2 import GrpcCall
from eloquent.protocol.frames import MAX_TOKEN
from eloquent.relay.grpc_call import encode_status
from eloquent.relay.upstreams.base import Sink
from eloquent.rpc.channel import CallChannel, CallFailed


class GrpcUpstream:
    """A model server that speaks gRPC.

    Args:
        target: Its HOST:PORT.
        methods: Full names of the methods that may be called, each with one message and any number of them as the answer.
    """

    def __init__(self, target: str, *, methods: Collection[str]) -> None:
        self._methods = methods
        self._channel = CallChannel(target, max_message=MAX_TOKEN)

    async def open(self) -> None:
        """Begin to connect, so that the first call need not wait for it."""
        self._channel.begin()

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def ask(self, request: GrpcCall, sink: Sink) -> bytes:
        """Call, send the messages of the answer, and return the trailer; cancelled, cancel the call.

        Args:
            request: The caller's.
            sink: Takes the tokens.
        """
        if request.method not in self._methods:
            return encode_status(grpc.StatusCode.UNIMPLEMENTED, f"the origin relay does not call '{request.method}'")
        timeout = request.timeout.ToNanoseconds() / 1e9 if request.HasField("timeout") else None
        metadata = tuple(request.metadata.items())
        try:
            await self._channel.ask(
                request.method, request.body, sink.put, sink.room, metadata=metadata, patience=timeout
            )
        except CallFailed as failure:
            return encode_status(failure.code, failure.details)
        return encode_status(grpc.StatusCode.OK)
