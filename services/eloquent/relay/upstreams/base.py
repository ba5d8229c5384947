"""What an origin relay wants of whom it asks."""

from typing import Protocol, TypeVar

from eloquent.relay.exchange import ModelRequest

Request = TypeVar("Request", bound=ModelRequest, contravariant=True)  # noqa: PLC0105  (mypy's suffix says nothing here)


class Sink(Protocol):
    """Where the tokens of an answer go."""

    def put(self, token: bytes) -> bool:
        """Take the next token; return whether there is room for another at once."""

    async def room(self) -> None:
        """Wait until there is room."""


async def send(sink: Sink, token: bytes) -> None:
    """Give a sink the next token, and wait until there is room for another."""
    if not sink.put(token):
        await sink.room()


class Upstream(Protocol[Request]):
    """A model server, by one protocol."""

    async def ask(self, request: Request, sink: Sink) -> bytes:
        """Ask, send the tokens of the answer, and return the trailer; cancelled, leave the server.

        Args:
            request: The client's.
            sink: Takes the tokens.
        """
