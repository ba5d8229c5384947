"""A gRPC server that offers `Generate`, the same for the token server and the edge relay: admission, health, reflection, draining.

Rules of this file: once draining, health says NOT_SERVING, nobody is let in, and those inside get the grace time. A node
refuses with a status, never by silence.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health_pb2  # type: ignore[import-untyped]  # ships without annotations
from grpc_health.v1.health import SERVICE_NAME as HEALTH_SERVICE  # type: ignore[import-untyped]  # ships without annotations
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection, reflection_pb2  # type: ignore[import-untyped]  # ships without annotations

from eloquent import congestion
from eloquent.addresses import listen_on
from eloquent.api.v1 import token_service_pb2
from eloquent.calls.names import GENERATE, TOKEN_SERVICE
from eloquent.rpc.server import Call, Ended, Server
from eloquent.serving.admission import Admission, Refused

if TYPE_CHECKING:
    import socket

Handler = Callable[[Any, Call], Awaitable[None]]

# What reflection describes has to be loaded, also where messages pass undecoded.
_SERVICES = tuple(service.full_name for service in token_service_pb2.DESCRIPTOR.services_by_name.values())
_FLUSH_TIME = 1.0  # seconds for the last statuses to leave after the last handler has ended


class GrpcServer:
    """A gRPC server that offers `Generate`, health and reflection.

    Args:
        generate: The handler; it writes messages to the call and returns, or aborts.
        admission: Who is let in.
        request: What the handler takes; `None` leaves a request its bytes.
    """

    def __init__(self, generate: Handler, *, admission: Admission, request: type[Message] | None = None) -> None:
        self._generate = generate
        self._admission = admission
        self._request = request
        self._listener: socket.socket | None = None
        self._health = health.HealthServicer()
        self._reflection = reflection.aio.ReflectionServicer((*_SERVICES, HEALTH_SERVICE, reflection.SERVICE_NAME))
        self._server = Server(
            {
                GENERATE: self._admit,
                f"/{HEALTH_SERVICE}/Check": self._check,
                f"/{HEALTH_SERVICE}/Watch": self._watch,
                f"/{reflection.SERVICE_NAME}/ServerReflectionInfo": self._reflect,
            }
        )

    def listen(self, address: str) -> int:
        """Listen in the network that this thread is in at the moment; nobody is let in yet.

        Args:
            address: `HOST:PORT`; port 0 takes a free one.

        Returns:
            The port.

        Raises:
            ConfigurationError: The address is malformed or cannot be bound.
        """
        self._listener = listen_on(address)
        return int(self._listener.getsockname()[1])

    async def serve(self, *, congestion_control: str = "") -> None:
        """Let clients in.

        Args:
            congestion_control: Of their connections; empty for the machine's own.

        Raises:
            ConfigurationError: The kernel lacks the congestion control.
        """
        assert self._listener is not None, "it listens"
        if congestion_control:
            congestion.set_control(self._listener, congestion_control)
        await self._server.serve(self._listener)
        await self._say(health_pb2.HealthCheckResponse.SERVING)

    async def open(self, address: str, *, congestion_control: str = "") -> int:
        """Listen and let clients in, as `listen` and `serve` do; return the port."""
        port = self.listen(address)
        await self.serve(congestion_control=congestion_control)
        return port

    async def drain(self, grace: float) -> None:
        """Refuse new streams, wait for those inside, then stop serving.

        Args:
            grace: Seconds; streams that are still open then are cut, which their clients see as an error.
        """
        await self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
        await self._admission.drain(grace)
        await self._server.close(_FLUSH_TIME)

    async def _say(self, status: int) -> None:
        for service in ("", TOKEN_SERVICE):
            await self._health.set(service, status)

    async def _admit(self, call: Call) -> None:
        try:
            with self._admission.inside():
                await self._generate(await _request_of(call, self._request), call)
        except Refused as refused:
            raise Ended(refused.code, str(refused)) from refused

    async def _check(self, call: Call) -> None:
        answer = await self._health.Check(await _request_of(call, health_pb2.HealthCheckRequest), call)
        await call.write(answer.SerializeToString())

    async def _watch(self, call: Call) -> None:
        await self._health.Watch(await _request_of(call, health_pb2.HealthCheckRequest), _Messages(call))

    async def _reflect(self, call: Call) -> None:
        async def requests() -> AsyncIterator[Message]:
            while (body := await call.read()) is not None:
                yield _decoded(body, reflection_pb2.ServerReflectionRequest)

        async for answer in self._reflection.ServerReflectionInfo(requests(), call):
            await call.write(answer.SerializeToString())


class _Messages:
    """A call whose answers are messages."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def write(self, message: Message) -> None:
        """Send one."""
        await self._call.write(message.SerializeToString())


async def _request_of(call: Call, kind: type[Message] | None) -> Any:
    """Return the request of a call that has one.

    Args:
        call: The call.
        kind: What it is; None leaves it its bytes.
    """
    body = await call.read()
    if body is None:
        raise Ended(grpc.StatusCode.INVALID_ARGUMENT, "the call has no request")
    return body if kind is None else _decoded(body, kind)


def _decoded(body: bytes, kind: type[Message]) -> Message:
    try:
        return kind.FromString(body)
    except DecodeError:
        message = f"the request is not a {kind.DESCRIPTOR.name}: it cannot be decoded"
        raise Ended(grpc.StatusCode.INVALID_ARGUMENT, message) from None


def metadata_of(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return a call's metadata by name; a name that repeats has its values, comma separated."""
    kept: dict[str, str] = {}
    for name, value in pairs:
        kept[name] = f"{kept[name]},{value}" if name in kept else value
    return kept
