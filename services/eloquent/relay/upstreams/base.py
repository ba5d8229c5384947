"""What an origin relay wants of whom it asks."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from eloquent.relay.exchange import ModelRequest

Request = TypeVar("Request", bound=ModelRequest, contravariant=True)  # noqa: PLC0105  (mypy's suffix says nothing here)

Send = Callable[[bytes], Awaitable[None]]
"""Takes the next token of an answer, and returns when there is room for another."""


class Upstream(Protocol[Request]):
    """A model server, by one protocol."""

    async def ask(self, request: Request, send: Send) -> bytes:
        """Ask, send the tokens of the answer, and return the trailer; cancelled, leave the server.

        Args:
            request: The client's.
            send: Takes the tokens.
        """
