"""Through your browser: the requests that the reader's own browser sends over a client's link, and the outages of that link.

Rules of this file: what the page asks goes on as it is, to where HTTP enters the link (emulation/browser_access.py), and the answer
comes back as it is, piece by piece. Nothing is measured here: the page measures what it renders.
"""

import asyncio
import contextlib
import json
import time
from typing import Annotated, Any

import httpx
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from eloquent.calls import chat
from eloquent.errors import ConfigurationError, EloquentError
from eloquent.watch.facts import RunFacts
from eloquent.watch.naming import describe_scheme

AT_ONCE = 32  # requests under way
CONTROL_TIMEOUT = 30.0  # seconds for the lab to obey
_ONWARD = ("content-type", "accept", "idempotency-key", "last-event-id")
_BACK = ("content-type", "retry-after")


class OutageError(EloquentError):
    """The lab does not cut the link now."""


class LinkOutage(BaseModel):
    """What the page asks for: everything on the link is lost.

    Attributes:
        seconds: For how long.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: Annotated[float, Field(ge=0.1, le=30)]


class Browser:
    """The reader's own browser as a client.

    Args:
        facts: What runs.
    """

    def __init__(self, facts: RunFacts) -> None:
        self._facts = facts
        self._access = facts.browser
        limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE, keepalive_expiry=None)
        self._client = httpx.AsyncClient(
            base_url=f"http://{self._access.requests}",
            limits=limits,
            timeout=None,  # noqa: S113  (a link may be cut for long)
            trust_env=False,
        )
        self._open = 0

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    @property
    def relay(self) -> str:
        """Where pages reach the origin relay: at the UDP port of the number that the board has for TCP."""
        return f"https://127.0.0.1:{self._access.port}"

    def describe(self) -> dict[str, Any]:
        """Return what the page has to know.

        Raises:
            ConfigurationError: The hash of the certificate cannot be read.
        """
        try:
            certificate_hash = self._access.certificate_hash.read_text(encoding="ascii").strip()
        except OSError as error:
            raise ConfigurationError(
                f"cannot read the hash of the origin relay's certificate: {error.strerror}"
            ) from None
        return {
            "relay": f"{self.relay}/eloquent",
            "certificate_hash": certificate_hash,
            "client": self._access.client,
            "eloquent": {**describe_scheme("eloquent-packed"), "label": "Eloquent in this page"},
            "tcp": describe_scheme(self._access.scheme),
            "model": self._facts.model or chat.MODEL,
            "own_server": self._facts.model is not None,
        }

    def links(self, seconds: float) -> list[tuple[float, float, float]]:
        """Return the states of the link from now on, as `RunFacts.link_states` does."""
        now = time.monotonic()
        return self._facts.link_states(self._access.client, from_s=now, to_s=now + seconds)

    def enter(self) -> bool:
        """Take the place of one request, until `leave`; False where as many run as may."""
        if self._open >= AT_ONCE:
            return False
        self._open += 1
        return True

    def leave(self) -> None:
        """Give the place back."""
        self._open -= 1

    def pass_on(self, request: Request, body: bytes) -> Response:
        """Return the response that asks the model server over the link. The caller has a place, which the response gives back.

        Args:
            request: The page's.
            body: Its body.
        """
        return _PassedOn(self, self._client, request, body)

    async def cut(self, outage: LinkOutage) -> None:
        """Lose everything on the link.

        Args:
            outage: For how long.

        Raises:
            OutageError: The lab does not do so now; the message says why.
        """
        order = {"do": "cut", "client": self._access.client, "seconds": float(outage.seconds)}
        try:
            async with asyncio.timeout(CONTROL_TIMEOUT):
                reader, writer = await asyncio.open_unix_connection(self._facts.control)
                with contextlib.closing(writer):
                    writer.write(json.dumps(order).encode() + b"\n")
                    answer: dict[str, str] = json.loads(await reader.readline())
        except (OSError, ValueError, TimeoutError) as error:
            raise OutageError(f"the lab does not answer ({error or type(error).__name__})") from None
        if "error" in answer:
            raise OutageError(answer["error"])


class _PassedOn(Response):
    """The answer of the model server, as it comes."""

    def __init__(self, browser: Browser, client: httpx.AsyncClient, request: Request, body: bytes) -> None:
        super().__init__()
        self._browser = browser
        headers = {name: request.headers[name] for name in _ONWARD if name in request.headers}
        self._exchange = client.stream(
            request.method, request.url.path, content=body, headers=headers | chat.plain_headers()
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self._exchange as answer:
                headers = {name: answer.headers[name] for name in _BACK if name in answer.headers}
                await StreamingResponse(answer.aiter_raw(), answer.status_code, headers)(scope, receive, send)
        finally:
            self._browser.leave()
