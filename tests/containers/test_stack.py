"""The testbed in containers, from its images to its end; the tests follow each other, as a user's day does.

Only runs that call themselves valid are compared, and those that do not are made again, three times at most.

Odds: sessions start at the same offsets and meet the same link states in both runs that are compared, so that their stall ratios
differ by what a few milliseconds decide at the edges of states. Of nine ratios of pairs of runs with 4 sessions one was 0.13 apart
and all others less than 0.12; those with 12 sessions were 0.02 apart. With 0.06 as the spread for 4 sessions, 12 have 0.035, and
0.2 is more than five times that: less than one in a million.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

REPOSITORY = Path(__file__).parents[2]
SIZE_BOUND = 800e6  # bytes
CLIENTS = {f"c{number}" for number in range(1, 7)}
SMALL = (f"CLIENTS={len(CLIENTS)}", "SESSION=10", "ROUNDS=2", "SEED=3")
SAME_WITHIN = 0.2
ATTEMPTS = 3  # of a run that is to be valid
PROMETHEUS_TIMEOUT = 120.0  # seconds until Prometheus has seen every page of a busy machine
# The bits of Linux's capabilities (linux/capability.h).
BITS = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "NET_ADMIN": 12,
    "NET_RAW": 13,
    "IPC_LOCK": 14,
    "SYS_CHROOT": 18,
    "SYS_ADMIN": 21,
    "SYS_NICE": 23,
}


def documented_capabilities() -> set[str]:
    text = (REPOSITORY / "docs" / "containers.md").read_text()
    return set(re.findall(r"^\| `([A-Z_]+)` \|", text, re.MULTILINE))


def interfaces() -> set[str]:
    return {link["ifname"] for link in json.loads(subprocess.check_output(["ip", "-json", "link"]))}


def mounts() -> set[str]:
    return {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}


def processes_about(text: str) -> list[str]:
    """Give the command lines that name `text`, of any process but this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line and int(path.parent.name) != os.getpid():
            found.append(line)
    return found


@pytest.fixture(scope="module")
def before():
    return interfaces(), mounts()


def test_make_testbed_builds_small_images_that_hold_nothing_of_the_build(before, stack):
    said = stack.make("testbed")
    assert "runtime: docker (Docker engine " in said
    size = int(stack.docker("image", "inspect", "--format", "{{.Size}}", "eloquent-testbed"))
    assert size < SIZE_BOUND
    files = ("/etc/pip.conf", "/etc/apt/apt.conf.d/99build", "/etc/apt/sources.list.d/build.list", "/run/secrets/*")
    tools = ("pip", "mypy", "ruff", "hypothesis", "grpc_tools")
    look = (
        f"cat {' '.join(files)} 2>/dev/null;"
        f' for tool in {" ".join(tools)}; do python -c "import $tool" 2>/dev/null && echo $tool; done; true'
    )
    for image in ("eloquent-testbed", "eloquent-controller"):
        words = ("run", "--rm", "--network", "none", "--entrypoint", "/bin/sh", image, "-c")
        assert stack.docker(*words, look) == "", image
        assert stack.docker(*words, "python -c 'print(1)'") == "1"


def test_a_testbed_that_is_killed_in_mid_run_leaves_nothing(stack):
    words = stack.command("up", "CLIENTS=2", "SESSION=60", "SCHEMES=eloquent")
    with subprocess.Popen(
        words, cwd=REPOSITORY, env=stack.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as up:
        assert up.stdout is not None
        said = ""
        while "streaming" not in said:
            line = up.stdout.readline()
            assert line, said
            said += line
        assert processes_about(str(stack.runs))
        stack.docker("kill", stack.container("testbed"))
        said += up.stdout.read()
        assert up.wait(timeout=120) != 0, said
    assert stack.own_things()["containers"] == []
    assert processes_about(str(stack.runs)) == []


def test_it_comes_up_again_and_streams(stack):
    """How well this machine does is asked only where two runs are compared."""
    said = stack.make("up", *SMALL, "ALLOW_INVALID=1")
    summary = stack.summary()
    assert {name: figures["failed"] for name, figures in summary["schemes"].items()} == {
        "grpc": 0,
        "duplicate-2": 0,
        "eloquent": 0,
        "eloquent-packed": 0,
    }
    assert summary["schemes"]["eloquent"]["stall_ratio"] < summary["schemes"]["grpc"]["stall_ratio"]
    assert f"run directory: {stack.runs}/" in said
    assert f"http://127.0.0.1:{stack.ports['PROMETHEUS_PORT']}" in said


def test_the_results_are_the_callers(stack):
    """Those of the testbed that was killed, too."""
    found = [stack.runs, *stack.runs.rglob("*")]
    assert len([path for path in stack.runs.iterdir() if not path.is_symlink()]) == 2
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in found} == {stack.owner}


def test_a_second_testbed_is_refused_and_the_first_goes_on(stack):
    started = stack.inspect("testbed")["State"]["StartedAt"]
    words = stack.command("up", *SMALL)
    done = subprocess.run(words, cwd=REPOSITORY, env=stack.environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "a testbed is up already" in done.stdout + done.stderr
    assert stack.inspect("testbed")["State"]["StartedAt"] == started
    assert '"stage": "up"' in stack.make("status")


def test_processes_have_the_documented_capabilities_and_no_other(stack):
    expected = sum(1 << BITS[name] for name in documented_capabilities())
    look = "for process in /proc/[0-9]*; do grep -h ^CapEff $process/status; done; true"
    found = stack.docker("exec", stack.container("testbed"), "sh", "-c", look).split("\n")
    assert len(found) > 20
    assert {int(line.split()[1], 16) for line in found} == {expected}
    for service in ("controller", "prometheus"):
        look = "grep -h ^CapEff /proc/1/status; grep -h ^Uid /proc/1/task/*/children /proc/1/status"
        status = stack.docker("exec", stack.container(service), "sh", "-c", look + "; true")
        assert re.search(r"CapEff:\s+0+$", status, re.MULTILINE), service


def test_no_container_has_more_than_it_needs(stack):
    for service in ("testbed", "controller", "prometheus"):
        found = stack.inspect(service)
        host = found["HostConfig"]
        assert not host["Privileged"]
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert "no-new-privileges:true" in host["SecurityOpt"]
        assert host["Memory"] > 0
        assert host["PidsLimit"] > 0
        assert host["NetworkMode"] != "host"
        assert host["PidMode"] == ""
        assert not any("docker.sock" in mount["Source"] for mount in found["Mounts"])
        published = [port for ports in host["PortBindings"].values() for port in ports]
        assert all(port["HostIp"] == "127.0.0.1" for port in published)
    assert stack.inspect("controller")["State"]["Health"]["Status"] == "healthy"
    assert stack.inspect("controller")["Config"]["User"] == "65534:65534"


def test_prometheus_is_read_from_the_host(stack):
    def labels(query: str, name: str) -> set[str]:
        return {one["metric"][name] for one in stack.query(query)}

    def missing() -> dict[str, object]:
        """What is not there yet; each page is looked at in its own time."""
        up = {(one["metric"]["role"], one["metric"]["host"]): one["value"][1] for one in stack.query("up")}
        wanted = {("controller", "lab"), ("carrier", "lab"), ("origin_relay", "origin")}
        return {
            "pages": {page for page in wanted | set(up) if up.get(page) != "1"},
            "clients": CLIENTS ^ labels('sum by (client) (eloquent_stream_seconds_total{role="viewer"})', "client"),
            "switches": {"s1", "s2"} ^ labels("eloquent_switch_port_packets_total", "switch"),
            "schemes": {"grpc", "duplicate-2", "eloquent", "eloquent-packed"}
            ^ labels("sum by (scheme) (eloquent_stream_seconds_total)", "scheme"),
        }

    deadline = time.monotonic() + PROMETHEUS_TIMEOUT
    while any((found := missing()).values()) and time.monotonic() < deadline:
        time.sleep(1)
    assert not any(found.values()), found


def test_a_short_load(stack):
    stack.make("load", "USERS=4", "DURATION=8", "ALLOW_INVALID=1")  # how well it does is not asked here
    (folder,) = stack.runs.glob("latest/load-1")
    summary = json.loads((folder / "summary.json").read_text())
    assert sum(figures["sessions"] for figures in summary["schemes"].values()) > 0
    assert {figures["failed"] for figures in summary["schemes"].values()} == {0}


def valid_run(run: Callable[[], Path]) -> Path:
    """Run until a run calls itself valid, a few times at most; give its directory.

    A machine that does not keep up makes stalls of its own, which tell nothing of containers.
    """
    flaws = []
    for _ in range(ATTEMPTS):
        path = run()
        flaws.append(json.loads((path / "manifest.json").read_text())["flaws"])
        if not flaws[-1]:
            return path
    pytest.fail(f"this machine gave no valid run in {ATTEMPTS}: {flaws}")


@pytest.mark.timeout(1800)
def test_a_run_is_as_it_is_natively(stack, tmp_path):
    free = ("--prometheus-port", "0", "--board-port", "0", "--locust-port", "0")
    words = ("--clients", str(len(CLIENTS)), "--session", "10", "--rounds", "2", "--seed", "3", "--no-background")
    eloquent = [sys.executable, "-m", "eloquent.cli"]
    environment = {**os.environ, "ELOQUENT_STATE": str(tmp_path / "state")}

    def contained() -> Path:
        stack.make("down")
        stack.make("up", *SMALL, "ALLOW_INVALID=1")
        return (stack.runs / "latest").resolve()

    def native() -> Path:
        up = [*eloquent, "up", "--runs", str(tmp_path / "runs"), *free, *words, "--allow-invalid"]
        done = subprocess.run(up, env=environment, capture_output=True, text=True, check=False, timeout=300)
        subprocess.run([*eloquent, "down"], env=environment, check=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return (tmp_path / "runs" / "latest").resolve()

    first = iter([(stack.runs / "latest").resolve()])  # the run of the tests before
    one = valid_run(lambda: next(first, None) or contained())
    stack.make("down")  # two labs at once would be in each other's way
    other = valid_run(native)
    ours, theirs = (json.loads((path / "summary.json").read_text()) for path in (one, other))
    assert set(ours["schemes"]) == set(theirs["schemes"])
    for name, figures in ours["schemes"].items():
        natively = theirs["schemes"][name]
        assert figures["sessions"] == natively["sessions"] == 12
        assert figures["tokens"] == natively["tokens"]
        assert figures["stall_ratio_210"] == pytest.approx(natively["stall_ratio_210"], abs=SAME_WITHIN), name
    assert ours["loss_rate"] == pytest.approx(theirs["loss_rate"], abs=0.05)
    for link, its_like in zip(links_of(one), links_of(other), strict=True):
        for direction in ("down", "up"):  # the last stretch ends with the run
            stretches = [found["schedule"][direction]["stretches"][:-1] for found in (link, its_like)]
            assert all(a == b for a, b in zip(*stretches, strict=False))


def links_of(run: Path) -> list[dict[str, Any]]:
    """Give what a run's manifest says of each link."""
    found: list[dict[str, Any]] = json.loads((run / "manifest.json").read_text())["links"]
    return found


def test_words_that_need_no_testbed_run_without_one(stack):
    (stack.runs / "latest" / "report.html").unlink()
    stack.make("report", f"RUN={stack.runs}/latest")
    report = (stack.runs / "latest" / "report.html").stat()
    assert (report.st_uid, report.st_gid) == stack.owner
    assert re.search(r"│ tap +│ the wire carrier +│ yes", stack.make("check-host"))


def test_down_leaves_nothing(before, stack):
    stack.make("down", "VOLUMES=1")
    assert "no testbed was up" in stack.make("down")
    assert stack.own_things() == {"containers": [], "networks": [], "volumes": []}
    assert processes_about(str(stack.runs)) == []
    assert (interfaces(), mounts()) == before
    words = stack.command("status")
    done = subprocess.run(words, cwd=REPOSITORY, env=stack.environment, capture_output=True, text=True, check=False)
    assert "no testbed is up" in done.stdout
    assert done.returncode != 0
