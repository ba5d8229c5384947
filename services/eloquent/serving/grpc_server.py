"""A gRPC server that offers `Generate`, the same for the token server and the edge relay: admission, health, reflection, draining.

Rules of this file: once draining, health says NOT_SERVING, nobody is let in, and those inside get the grace time. A node
refuses with a status, never by silence.
"""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # ships without annotations
from grpc_health.v1.health import SERVICE_NAME as HEALTH_SERVICE  # type: ignore[import-untyped]  # ships without annotations
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]  # ships without annotations

from eloquent import congestion
from eloquent.addresses import Address, parse_address
from eloquent.api.v1 import token_service_pb2
from eloquent.calls.names import GENERATE, TOKEN_SERVICE
from eloquent.errors import ConfigurationError
from eloquent.serving.admission import Admission, Refused
from eloquent.serving.tcp_sockets import own_listeners

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Callable[[Any, Context], Awaitable[None]]

_OPTIONS = (
    # Without SO_REUSEPORT a second server on the same port fails instead of stealing half of the calls.
    ("grpc.so_reuseport", 0),
    # After so many milliseconds without an acknowledgement the kernel gives a connection up (TCP_USER_TIMEOUT). gRPC's own 20 s
    # is shorter than what TCP's doubled timeouts reach on a lossy link, where the connection still comes back.
    ("grpc.keepalive_timeout_ms", 120_000),
)
# What reflection describes has to be loaded, also where messages pass undecoded.
_SERVICES = tuple(service.full_name for service in token_service_pb2.DESCRIPTOR.services_by_name.values())
_FLUSH_TIME = 1.0  # seconds for the last statuses to leave after the last handler has ended


class GrpcServer:
    """A gRPC server that offers `Generate`, health and reflection.

    Args:
        generate: The handler; it writes messages to the context and returns, or aborts.
        admission: Who is let in.
        request: What the handler takes; `None` leaves a request its bytes.
        serialize: Turns what the handler writes into bytes; `None` takes bytes.

    Attributes:
        address: Where it listens, once it does.
    """

    def __init__(
        self,
        generate: Handler,
        *,
        admission: Admission,
        request: type[Message] | None = None,
        serialize: Callable[[Any], bytes] | None = None,
    ) -> None:
        self.server = grpc.aio.server(options=_OPTIONS)
        self.address: Address = ("", 0)
        self._generate = generate
        self._admission = admission
        self._request = request
        # Undecoded: what gRPC cannot decode itself, it would call its own fault (INTERNAL).
        method: grpc.RpcMethodHandler[Any, Any] = grpc.unary_stream_rpc_method_handler(self._admit, None, serialize)
        name = GENERATE.rpartition("/")[2]
        self.server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(TOKEN_SERVICE, {name: method})])
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.server)
        described = (*_SERVICES, HEALTH_SERVICE, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(described, self.server)

    def listen(self, address: str) -> int:
        """Listen in the network that this thread is in at the moment; nobody is let in yet.

        Args:
            address: `HOST:PORT`; port 0 takes a free one.

        Returns:
            The port.

        Raises:
            ConfigurationError: The address is malformed or cannot be bound.
        """
        host, _ = parse_address(address, listen=True)
        try:
            port = self.server.add_insecure_port(address)
        except RuntimeError as error:
            raise ConfigurationError(
                f"cannot listen on {address}: the port is in use or the address is not ours"
            ) from error
        self.address = host, port
        return port

    async def serve(self, *, congestion_control: str = "") -> None:
        """Let clients in.

        Args:
            congestion_control: Of their connections; empty for the machine's own.

        Raises:
            ConfigurationError: The kernel lacks the congestion control.
        """
        if congestion_control:
            await self._set_congestion_control(self.address[1], congestion_control)
        await self.server.start()  # only now it accepts
        await self._say(health_pb2.HealthCheckResponse.SERVING)

    async def open(self, address: str, *, congestion_control: str = "") -> int:
        """Listen and let clients in, as `listen` and `serve` do; return the port."""
        try:
            port = self.listen(address)
        except ConfigurationError:
            await self.server.stop(None)
            raise
        await self.serve(congestion_control=congestion_control)
        return port

    async def _set_congestion_control(self, port: int, control: str) -> None:
        """Set it on the sockets that listen already, which gRPC itself has no option for."""
        listeners = own_listeners(port)
        assert listeners, "gRPC listens since it has a port"
        with ExitStack() as opened:
            try:
                for listener in listeners:
                    congestion.set_control(opened.enter_context(listener), control)
            except ConfigurationError:
                await self.server.stop(None)
                raise

    async def drain(self, grace: float) -> None:
        """Refuse new streams, wait for those inside, then stop serving.

        Args:
            grace: Seconds; streams that are still open then are cut, which their clients see as an error.
        """
        await self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
        await self._admission.drain(grace)
        await self.server.stop(0 if self._admission.active else _FLUSH_TIME)

    async def _say(self, status: int) -> None:
        for service in ("", TOKEN_SERVICE):
            await self._health.set(service, status)

    async def _admit(self, body: bytes, context: Context) -> None:
        try:
            with self._admission.inside():
                await self._generate(await self._decoded(body, context), context)
        except Refused as refused:
            await context.abort(refused.code, str(refused))

    async def _decoded(self, body: bytes, context: Context) -> Any:
        if self._request is None:
            return body
        try:
            return self._request.FromString(body)
        except DecodeError:
            message = f"the request is not a {self._request.DESCRIPTOR.name}: it cannot be decoded"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, message)


def metadata_of(pairs: Iterable[Any] | None) -> dict[str, str]:
    """Return a call's text metadata without what gRPC adds; a key that repeats keeps its values, comma separated."""
    kept: dict[str, str] = {}
    for key, value in pairs or ():
        if isinstance(value, str) and key != "user-agent" and not key.startswith(("grpc-", ":")):
            kept[key] = f"{kept[key]},{value}" if key in kept else value
    return kept
