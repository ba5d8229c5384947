"""The gate behind which a Prometheus outside finds the lab's pages of metrics."""

import asyncio
import json
import subprocess
import sys

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter, start_http_server

from eloquent.addresses import listen_on
from eloquent.watch.metrics_gate import make_gate

pytestmark = pytest.mark.processes

LABELS = {"role": "viewer", "host": "c1", "scenario": "clean"}


@pytest.fixture
def page():
    """A page of metrics as the nodes have it."""
    registry = CollectorRegistry()
    Counter("eloquent_tokens", "Tokens.", registry=registry).inc(7)
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def targets(tmp_path):
    def write(*addresses: str) -> None:
        found = [{"targets": [address], "labels": LABELS} for address in addresses]
        (tmp_path / "lab.json").write_text(json.dumps(found))

    return write


@pytest.fixture
def get(tmp_path):
    app = make_gate(tmp_path)

    async def fetch(path: str) -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://testbed:9091") as client,
        ):
            return await client.get(path)

    return lambda path: asyncio.run(fetch(path))


def test_a_page_is_fetched_from_the_lab_with_its_kind(get, targets, page):
    targets(page)
    answer = get(f"/metrics/{page}")
    assert "eloquent_tokens_total 7.0" in answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")


def test_prometheus_is_told_to_come_here_and_what_it_sees(get, targets):
    targets("10.255.0.2:9100", "controller:9105")
    assert get("/targets").json() == [
        {
            "targets": ["testbed:9091"],
            "labels": {
                **LABELS,
                "__metrics_path__": "/metrics/10.255.0.2:9100",
                "instance": "10.255.0.2:9100",
            },
        },
        {"targets": ["controller:9105"], "labels": LABELS},
    ]


def test_nothing_else_is_reached_through_it(get, targets, page):
    targets("10.255.0.2:9100")
    assert get(f"/metrics/{page}").status_code == 404


def test_a_target_that_is_down_is_no_page(get, targets):
    targets("127.0.0.1:1")
    assert get("/metrics/127.0.0.1:1").status_code == 502


def test_before_there_is_a_lab_there_is_nothing(get):
    assert get("/targets").json() == []


@pytest.mark.parametrize(
    "words",
    [
        ("metrics_gate", "--targets", ".", "--listen"),
        ("board", "--prometheus", "http://127.0.0.1:1", "--facts", "none.json", "--listen"),
        ("board", "--prometheus", "http://127.0.0.1:1", "--facts", "none.json", "--listen", "127.0.0.1:0", "--metrics"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_port_in_use_is_one_sentence_and_exit_status_2(words, host):
    with listen_on(f"{host}:0") as taken:
        address = f"{host}:{taken.getsockname()[1]}"
        command = [sys.executable, "-m", f"eloquent.watch.{words[0]}", *words[1:], address]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (2, f"error: cannot listen on {address}: Address already in use\n")
