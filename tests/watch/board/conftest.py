"""A board in this process, of a run whose token server is a real one."""

import asyncio
import contextlib

import httpx
import pytest
from prometheus_client import CollectorRegistry

from eloquent import telemetry
from eloquent.watch.board.app import make_app
from eloquent.watch.prometheus import Prometheus


@pytest.fixture
def registry():
    return CollectorRegistry()


class Page:
    """A browser's side of a board in this process."""

    def __init__(self, runner, client):
        self._runner = runner
        self._client = client

    def get(self, path, **words):
        return self._runner.run(self._client.get(path, **words))

    def post(self, path, **words):
        return self._runner.run(self._client.post(path, **words))

    def run(self, work):
        return self._runner.run(work)

    def post_at_once(self, path, times, **words):
        async def post_all():
            return await asyncio.gather(*(self._client.post(path, **words) for _ in range(times)))

        return self._runner.run(post_all())


@pytest.fixture
def open_board(facts, prometheus, token_server, registry, browser_access):
    """Make a board of a run with a token server; what else is changed of its facts, is given."""
    with asyncio.Runner() as runner, contextlib.ExitStack() as opened:

        def make(prometheus=prometheus, **changes):
            grpc, http = token_server
            known = facts.model_copy(update={"server": grpc, "http": http, "browser": browser_access(http), **changes})
            app = make_app(known, Prometheus(prometheus), telemetry.ViewerMetrics(registry))
            client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8080", timeout=60)
            opened.callback(lambda: runner.run(client.aclose()))
            life = app.router.lifespan_context(app)
            runner.run(life.__aenter__())
            opened.callback(lambda: runner.run(life.__aexit__(None, None, None)))
            return Page(runner, client)

        yield make


@pytest.fixture
def board(open_board):
    return open_board()
