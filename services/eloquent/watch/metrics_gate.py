"""The gate to the lab's metrics, for a Prometheus that is not in the lab.

It knows what there is to scrape from the files of `Targets`, tells Prometheus by its HTTP service discovery, and fetches these
pages and no others. A target whose address is a number is one of the lab's, which is scraped through here; one with a name is
outside, where Prometheus reaches it by itself.
"""

import argparse
import ipaddress
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from eloquent.addresses import listen_on, parse_address
from eloquent.errors import ConfigurationError

FETCH_TIMEOUT = 5.0  # seconds; beyond, a target counts as down
PASSED_ON = ("accept", "x-prometheus-scrape-timeout-seconds")


def make_gate(folder: Path) -> Starlette:
    """Make the gate.

    Args:
        folder: Where the files of targets are.
    """

    @asynccontextmanager
    async def live(app: Starlette) -> AsyncIterator[None]:
        async with httpx.AsyncClient(timeout=FETCH_TIMEOUT, trust_env=False) as app.state.client:
            yield

    async def targets(request: Request) -> Response:
        return JSONResponse([_as_seen_outside(group, request.url.netloc) for group in _read(folder)])

    async def metrics(request: Request) -> Response:
        address = request.path_params["address"]
        if not any(address in group["targets"] for group in _read(folder)):
            return PlainTextResponse(f"{address} is no target of the lab\n", status_code=404)
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        try:
            page = await request.app.state.client.get(f"http://{address}/metrics", headers=headers)
        except httpx.HTTPError as error:
            return PlainTextResponse(f"{address} does not answer: {error!r}\n", status_code=502)
        kind = page.headers.get("content-type", "text/plain")
        return Response(page.content, status_code=page.status_code, headers={"content-type": kind})

    return Starlette(routes=[Route("/targets", targets), Route("/metrics/{address}", metrics)], lifespan=live)


def _read(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.json")):
        yield from json.loads(path.read_text(encoding="utf-8"))


def _as_seen_outside(group: dict[str, Any], gate: str) -> dict[str, Any]:
    """Return a target as Prometheus finds it: at the gate, under the name that it has in the lab."""
    (address,) = group["targets"]
    if not _is_inside(address):
        return group
    path = {"__metrics_path__": f"/metrics/{address}", "instance": address}
    return {"targets": [gate], "labels": {**group["labels"], **path}}


def _is_inside(address: str) -> bool:
    try:
        ipaddress.ip_address(parse_address(address)[0])
    except ValueError:
        return False
    return True


def main() -> int:
    """Run the gate."""
    parser = argparse.ArgumentParser(description="The gate to the lab's metrics.")
    parser.add_argument("--targets", type=Path, required=True, help="folder of the files of targets")
    parser.add_argument("--listen", required=True, help="HOST:PORT")
    arguments = parser.parse_args()
    try:
        listener = listen_on(arguments.listen)
    except ConfigurationError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    config = uvicorn.Config(make_gate(arguments.targets), log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
