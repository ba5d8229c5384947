"""What the board stands on, for real and small: a Prometheus that scrapes a page of metrics, a token server, a board."""

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from starlette.datastructures import QueryParams
from tests.ports import find_address, find_port

from eloquent import telemetry
from eloquent.watch.board.selection import Selection
from eloquent.watch.facts import BrowserAccess, RunFacts

MODULE = Path(__file__).parents[2] / "clients" / "js" / "eloquent.js"
PATIENCE = 60.0  # seconds; only a test that fails waits so long
STEP = Selection.parse(
    QueryParams("dashboard=eloquent-stalls&span=15m"), ()
).step  # seconds, the longest asked for here
LINK = "name=made-up rtt=100ms loss=markov(stay_good=0.9,stay_bad=0.5,loss_in_bad=0.9,slot=100ms)"


@contextmanager
def running(*words: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process, whose output goes to a file."""
    with log.open("wb") as output:
        process = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait(holds: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def ask(url: str) -> dict:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)
    except OSError as error:
        if getattr(error, "code", 503) != 503:
            raise
        return {}  # not yet


@pytest.fixture(scope="session")
def metrics_page() -> str:
    """A page of metrics on which values move: two clients and two schemes, stalls of half of the time by TCP."""
    registry = CollectorRegistry()
    metrics, carrier = telemetry.ViewerMetrics(registry), telemetry.CarrierMetrics(registry)
    begun = time.monotonic()

    class Moving:
        counts = (0,) * (len(telemetry.GAP_BUCKETS) + 1)
        stream_s = property(lambda _: time.monotonic() - begun)
        tokens = property(lambda _: 10.0 * (time.monotonic() - begun))

    for client in ("c1", "c2"):
        carrier.loss_probability.labels(client, "down").set(0.9 if client == "c2" else 0.0)
        for scheme, share in (("grpc", 0.5), ("eloquent", 0.05)):
            labels = (client, scheme)
            metrics.stall_length.labels(*labels).observe(0.35)
            metrics.stall_seconds.labels(*labels)._value.get = lambda share=share: share * (time.monotonic() - begun)
            metrics.rendered.tallies[labels] = Moving()
    return f"127.0.0.1:{telemetry.serve('127.0.0.1:0', registry)}"


@pytest.fixture(scope="session")
def prometheus(metrics_page: str, tmp_path_factory: pytest.TempPathFactory, needs_promtool: None) -> Iterator[str]:
    """The URL of a real Prometheus, of which the last instant of a chart, up to a step ago, has values."""
    assert shutil.which("prometheus"), "Debian's prometheus package has both, promtool and this"
    folder, port = tmp_path_factory.mktemp("prometheus"), find_port()
    labels = {"scenario": "made-up", "role": "viewer", "host": "here"}
    configuration = {
        "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
        "scrape_configs": [{"job_name": "eloquent", "static_configs": [{"targets": [metrics_page], "labels": labels}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(configuration))  # JSON is YAML
    log, url = folder / "log", f"http://127.0.0.1:{port}"
    words = (f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}")
    with running("prometheus", *words, f"--web.listen-address=127.0.0.1:{port}", log=log):
        query = f"{url}/api/v1/query?query=count_over_time(eloquent_stream_seconds_total[1m]%20offset%20{STEP * 1000:.0f}ms)>5"
        wait(lambda: bool(ask(query).get("data", {}).get("result")), log)
        yield url


@pytest.fixture(scope="session")
def token_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Addresses of a token server, for gRPC and HTTP."""
    log = tmp_path_factory.mktemp("token_server") / "log"
    addresses = (find_address(), find_address())
    words = ("--listen", addresses[0], "--http", addresses[1], "--grace", "1")
    with running(sys.executable, "-m", "eloquent.nodes.token_server", *words, log=log):
        wait(lambda: b"ready\n" in log.read_bytes(), log)
        yield addresses


@pytest.fixture
def browser_access(tmp_path: Path) -> Callable[[str], BrowserAccess]:
    """Tell how a browser takes the place of a client, where HTTP enters its link at an address, such as a token server's own."""
    certificate_hash = tmp_path / "certificate-hash"
    certificate_hash.write_text(f"{'ab' * 32}\n")
    known = {"port": 8080, "certificate_hash": certificate_hash, "module": MODULE}
    return lambda requests: BrowserAccess(client="c1", requests=requests, scheme="sse-cubic", **known)


@pytest.fixture
def facts(tmp_path: Path, browser_access: Callable[[str], BrowserAccess]) -> RunFacts:
    """A run of two clients on this machine's own loopback, with nobody to ask."""
    return RunFacts(
        folder=tmp_path,
        scenario="made-up",
        link=LINK,
        seed=1,
        carrier="wire",
        datapath="user",
        schemes=("grpc", "sse", "eloquent"),
        token_gap_s=0.02,
        clients={"c1": (), "c2": ()},
        server="127.0.0.1:1",
        http="127.0.0.1:1",
        quic="127.0.0.1:1",
        edge="127.0.0.1:1",
        edge_http="127.0.0.1:1",
        edge_quic="127.0.0.1:1",
        model=None,
        browser=browser_access("127.0.0.1:1"),
        control=tmp_path / "control",
        schedule=tmp_path / "schedule.json",
        urls={"Prometheus": "http://127.0.0.1:9090"},
    )


@pytest.fixture
def start_board(tmp_path: Path):
    """Start a board as a process of its own; gives its URL and the process."""

    @contextmanager
    def start(facts: Path, prometheus: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
        log, address = tmp_path / "board.log", find_address()
        words = ("--listen", address, "--prometheus", prometheus, "--facts", str(facts))
        with running(sys.executable, "-m", "eloquent.watch.board", *words, log=log) as process:
            wait(lambda: b"ready\n" in log.read_bytes(), log)
            yield f"http://{address}", process

    return start


@pytest.fixture
def wait_until(tmp_path: Path) -> Callable[[Callable[[], bool]], None]:
    """Wait for what other processes do, with a bound that only a fault reaches."""

    def until(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    return until
