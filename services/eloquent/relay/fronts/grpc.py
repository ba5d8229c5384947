"""Offer a model server's `Generate` to the clients of this side, and carry each call to the origin relay.

Rules of this file
- Messages pass as bytes, undecoded: one token is one message.
- A call ends for its client as the model server ended it; one that ends in any other way is UNAVAILABLE, never a clean end.
- A client that leaves, or whose deadline passes, has its call cancelled all the way to the model; one that reads slowly slows
  the model down.
"""

import asyncio
from collections.abc import Callable, Mapping

import grpc

from eloquent import telemetry
from eloquent.api.v1.exchange_pb2 import Outcome
from eloquent.calls.names import GENERATE, SCHEME_KEY
from eloquent.errors import ConfigurationError, LocalProtocolError
from eloquent.relay.answers import EdgeAnswer
from eloquent.relay.grpc_call import make_call, status_of
from eloquent.relay.uplink import Way
from eloquent.rpc.server import Call
from eloquent.serving.admission import Admission
from eloquent.serving.grpc_server import GrpcServer, metadata_of

_LOST = frozenset({Outcome.UNKNOWN, Outcome.BROKEN, Outcome.GONE})  # what no model server has ended


class GrpcFront:
    """A gRPC server, in front of the way to the origin relay.

    Args:
        uplink: The way.
        scheme_of: Tells by the metadata of a call the name of the scheme that carries its answer, or raises
            ConfigurationError.
        metrics: What is counted.
        max_calls: Calls at once.
    """

    def __init__(
        self,
        uplink: Way,
        *,
        scheme_of: Callable[[Mapping[str, str]], str],
        metrics: telemetry.EdgeMetrics,
        max_calls: int,
    ) -> None:
        self._uplink = uplink
        self._scheme_of = scheme_of
        self._metrics = metrics
        self._server = GrpcServer(self._generate, admission=Admission(max_calls))

    def listen(self, address: str) -> int:
        """Listen at HOST:PORT in the network that this thread is in at the moment, and return the port.

        Raises:
            ConfigurationError: The address cannot be listened on.
        """
        return self._server.listen(address)

    async def serve(self) -> None:
        """Serve clients there."""
        await self._server.serve()

    async def drain(self, grace: float) -> None:
        """Refuse new calls and wait for those that run; cut what is left after the grace time, in seconds."""
        await self._server.drain(grace)

    async def _generate(self, body: bytes, call: Call) -> None:
        metadata = metadata_of(call.metadata)
        try:
            scheme = self._scheme_of(metadata)
            metadata.setdefault(SCHEME_KEY, scheme)
            answer = EdgeAnswer(self._uplink, scheme)
            answer.begin(make_call(GENERATE, body, metadata, timeout=call.time_remaining()))
        except ConfigurationError as error:
            await call.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except LocalProtocolError as error:
            await call.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        try:
            outcome = await answer.pour(call.put, call.room)
        except asyncio.CancelledError:
            self._metrics.cancelled_streams.inc()
            raise
        finally:
            answer.cancel()
        if outcome.kind in _LOST:
            self._metrics.given_up_streams.inc()
        code, details = status_of(outcome)
        if code is not grpc.StatusCode.OK:
            await call.abort(code, details)
