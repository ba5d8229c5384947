"""What the board serves: the page, the definitions of its panels, their values, what runs, and the chat.

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

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eloquent import telemetry
from eloquent.errors import ConfigurationError
from eloquent.watch.board.chat import BoardQuestion, Chats
from eloquent.watch.board.selection import SPANS, WINDOWS, Selection
from eloquent.watch.board.values import read_values
from eloquent.watch.facts import RunFacts
from eloquent.watch.naming import describe_scheme, scheme_place
from eloquent.watch.panels import TESTBED
from eloquent.watch.prometheus import Prometheus, PrometheusError

STATIC = Path(__file__).with_name("static")
LONGEST_QUESTION = 4096  # bytes
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
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
    board = _Board(facts, prometheus, Chats(facts, metrics))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await prometheus.close()

    return Starlette(
        routes=[
            Route("/", board.page),
            Route("/api/panels", board.panels),
            Route("/api/values", board.values),
            Route("/api/run", board.run),
            Route("/api/ask", board.ask, methods=["POST"]),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[
            Middleware(_Headers),
            Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"], www_redirect=False),
        ],
        exception_handlers={
            ConfigurationError: _explain(400),
            ValidationError: _explain(400),
            PrometheusError: _explain(502),
        },
        lifespan=lifespan,
    )


class _Board:
    """The board's answers."""

    def __init__(self, facts: RunFacts, prometheus: Prometheus, chats: Chats) -> None:
        self._facts = facts
        self._prometheus = prometheus
        self._chats = chats

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
        _require_own_page(request)
        length = request.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > LONGEST_QUESTION:
            return _refuse(413, f"a question has {LONGEST_QUESTION} bytes at most")
        question = BoardQuestion.model_validate_json(await request.body())
        self._chats.check(question)
        if not self._chats.enter():
            return _refuse(429, "enough chats are running: wait until one of them ends")
        return _ChatResponse(self._chats, question)


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
        return _refuse(status, str(error))

    return explain


class _Headers:
    """Adds the headers that keep the page to itself, to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._headers = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers: list[Any] = message.setdefault("headers", [])
                headers.extend(self._headers)
            await send(message)

        await self._app(scope, receive, send_with_headers)
