"""Testbeds for end-to-end tests: the real command line, in a state folder and with a port of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from eloquent.watch.panels import Dashboard

# A shell ignores SIGINT for what it starts in the background, and so would every process below; the tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)

FREE_PORTS = ("--prometheus-port", "0", "--board-port", "0", "--locust-port", "0")
EXPERIMENT_TIMEOUT = 240  # seconds; an 8-client lab takes about 60


@dataclass
class TestbedUnderTest:
    """One testbed, driven by its command line as a user would."""

    __test__ = False
    folder: Path
    output: str = ""
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.environment = {**os.environ, "ELOQUENT_STATE": str(self.folder / "state"), "COLUMNS": "200"}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "eloquent.cli", *words]

    def call(self, *words: str, before: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*before, *self.command(*words)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=EXPERIMENT_TIMEOUT,
            check=False,
        )

    def up_words(self, *words: str) -> list[str]:
        """How well this machine does is not asked here, unless a test asks for it."""
        ours = ("--runs", str(self.folder / "runs"), *FREE_PORTS, "--no-background", "--allow-invalid")
        return ["up", *ours, *words]

    def up(self, *words: str, before: Sequence[str] = ()) -> None:
        finished = self.call(*self.up_words(*words), before=before)
        self.output = finished.stdout
        assert finished.returncode == 0, f"{finished.stdout}\n{finished.stderr}\n{self.logs()}"

    def up_until(
        self, words: tuple[str, ...], said: str, act: Callable[[int], None], *, may_be_invalid: bool = True
    ) -> int:
        """Bring it up; once it has said something, act with its process number; give its exit status."""
        up_words = [word for word in self.up_words(*words) if may_be_invalid or word != "--allow-invalid"]
        with subprocess.Popen(
            self.command(*up_words),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as command:
            assert command.stdout is not None
            while said not in self.output:
                line = command.stdout.readline()
                assert line, self.output
                self.output += line
            act(command.pid)
            self.output += command.stdout.read()
            return command.wait()

    def kill_one(self, words: str) -> None:
        """Kill the lab's process whose command line has these words."""
        found = [pid for pid in self.lab_pids() if words in process_name(pid) or words.encode() in command_line(pid)]
        assert found, f"no process of the lab runs {words}"
        os.kill(found[0], signal.SIGKILL)

    @property
    def run(self) -> Path:
        return (self.folder / "runs" / "latest").resolve()

    def manifest(self) -> dict[str, Any]:
        return json.loads((self.run / "manifest.json").read_text())

    def summary(self) -> dict[str, Any]:
        return json.loads((self.run / "summary.json").read_text())

    def logs(self) -> str:
        paths = sorted((self.folder / "runs").glob("*/logs/*.log"))
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-1500:]}" for path in paths)

    def prometheus(self, query: str, *, at: float | None = None) -> list[dict[str, Any]]:
        """Ask a query for now, or for an instant in seconds of the epoch."""
        words = {"query": query} if at is None else {"query": query, "time": str(at)}
        result: list[dict[str, Any]] = self.ask_prometheus("query", **words)["result"]
        return result

    def url(self, name: str) -> str:
        """Find where one reaches what the testbed serves, in what `up` printed."""
        found = re.search(rf"{name}: +(http://127.0.0.1:\d+)", self.output)
        assert found, self.output
        return found[1]

    def ask_prometheus(self, what: str, **words: str) -> dict[str, Any]:
        url = f"{self.url('Prometheus')}/api/v1/{what}?{urllib.parse.urlencode(words)}"
        with urllib.request.urlopen(url, timeout=20) as answer:
            body = json.load(answer)
        assert body["status"] == "success"
        data: dict[str, Any] = body["data"]
        return data

    def outermost(self) -> int:
        return int((self.folder / "state" / "pid").read_text().split()[0])

    def supervisor(self) -> int:
        inside = children(self.outermost())
        assert len(inside) == 1, "unshare has one child, the supervisor"
        return inside[0]

    def command_line(self, pid: int) -> bytes:
        return command_line(pid)

    def lab_pids(self) -> set[int]:
        """Find the processes of the lab by the PID namespace that its first process made."""
        namespace = pid_namespace(self.supervisor())
        assert namespace is not None
        return {pid for pid in pids() if pid_namespace(pid) == namespace}


def pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def pid_namespace(pid: int) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:  # it ended meanwhile
        return None


def process_name(pid: int) -> str:
    """Give the name by which one finds a node, whose command line is that of the nursery."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:  # it ended meanwhile
        return ""


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it ended meanwhile
        return b""


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """Wait for something that other processes do, with a bound that only a fault reaches."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, "it did not happen within 60 s"
            time.sleep(0.05)

    return wait


@pytest.fixture
def testbed(needs_root: None, tmp_path: Path) -> Iterator[TestbedUnderTest]:
    """A testbed that is not up yet, and is down afterwards."""
    under_test = TestbedUnderTest(tmp_path)
    yield under_test
    under_test.call("down")


def real_time() -> tuple[str, ...]:
    """Return the words that let a lab have the processors first, as docs/measures.md advises; none where that is not allowed."""
    words = ("chrt", "--rr", "1")
    allowed = subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0
    return words if allowed else ()


@pytest.fixture(scope="module")
def experiment(needs_root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestbedUnderTest]:
    """The default experiment, after its round: up, with nothing streaming."""
    under_test = TestbedUnderTest(tmp_path_factory.mktemp("experiment"))
    under_test.up()
    for _ in range(
        2
    ):  # a run that calls itself invalid, as this machine's neighbours starved it, is made again, before them
        if under_test.manifest()["flaws"]:
            under_test.call("down")
            under_test.up(before=real_time())
    yield under_test
    under_test.call("down")


@pytest.fixture(scope="module")
def watched(needs_root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestbedUnderTest]:
    """A testbed of two clients, after a short round: up, with its background load on."""
    under_test = TestbedUnderTest(tmp_path_factory.mktemp("watched"))
    under_test.up("--clients", "2", "--session", "6", "--background")
    yield under_test
    under_test.call("down")


@pytest.fixture(scope="module")
def chatting(needs_root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestbedUnderTest]:
    """A testbed of three clients for load tests, after a short round: up, with its background load on."""
    under_test = TestbedUnderTest(tmp_path_factory.mktemp("chatting"))
    under_test.up("--clients", "3", "--session", "4", "--schemes", "grpc,eloquent", "--background")
    yield under_test
    under_test.call("down")


@pytest.fixture
def check_panels(wait_until: Callable[[Callable[[], bool]], None]) -> Callable[..., None]:
    """Ask a testbed's Prometheus every query of a dashboard: each has data, and every value is a sane one."""

    def check(testbed: TestbedUnderTest, dashboard: Dashboard, *, at: float | None = None) -> None:
        for panel in dashboard.panels:
            for query in panel.queries:
                expr = query.fill(window="2m")  # so that it holds a whole stream and the pause after it
                if at is None:
                    wait_until(lambda expr=expr: bool(testbed.prometheus(expr)))
                values = [float(one["value"][1]) for one in testbed.prometheus(expr, at=at)]
                assert values, f"{panel.title}: {expr} has no data"
                low, high = query.sane
                assert all(low <= value <= high for value in values), f"{panel.title}: {expr} gives {values}"

    return check
