"""The edge of the relay pair for real services: HTTP for the clients of this host, sealed datagrams across the link."""

from collections.abc import Mapping
from typing import Self

from eloquent import schemes, telemetry
from eloquent.addresses import listen_on, parse_address, reason_of
from eloquent.calls.names import SCHEME_KEY
from eloquent.errors import ConfigurationError
from eloquent.relay.fronts.http import HttpFront
from eloquent.relay.serve import HELD_REQUESTS
from eloquent.relay.settings import MAX_REQUEST
from eloquent.relay.uplink import Uplink


class PairEdge:
    """The edge relay; `connect` makes it.

    Args:
        uplink: The way to the origin relay.

    Attributes:
        uplink: The same.
    """

    def __init__(self, uplink: Uplink) -> None:
        self.uplink = uplink
        self._front = HttpFront(
            uplink, scheme_of=scheme_between, max_request=MAX_REQUEST, max_held=HELD_REQUESTS * MAX_REQUEST
        )

    @classmethod
    async def connect(cls, origin: str, metrics: telemetry.EdgeMetrics, *, key: bytes) -> Self:
        """Open the way to the origin relay.

        Args:
            origin: Its HOST:PORT.
            metrics: What is counted.
            key: 32 bytes, shared with it.

        Raises:
            ConfigurationError: There is no way.
        """
        address = parse_address(origin)
        try:
            return cls(await Uplink.connect(address, metrics, key=key))
        except OSError as error:
            raise ConfigurationError(f"no way to the origin relay at {origin}: {reason_of(error)}") from error

    async def open(self, listen: str) -> int:
        """Serve clients at HOST:PORT, and return the port.

        Raises:
            ConfigurationError: The address cannot be listened on.
        """
        listener = listen_on(listen)
        await self._front.open(listener)
        return int(listener.getsockname()[1])

    async def drain(self, grace: float) -> None:
        """Refuse new requests, wait for those that run at most so many seconds, and close the sessions."""
        await self._front.drain(grace)
        self.uplink.close()


def scheme_between(fields: Mapping[str, str]) -> str:
    """Return what carries the answer to a request between the relays, by the scheme that its header names.

    Raises:
        ConfigurationError: The relay pair does not carry that scheme.
    """
    name = fields.get(SCHEME_KEY, "openai")
    scheme = schemes.get(name)
    if scheme.kind != "pair":
        raise ConfigurationError(f"the relay pair does not carry the scheme '{name}': ask the token server itself")
    return scheme.between
