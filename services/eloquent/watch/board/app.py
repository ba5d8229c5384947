"""What the board serves: the page, the definitions of its panels, their values, what runs, and what asks for answers.

Rules of this file: nothing that comes in is trusted. Only the names of this machine's loopback are a host (a foreign name that
resolves to 127.0.0.1 is refused), a question has to come from the board's own page, and that page may load nothing but what
stands here.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eloquent import telemetry
from eloquent.calls import chat
from eloquent.errors import ConfigurationError
from eloquent.watch.board.browser import Browser, LinkOutage, OutageError
from eloquent.watch.board.chat import BoardQuestion, Chats
from eloquent.watch.board.selection import SPANS, WINDOWS, Selection
from eloquent.watch.board.values import read_values
from eloquent.watch.facts import RunFacts
from eloquent.watch.naming import describe_scheme, scheme_place
from eloquent.watch.panels import TESTBED
from eloquent.watch.prometheus import Prometheus, PrometheusError

STATIC = Path(__file__).with_name("static")
LONGEST_QUESTION = 4096  # bytes
LONGEST_LOOK = 600  # seconds that the states of a link are told of
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self' {relay}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}
_LOAD = "count(eloquent_load_users)"  # nothing while no load runs
_SEEN_SCHEMES = "group by (scheme) (eloquent_rendered_tokens_total)"


def make_app(facts: RunFacts, prometheus: Prometheus, metrics: telemetry.ViewerMetrics) -> Starlette:
    """Make the board.

    Args:
        facts: What runs.
        prometheus: Where values come from; closed with the board.
        metrics: Where the tokens of chats are counted.
    """
    browser = Browser(facts)
    board = _Board(facts, prometheus, Chats(facts, metrics), browser)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await prometheus.close()
        await browser.close()

    return Starlette(
        routes=[
            Route("/", board.page),
            Route("/api/panels", board.panels),
            Route("/api/values", board.values),
            Route("/api/run", board.run),
            Route("/api/ask", board.ask, methods=["POST"]),
            Route("/api/browser", board.browser),
            Route("/api/link", board.link),
            Route("/api/outage", board.cut, methods=["POST"]),
            Route(chat.PATH, board.complete, methods=["POST"]),
            Route("/client/eloquent.js", board.module),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[
            Middleware(_Headers, relay=browser.relay),
            Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"], www_redirect=False),
        ],
        exception_handlers={
            HTTPException: _explain(400),
            ConfigurationError: _explain(400),
            ValidationError: _explain(400),
            PrometheusError: _explain(502),
            OutageError: _explain(409),
            httpx.TransportError: _explain(502),
        },
        lifespan=lifespan,
    )


class _Board:
    """The board's answers."""

    def __init__(self, facts: RunFacts, prometheus: Prometheus, chats: Chats, browser: Browser) -> None:
        self._facts = facts
        self._prometheus = prometheus
        self._chats = chats
        self._browser = browser

    async def page(self, _: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def panels(self, _: Request) -> Response:
        """Return the definitions, as they are."""
        dashboards = [asdict(dashboard) for dashboard in TESTBED]
        return JSONResponse({"dashboards": dashboards, "windows": WINDOWS, "spans": list(SPANS)})

    async def values(self, request: Request) -> Response:
        """Return the values of some panels of a dashboard: the only way from the page to Prometheus."""
        selection = Selection.parse(request.query_params, self._facts.clients)
        return JSONResponse(await read_values(self._prometheus, selection))

    async def run(self, _: Request) -> Response:
        """Return what runs."""
        facts = self._facts
        return JSONResponse(
            {
                "name": facts.folder.name,
                "scenario": facts.scenario,
                "link": facts.link,
                "seed": facts.seed,
                "carrier": facts.carrier,
                "datapath": facts.datapath,
                "clients": list(facts.clients),
                "token_rate": round(1.0 / facts.token_gap_s, 3),
                "schemes": [describe_scheme(name) for name in facts.schemes],
                "warnings": facts.warnings,
                "flaws": facts.flaws,
                "urls": facts.urls,
                **await self._measured(),
            }
        )

    async def _measured(self) -> dict[str, Any]:
        """Return what only Prometheus knows; the chat does without it."""
        try:
            alerts = await self._prometheus.alerts()
            seen = [series.labels.get("scheme", "") for series in await self._prometheus.instant(_SEEN_SCHEMES)]
            load = bool(await self._prometheus.instant(_LOAD))
        except PrometheusError as error:
            return {"alerts": [], "seen": [], "load": False, "problem": str(error)}
        others = sorted({*seen} - {*self._facts.schemes, ""}, key=scheme_place)
        return {
            "alerts": [asdict(alert) for alert in alerts],
            "seen": [describe_scheme(name) for name in others],
            "load": load,
            "problem": None,
        }

    async def ask(self, request: Request) -> Response:
        """Stream a chat as server-sent events."""
        question = BoardQuestion.model_validate_json(await _own_body(request))
        self._chats.check(question)
        if not self._chats.enter():
            return _refuse(429, "enough chats are running: wait until one of them ends")
        return _ChatResponse(self._chats, question)

    async def browser(self, _: Request) -> Response:
        """Return how the reader's own browser takes the place of a client."""
        return JSONResponse(self._browser.describe())

    async def module(self, _: Request) -> Response:
        """Return the client by which the page asks over WebTransport, as any page would have it."""
        return FileResponse(self._facts.browser.module, media_type="text/javascript")

    async def link(self, request: Request) -> Response:
        """Return the states of the browser's link from now on."""
        text = request.query_params.get("seconds", "")
        if not text.isdecimal() or int(text) > LONGEST_LOOK:
            raise ConfigurationError(f"seconds is a whole number up to {LONGEST_LOOK}")
        return JSONResponse(self._browser.links(float(text)))

    async def cut(self, request: Request) -> Response:
        """Cut the browser's link for a while."""
        await self._browser.cut(LinkOutage.model_validate_json(await _own_body(request)))
        return JSONResponse({})

    async def complete(self, request: Request) -> Response:
        """Ask the model server over the browser's link, by TCP."""
        body = await _own_body(request)
        if not self._browser.enter():
            return _refuse(429, "enough answers are under way: wait until one of them ends")
        return self._browser.pass_on(request, body)


class _ChatResponse(StreamingResponse):
    """A chat that has a place, which it leaves however it ends: its events may never be asked for."""

    def __init__(self, chats: Chats, question: BoardQuestion) -> None:
        self._chats = chats
        self._events = chats.ask(question)
        super().__init__(self._lines(), media_type="text/event-stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with aclosing(self._events):
                await super().__call__(scope, receive, send)
        finally:
            self._chats.leave()

    async def _lines(self) -> AsyncIterator[bytes]:
        async for event in self._events:
            yield b"data: " + json.dumps(event).encode() + b"\n\n"


async def _own_body(request: Request) -> bytes:
    """Read the body of a request of the board's own page.

    Raises:
        ConfigurationError: The request does not come from the board's page.
        HTTPException: It is too long.
    """
    _require_own_page(request)
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) > LONGEST_QUESTION:
        raise HTTPException(413, f"a question has {LONGEST_QUESTION} bytes at most")
    return await request.body()


def _require_own_page(request: Request) -> None:
    """Let no other page of the reader's browser ask: it would start processes here.

    Raises:
        ConfigurationError: The request does not come from the board's page.
    """
    own = f"{request.url.scheme}://{request.headers['host']}"
    foreign = request.headers.get("origin", own) != own
    if foreign or request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise ConfigurationError("only the board's own page may ask")


def _refuse(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"error": sentence}, status)


def _explain(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def explain(_: Request, error: Exception) -> Response:
        if isinstance(error, ValidationError):
            problem = error.errors()[0]
            return _refuse(status, f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}")
        if isinstance(error, HTTPException):
            return _refuse(error.status_code, error.detail)
        if isinstance(error, httpx.TransportError):
            return _refuse(status, f"the model server is out of reach ({error or type(error).__name__})")
        return _refuse(status, str(error))

    return explain


class _Headers:
    """Adds the headers that keep the page to itself, to every answer."""

    def __init__(self, app: ASGIApp, *, relay: str) -> None:
        self._app = app
        self._headers = [(name.encode(), value.format(relay=relay).encode()) for name, value in _HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers: list[Any] = message.setdefault("headers", [])
                headers.extend(self._headers)
            await send(message)

        await self._app(scope, receive, send_with_headers)
