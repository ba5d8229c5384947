"""What holds for every test.

Properties meet the same examples each time, slowness is no failure, CI skips nothing, and who starts a process says so by a mark.
"""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from tests.ports import find_port

os.environ.setdefault("ELOQUENT_PURE", "1")  # a compiled core, whose parts cannot be replaced, has a lane of its own
from eloquent.emulation.processes import run_command

settings.register_profile("reproducible", derandomize=True, deadline=None)
settings.load_profile("reproducible")


Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge a test."""
    return _no_skip_in_ci((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Judge a whole file."""
    return _no_skip_in_ci((yield))


def _no_skip_in_ci(report: Report) -> Report:
    """Make a failure of a skip in CI, where every lane must run; what is expected to fail (pytest calls it skipped) stays so."""
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"a skip is a failure in CI: {why}"
    return report


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out, where a mark is asked for, files in which it does not occur: to import all takes ten seconds."""
    mark = config.option.markexpr.split(" and ")[0]
    if not mark.isidentifier() or not collection_path.match("test_*.py"):
        return None
    return True if f"pytest.mark.{mark}" not in collection_path.read_text(encoding="utf-8") else None


# The marks by which a lane takes its tests; what has none belongs to the lane `unit`.
OF_LANES = {"processes", "namespaces", "lab", "browser", "containers", "kernel", "models", "wheel"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test of two lanes; in a file of `processes` it may need a network, too, and belongs to `namespaces`."""
    for item in items:
        lanes = OF_LANES.intersection(mark.name for mark in item.iter_markers())
        if len(lanes) > 1 and lanes != {"processes", "namespaces"}:
            raise pytest.UsageError(f"{item.nodeid} is in two lanes: {', '.join(sorted(lanes))}")


_judged: list[pytest.Item] = []  # the test that runs


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Judge what a test starts."""
    _judged.append(item)
    try:
        return (yield)
    finally:
        _judged.clear()


def _no_process_without_mark(event: str, arguments: tuple[Any, ...]) -> None:
    """Fail a test that starts Python anew and has no mark that says so; but for `forks.py`, which starts once for all nodes."""
    if event != "subprocess.Popen" or not _judged or isinstance(arguments[1], (str, bytes)):
        return
    words = list(map(os.fsdecode, arguments[1]))
    says_so = not OF_LANES.isdisjoint(mark.name for mark in _judged[0].iter_markers())
    if sys.executable in words and not says_so and not any(word.endswith("/forks.py") for word in words):
        pytest.fail(f"who starts a process has the mark `processes`: {' '.join(words)[:200]}")


sys.addaudithook(_no_process_without_mark)


@pytest.fixture(scope="session")
def needs_root() -> None:
    """Network namespaces and devices are root's."""
    if os.geteuid() != 0:
        pytest.skip("this test makes network namespaces: run it as root")


@pytest.fixture(scope="session")
def needs_guest_kernel(needs_root: None) -> None:
    """Root starts it in a PID namespace of its own."""
    if shutil.which("linux.uml") is None:
        pytest.skip("the guest kernel is missing: Debian's user-mode-linux")


@pytest.fixture(scope="session")
def needs_chromium() -> None:
    """A real browser looks at the board."""
    if shutil.which("chromium") is None:
        pytest.skip("the browser is missing: make .build/packages-browser.stamp installs Debian's chromium")


@pytest.fixture(scope="session")
def needs_promtool() -> None:
    """Prometheus's own tool judges rules."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is missing: Debian's prometheus package has it")


@pytest.fixture(scope="session")
def free_port() -> Callable[..., int]:
    """Finds a port that is free for TCP and UDP, or the first of so many in a row."""
    return find_port


@dataclass(frozen=True)
class LimitedGroup:
    """A control group that may be given a share of a processor; of either version of control groups."""

    folder: Path

    @property
    def processes(self) -> Path:
        """The file that lets a process in whose number is written to it."""
        return self.folder / "cgroup.procs"

    def allow(self, share: float | None) -> None:
        """Let its processes have this share of a processor; None for all that there is."""
        period = 100_000  # microseconds
        quota = None if share is None else round(share * period)
        if (self.folder / "cpu.max").exists():
            (self.folder / "cpu.max").write_text(f"{'max' if quota is None else quota} {period}")
        else:
            (self.folder / "cpu.cfs_quota_us").write_text(str(-1 if quota is None else quota))


@pytest.fixture
def limited_group(needs_root: None) -> Iterator[LimitedGroup]:
    """A control group, which has no limit yet, and is gone afterwards."""
    mount = Path("/sys/fs/cgroup")
    root = next((one for one in (mount / "cpu", mount / "cpu,cpuacct") if one.is_dir()), mount)
    group = LimitedGroup(root / f"eloquent-test-{os.getpid()}")
    try:
        group.folder.mkdir()
        try:
            group.allow(None)
        except OSError:
            group.folder.rmdir()
            raise
    except OSError as error:
        pytest.skip(f"this machine's control groups cannot limit processors: {error}")
    yield group
    group.folder.rmdir()


@dataclass(frozen=True)
class DaskCluster:
    """The address of a scheduler, and the process numbers of its workers, by their addresses."""

    address: str
    workers: dict[str, int]


@pytest.fixture
def start_dask(tmp_path: Path) -> Iterator[Callable[..., DaskCluster]]:
    """Start a Dask cluster with so many workers, each a process that has these variables, by Dask's own command."""
    started: list[subprocess.Popen[bytes]] = []
    dask = str(Path(sys.executable).with_name("dask"))

    def launch(*words: str, **variables: str) -> subprocess.Popen[bytes]:
        with (tmp_path / f"dask-{len(started)}.log").open("wb") as log:
            started.append(
                subprocess.Popen([dask, *words], env={**os.environ, **variables}, stdout=log, stderr=subprocess.STDOUT)
            )
        return started[-1]

    def start(workers: int, **variables: str) -> DaskCluster:
        whereabouts = tmp_path / "scheduler.json"
        launch(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(whereabouts)
        )
        words = ("--no-nanny", "--nthreads", "1", "--no-dashboard", "--local-directory", str(tmp_path))
        for _ in range(workers):
            launch("worker", "--scheduler-file", str(whereabouts), *words, **variables)
        address = ""
        deadline = time.monotonic() + 60
        while not address:
            assert time.monotonic() < deadline, (tmp_path / "dask-0.log").read_text()
            with contextlib.suppress(FileNotFoundError, ValueError):  # not there yet, or not whole
                address = json.loads(whereabouts.read_text())["address"]
            time.sleep(0.05)
        from distributed import Client

        with Client(address) as client:
            if workers:
                client.wait_for_workers(workers, timeout=60)
            return DaskCluster(address, client.run(os.getpid))

    yield start
    for process in reversed(started):
        process.kill()
        process.wait()


@pytest.fixture
def namespace(needs_root: None) -> Iterator[Callable[[], int]]:
    """Make a network namespace, with its loopback up, and give the process that holds it: as long as that lives."""
    holders: list[subprocess.Popen[bytes]] = []

    def make() -> int:
        holder = subprocess.Popen(
            [
                "unshare",
                "--net",
                "sh",
                "-c",
                "sysctl -qw net.ipv6.conf.default.disable_ipv6=1; ip link set lo up && echo up && exec sleep infinity",
            ],
            stdout=subprocess.PIPE,
        )
        holders.append(holder)
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"up\n"
        return holder.pid

    yield make
    for holder in holders:
        holder.kill()
        holder.wait()
        assert holder.stdout is not None
        holder.stdout.close()


@pytest.fixture
def run_in() -> Callable[..., str]:
    """Run a command in the network namespace of a process."""

    def run(pid: int, *words: str) -> str:
        return run_command("nsenter", f"--net=/proc/{pid}/ns/net", "--", *words)

    return run


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self):
        super().__init__()
        self._now = 0.0
        wait = self._selector.select
        self._selector.select = lambda timeout=None: self._jump(timeout) or wait(0)

    def _jump(self, timeout):
        if timeout is None:
            raise AssertionError("everything waits, and for no timer")
        self._now += timeout

    def time(self):
        return self._now

    def block(self, seconds):
        """Let time pass in which nothing else of the loop runs."""
        self._now += seconds


@pytest.fixture
def run_virtually():
    """Run a coroutine in virtual time."""

    def run(coroutine):
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(coroutine)

    return run
