"""How a viewer asks: over gRPC or over HTTP with server-sent events, from the token server or an edge relay.

Rules of this file: connections are made ahead and kept open, and each session has one to itself, so that the kernel's
account of a connection is a session's. Nothing retries. Every failure is a `AnswerFailed` with an outcome.
"""

import argparse
import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import grpclib.client
import httpx
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.protocol import H2Protocol

from eloquent import congestion, networks, schemes
from eloquent.addresses import parse_address
from eloquent.api.v1.token_service_pb2 import GenerateRequest, GenerateResponse
from eloquent.calls import chat, chat_stream, names
from eloquent.calls.answer import AnswerCheck, AnswerFailed, AnswerToken
from eloquent.errors import ConfigurationError
from eloquent.http3 import settings as http3
from eloquent.http3.chat import ask_chat
from eloquent.http3.client import Http3Client
from eloquent.nodes.common import runtime
from eloquent.nodes.sources.counting import counting_prompt
from eloquent.protocol.scheme import Scheme

_CONNECT_TIME = 15.0  # seconds for a connection before the first round
_MARGIN = 30.0  # seconds of a session's deadline beyond twice its length

_logger = logging.getLogger(__name__)

Connection = TypeVar("Connection")


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked for in a session.

    Attributes:
        length: Seconds from the first token to the last, about.
        token_gap: Seconds between two tokens.
        words: What a person asks; empty for the paper's prompt.
    """

    length: float
    token_gap: float
    words: str = ""

    @property
    def deadline(self) -> float:
        """Seconds after which a session is given up."""
        return 2 * self.length + _MARGIN

    @property
    def prompt(self) -> str:
        """The words, or the paper's prompt, to count as far as the time goes."""
        return self.words or counting_prompt(self.tokens)

    @property
    def max_tokens(self) -> int:
        """Where the answer is cut off; 0 for the paper's prompt, whose answer ends by itself."""
        return self.tokens if self.words else 0

    @property
    def tokens(self) -> int:
        """How many tokens the length has room for."""
        return max(1, int(self.length / self.token_gap + 1e-9))


Metadata = tuple[tuple[str, str], ...]


class AsyncClient(ABC, Generic[Connection]):
    """One scheme's connections, kept open; each session has one to itself.

    Args:
        target: `HOST:PORT`.
        network: The file of the network that they leave from; None for the process's own.
    """

    def __init__(self, target: str, network: Path | None = None) -> None:
        self._target = target
        self._network = network
        self._idle: list[Connection] = []
        self._all: list[Connection] = []

    async def connect(self) -> None:
        """Connect ahead of the first session."""
        async with self._connection() as connection:
            try:
                await asyncio.wait_for(self._warm(connection), _CONNECT_TIME)
            except (TimeoutError, OSError, httpx.TransportError):
                _logger.warning("no connection to %s; going on", self._target)

    async def answer(self, ask: Ask, metadata: Metadata) -> AsyncGenerator[AnswerToken, None]:
        """Ask, and yield the tokens as they come; whoever closes it early tells the server.

        Raises:
            AnswerFailed: The answer does not come, or does not end well.
        """
        check = AnswerCheck()
        async with aclosing(self._tokens(ask, metadata)) as tokens:
            async for token in tokens:
                yield check.take(token)
        check.finish()

    async def close(self) -> None:
        """Close the connections."""
        for connection in self._all:
            await self._close(connection)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        """Lend a connection that no other session uses."""
        if not self._idle:
            connection = self._make()
            self._all.append(connection)
            self._idle.append(connection)
        connection = self._idle.pop()
        try:
            yield connection
        finally:
            self._idle.append(connection)

    @abstractmethod
    def _tokens(self, ask: Ask, metadata: Metadata) -> AsyncGenerator[AnswerToken, None]: ...

    @abstractmethod
    def _make(self) -> Connection: ...

    @abstractmethod
    async def _warm(self, connection: Connection) -> None: ...

    @abstractmethod
    async def _close(self, connection: Connection) -> None: ...


class _Channel(grpclib.client.Channel):
    """A connection of gRPC that leaves from a host's network, which grpcio cannot do (C-core's threads make its sockets)."""

    def __init__(self, target: str, network: Path | None) -> None:
        self._address = parse_address(target)
        super().__init__(*self._address)
        self._network = network

    async def _create_connection(self) -> H2Protocol:
        connection = await networks.connect(self._address, self._network)
        _, protocol = await self._loop.create_connection(self._protocol_factory, sock=connection)
        return protocol


class AsyncGrpcClient(AsyncClient[_Channel]):
    """Asks by gRPC."""

    async def _tokens(self, ask: Ask, metadata: Metadata) -> AsyncGenerator[AnswerToken, None]:
        request = GenerateRequest(prompt=ask.prompt, max_tokens=ask.max_tokens)
        request.token_gap.FromNanoseconds(round(ask.token_gap * 1e9))
        async with self._connection() as channel:
            generate = grpclib.client.UnaryStreamMethod(channel, names.GENERATE, GenerateRequest, GenerateResponse)
            try:
                async with generate.open(timeout=ask.deadline, metadata=metadata) as call:
                    await call.send_message(request, end=True)
                    async for token in call:
                        yield AnswerToken(token.index, token.text, token.generated_at_ns / 1e9)
            except GRPCError as error:
                raise AnswerFailed(error.status.name.lower(), error.message or "") from error
            except TimeoutError as error:
                raise AnswerFailed("deadline_exceeded", f"no end after {ask.deadline:g} s") from error
            except (StreamTerminatedError, OSError) as error:
                raise AnswerFailed("unavailable", str(error) or repr(error)) from error

    def _make(self) -> _Channel:
        return _Channel(self._target, self._network)

    async def _warm(self, connection: _Channel) -> None:
        await connection.__connect__()

    async def _close(self, connection: _Channel) -> None:
        connection.close()


class AsyncSseClient(AsyncClient[httpx.AsyncClient]):
    """Asks by HTTP, and reads server-sent events.

    Args:
        target: `HOST:PORT`.
        model: Which model to ask, of a server that is not the testbed's own; None for that.
    """

    def __init__(self, target: str, model: str | None = None) -> None:
        super().__init__(target)
        self._model = model

    async def _tokens(self, ask: Ask, metadata: Metadata) -> AsyncGenerator[AnswerToken, None]:
        if self._model is None:
            question = chat.question(ask.prompt, token_gap_s=ask.token_gap, max_tokens=ask.max_tokens)
        else:
            question = chat.plain_question(ask.prompt, model=self._model, max_tokens=ask.tokens)
        own = {} if self._model is None else chat.plain_headers()
        headers = {"content-type": "application/json", **own, **dict(metadata)}
        try:
            async with (
                self._connection() as client,
                asyncio.timeout(ask.deadline),
                client.stream("POST", chat.PATH, content=question, headers=headers) as response,
            ):
                if response.status_code != httpx.codes.OK:
                    raise chat_stream.refusal(response.status_code, await response.aread())
                reader = chat_stream.TokenReader(is_plain=self._model is not None)
                async for data in response.aiter_raw():
                    for token in reader.feed(data):
                        yield token
                reader.finish()
        except TimeoutError as error:
            raise AnswerFailed("deadline_exceeded", f"no end after {ask.deadline:g} s") from error
        except httpx.TransportError as error:
            raise AnswerFailed("unavailable", str(error) or repr(error)) from error

    def _make(self) -> httpx.AsyncClient:
        one = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=None)
        return httpx.AsyncClient(base_url=f"http://{self._target}", limits=one, timeout=None, trust_env=False)  # noqa: S113  (a session has a deadline)

    async def _warm(self, connection: httpx.AsyncClient) -> None:
        await connection.get("/health")

    async def _close(self, connection: httpx.AsyncClient) -> None:
        await connection.aclose()


class AsyncQuicClient(AsyncClient[Http3Client]):
    """Asks over HTTP/3, and reads the same events from a QUIC stream or from its datagrams.

    Args:
        target: `HOST:PORT`.
        scheme: What carries the answers, of kind `quic`.
    """

    def __init__(self, target: str, scheme: Scheme) -> None:
        super().__init__(target)
        self._between = schemes.get(scheme.between) if scheme.between else None

    async def _tokens(self, ask: Ask, metadata: Metadata) -> AsyncGenerator[AnswerToken, None]:
        question = chat.question(ask.prompt, token_gap_s=ask.token_gap, max_tokens=ask.max_tokens)
        async with self._connection() as client:
            try:
                async with (
                    asyncio.timeout(ask.deadline),
                    aclosing(ask_chat(client, question, dict(metadata), self._between)) as tokens,
                ):
                    async for token in tokens:
                        yield token
            except TimeoutError as error:
                raise AnswerFailed("deadline_exceeded", f"no end after {ask.deadline:g} s") from error

    def _make(self) -> Http3Client:
        return Http3Client(self._target)

    async def _warm(self, connection: Http3Client) -> None:
        await connection.connect()

    async def _close(self, connection: Http3Client) -> None:
        await connection.close()


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say by which schemes to ask, and where."""
    add = parser.add_argument
    add("--schemes", required=True, type=runtime.comma_separated, metavar="A,B", help="schemes to ask by")
    add("--server", metavar="HOST:PORT", help="token server, for the schemes grpc and grpc-…")
    add("--http", metavar="HOST:PORT", help="HTTP endpoint of the token server, for the schemes sse and sse-…")
    add("--quic", metavar="HOST:PORT", help="HTTP/3 endpoint of the token server, for the schemes quic-…")
    add("--edge-http", metavar="HOST:PORT", help="HTTP at the edge relay, for the schemes openai and openai-…")
    add("--edge-quic", metavar="HOST:PORT", help="the same before the way over QUIC, for the scheme eloquent-quic")
    add("--model", metavar="NAME", help="of a server at --http that is not the testbed's own: which model to ask")
    add("--edge", metavar="HOST:PORT", help="edge relay, for all other schemes")


def is_asked_by_grpc(scheme: Scheme) -> bool:
    """Return whether answers by a scheme are asked for by gRPC, whose connections leave from any network."""
    return scheme.kind not in {"quic", "pair"} and scheme.transport != "sse"


def make_clients(flags: argparse.Namespace, network: Path | None = None) -> dict[str, AsyncClient[Any]]:
    """Return a client for each scheme.

    Args:
        flags: What `add_flags` added.
        network: The file of the network that they ask from, by schemes of gRPC alone; None for the process's own.

    Raises:
        ConfigurationError: A scheme is unknown, or the address that it needs is not given or malformed.
    """
    clients: dict[str, AsyncClient[Any]] = {}
    make: Callable[[str], AsyncClient[Any]]
    ask_http, ask_grpc = partial(AsyncSseClient, model=flags.model), partial(AsyncGrpcClient, network=network)
    for name in flags.schemes:
        scheme = schemes.get(name)
        if scheme.kind == "quic":
            flag, target, make = "--quic", flags.quic, partial(AsyncQuicClient, scheme=scheme)
        elif scheme.transport == "sse":
            flag, target, make = "--http", flags.http, ask_http
        elif scheme.carrier == "quic":
            flag, target, make = "--edge-quic", flags.edge_quic, ask_http
        elif scheme.kind == "pair":
            flag, target, make = "--edge-http", flags.edge_http, ask_http
        elif scheme.kind == "kernel":
            flag, target, make = "--server", flags.server, ask_grpc
        else:
            flag, target, make = "--edge", flags.edge, ask_grpc
        if not target:
            raise ConfigurationError(f"the scheme '{name}' needs {flag}")
        parse_address(target)
        if network is not None and not is_asked_by_grpc(scheme):
            raise ConfigurationError(f"the scheme '{name}' asks from the network of its process alone")
        address_of = http3.address_of if scheme.kind == "quic" else congestion.address_of
        clients[name] = make(address_of(target, scheme.congestion_control))
    if not clients:
        raise ConfigurationError("name at least one scheme with --schemes")
    return clients
