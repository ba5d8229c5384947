"""A pair of relays on a lossy path, watched by a real Prometheus as deploy/prometheus.yml says: what its dashboard shows."""

import asyncio
import json
import math
import shutil
import socket
import urllib.parse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from eloquent.watch.panels import PRODUCTION

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
CHAT = b'data: {"choices":[{"index":0,"delta":{"content":"word %d"},"finish_reason":null}]}\n\n'
DONE = b"data: [DONE]\n\n"
WINDOW = "10s"
RULES = ROOT / "dashboards" / "prometheus" / "rules" / "production.yml"


async def model(request: web.BaseRequest) -> web.StreamResponse:
    """Refuse what is asked in the wrong place, and answer all else with 100 events, one of which is late."""
    if not request.path.endswith("completions"):
        return web.json_response({"error": "not here"}, status=404)
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for number in range(100):
        await response.write(CHAT % number)
        await asyncio.sleep(0.4 if number == 50 else 0.02)
    await response.write(DONE)
    return response


class Prometheus:
    """Asks a Prometheus."""

    def __init__(self, url: str, client: aiohttp.ClientSession) -> None:
        self._url, self._client = url, client

    async def ask(self, what: str, **words: str) -> Any:
        with suppress(aiohttp.ClientError):  # it may not be up yet
            async with self._client.get(f"{self._url}/api/v1/{what}?{urllib.parse.urlencode(words)}") as answer:
                if answer.status == 200:
                    return (await answer.json())["data"]
        return None

    async def expect(self, expr: str, low: float = -math.inf, high: float = math.inf) -> None:
        """Wait until a query has values, all within bounds: where this machine stood still, they come back to them."""
        values: list[float] = []
        deadline = asyncio.get_running_loop().time() + 60.0
        while not values or not all(low <= value <= high for value in values):
            assert asyncio.get_running_loop().time() < deadline, f"{expr} gives {values}, not {low} to {high}"
            await asyncio.sleep(0.1)
            found = await self.ask("query", query=expr) or {"result": []}
            values = [float(one["value"][1]) for one in found["result"]]


@asynccontextmanager
async def prometheus(folder: Path, targets: list[str]) -> AsyncIterator[Prometheus]:
    """Run Prometheus by the configuration that operators copy, but for the addresses, and more often."""
    configuration = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "250ms", "scrape_timeout": "250ms", "evaluation_interval": "1s"}
    configuration["scrape_configs"][0]["static_configs"][0]["targets"] = targets
    (folder / "prometheus.yml").write_text(json.dumps(configuration))  # JSON is YAML
    shutil.copy(RULES, folder)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "prometheus", *words, f"--web.listen-address=127.0.0.1:{port}", stdout=log, stderr=log
        )
        try:
            async with aiohttp.ClientSession() as client:
                yield Prometheus(f"http://127.0.0.1:{port}", client)
        finally:
            process.kill()
            await process.wait()


async def chat(client: aiohttp.ClientSession, url: str) -> None:
    """Ask one question after the other, each fourth in the wrong place."""
    while True:
        for place in ("completions", "completions", "completions", "nowhere"):
            async with client.post(f"{url.rpartition('/')[0]}/{place}") as response:
                await response.read()


def test_every_query_of_every_panel_has_data_that_makes_sense(
    relaying: Any, make_relays: Any, needs_promtool: None, tmp_path: Path
) -> None:
    pages = {role: relaying.free_address() for role in ("origin", "edge")}

    async def main() -> None:
        async with relaying.serving(model) as url, prometheus(tmp_path, list(pages.values())) as watching:
            flags = {role: ["--metrics", page] for role, page in pages.items()}
            path = await relaying.Path.open(
                ("127.0.0.1", 9)
            )  # to where nobody answers, until it is known where one does
            path.loss, path.delay = 0.1, 0.03
            flags["edge"] += ["--origin", f"127.0.0.1:{path.address[1]}"]
            flags["origin"] += ["--webtransport", relaying.free_address(), "--page-origins", "https://chat.example"]
            relays = await asyncio.to_thread(make_relays, url, **flags)
            host, port = path.server = "127.0.0.1", int(relays.between.rpartition(":")[2])
            async with aiohttp.ClientSession() as client, asyncio.TaskGroup() as chats:
                asking = [chats.create_task(chat(client, relays.url)) for _ in range(4)]
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                    for _ in range(4):
                        stranger.sendto(b"garbage", (host, port))
                        await asyncio.sleep(0.5)
                await check(watching)
                for task in asking:
                    task.cancel()
            path.close()

    async def check(watching: Prometheus) -> None:
        for moved in ("model_stalls", "stalls", "path_lost_packets", "redundant_bytes"):
            await watching.expect(f"sum(rate(eloquent_{moved}_total[{WINDOW}])) > 0")
        shown = {(panel.title, query.legend): query for panel in PRODUCTION.panels for query in panel.queries}
        for query in shown.values():
            await watching.expect(query.fill(window=WINDOW), *query.sane)
        for whose in ("model", "clients"):
            await watching.expect(shown["Whose stalls", f"{whose} of {{{{job}}}}"].fill(window=WINDOW), low=0.001)
        loss = shown["Loss on the path", "{{instance}}"].fill(window=WINDOW)
        await watching.expect(f"max({loss})", 0.01, 0.5)  # a tenth, of some hundred datagrams
        rules = [rule for group in (await watching.ask("rules"))["groups"] for rule in group["rules"]]
        assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
        assert len(rules) == len(yaml.safe_load(RULES.read_text())["groups"][0]["rules"])

    relaying.run(main())
