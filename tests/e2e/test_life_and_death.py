"""What the testbed refuses, survives and leaves behind."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.lab

REPOSITORY = Path(__file__).parents[2]
SMALL = ("--clients", "2", "--schemes", "grpc,eloquent", "--session", "3")


@pytest.fixture
def planted():
    """A bridge, a network namespace and a log file of somebody else, which have to survive."""
    bridge, namespace = f"br-{os.getpid()}", f"planted-{os.getpid()}"
    log = Path(f"/tmp/mininet-{os.getpid()}.log")
    log.write_text("somebody else's")
    try:
        subprocess.run(["ip", "link", "add", bridge, "type", "bridge"], check=True)
        subprocess.run(["ip", "netns", "add", namespace], check=True)
        yield
        assert log.read_text() == "somebody else's"
    finally:
        log.unlink()
        # A deletion that fails says that it did not survive.
        subprocess.run(["ip", "link", "del", bridge], check=True)
        subprocess.run(["ip", "netns", "del", namespace], check=True)


def names(folder: str) -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


def machine() -> tuple[set[str], str, set[str], str]:
    """What a lab could leave behind outside its own folders: interfaces, mounts, things in /run, namespaces."""
    namespaces = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    return names("/sys/class/net"), Path("/proc/self/mounts").read_text(), names("/run"), namespaces


def test_down_leaves_nothing(testbed, planted):
    before = machine()
    testbed.up(*SMALL)
    assert machine() == before  # not even while it is up
    inside = testbed.lab_pids()
    assert len(inside) > 10

    second = testbed.call(*testbed.up_words(*SMALL))
    assert second.returncode == 1
    assert "a testbed is up already" in second.stderr

    assert testbed.call("down").stdout == "the testbed is down\n"
    assert not any(Path(f"/proc/{pid}").exists() for pid in inside)
    assert testbed.call("down").stdout == "no testbed was up\n"
    assert testbed.call("status").returncode == 3
    assert machine() == before


@pytest.mark.parametrize("victim", ["supervisor", "unshare"])
def test_a_killed_lab_takes_all_of_itself_along(testbed, planted, wait_until, victim):
    before = machine()
    testbed.up(*SMALL)
    inside = testbed.lab_pids()
    os.kill(testbed.supervisor() if victim == "supervisor" else testbed.outermost(), signal.SIGKILL)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in inside))
    assert machine() == before
    assert testbed.call("down").stdout == "no testbed was up\n"
    assert names(str(testbed.folder / "state")) == {"lock"}


def test_the_words_of_the_makefile(testbed, wait_until):
    """`make up` with its variables, background load and a page to look at, `make status`, `make down`.

    At 15 % loss a packet is lost seven times in a row, as a session's deadline would take, less than once in a million.
    """
    variables = {
        **testbed.environment,
        "ALLOW_INVALID": "1",
        "CLIENTS": "2",
        "SCHEMES": "retransmit,eloquent",
        "SESSION": "4",
        "ROUNDS": "2",
        "SEED": "3",
        "SCENARIO": "paper-default-rtt100",
        "PROMETHEUS_PORT": "0",
        "RUNS": str(testbed.folder / "runs"),
    }

    def make(word: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "--no-print-directory", word],
            cwd=REPOSITORY,
            env=variables,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    up = make("up")
    testbed.output = up.stdout
    assert up.returncode == 0, f"{up.stdout}\n{up.stderr}\n{testbed.logs()}"
    manifest = testbed.manifest()
    assert (manifest["seed"], manifest["scenario"]["name"]) == (3, "paper-default-rtt100")
    assert manifest["start_offsets_s"] == {"c1": 0.0, "c2": pytest.approx(0.05)}
    assert {name: one["sessions"] for name, one in testbed.summary()["schemes"].items()} == {
        "retransmit": 4,
        "eloquent": 4,
    }
    assert '"background": true' in (testbed.run / "manifest.json").read_text()
    # The background load begins 20 s after the rounds, of which nothing is active any more.
    wait_until(lambda: bool(testbed.prometheus('eloquent_active_streams{client="c1",scheme="eloquent"} > 0')))
    assert '"stage": "up"' in make("status").stdout
    assert make("down").stdout == "the testbed is down\n"


def test_streams_survive_the_deaths_of_the_controller_and_of_prometheus(testbed, wait_until):
    def kill(_: int) -> None:
        testbed.kill_one("topologies/controller.py")
        testbed.kill_one("--storage.tsdb.path")

    assert testbed.up_until(SMALL, "streaming", kill) == 0, testbed.output
    schemes = testbed.summary()["schemes"]
    assert {scheme: figures["failed"] for scheme, figures in schemes.items()} == {"grpc": 0, "eloquent": 0}
    for name in ("the controller", "prometheus"):
        assert any(f"{name} ended" in warning for warning in testbed.manifest()["warnings"]), name
    wait_until(lambda: bool(testbed.prometheus("eloquent_switch_port_packets_total > 0")))


def test_an_interrupted_start_leaves_nothing(testbed, wait_until):
    inside: set[int] = set()

    def interrupt(pid: int) -> None:
        inside.update(testbed.lab_pids())
        os.kill(pid, signal.SIGINT)

    assert testbed.up_until(SMALL, "testing each link", interrupt) != 0
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in inside))
    assert testbed.call("down").stdout == "no testbed was up\n"


def test_a_port_in_use_is_refused(testbed):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = testbed.call("up", "--prometheus-port", str(port), "--runs", str(testbed.folder / "runs"))
    assert refused.returncode == 1
    assert f"port {port} of 127.0.0.1 cannot be used" in refused.stderr
    assert not (testbed.folder / "runs").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--clients", "0"), "CLIENTS=0 is not possible"),
        (("--schemes", "carrier-pigeon"), "'carrier-pigeon' is not a scheme"),
        (("--schemes", ""), "SCHEMES is empty"),
        (("--scenario", "paper-defualt"), "'paper-defualt' is not a scenario"),
        (("--carrier", "string"), "CARRIER=string is not possible"),
        (("--rounds", "0"), "ROUNDS=0 is not possible"),
    ],
)
def test_bad_options_get_one_sentence(testbed, words, sentence):
    refused = testbed.call("up", *words, "--runs", str(testbed.folder / "runs"))
    assert refused.returncode == 1
    assert sentence in refused.stderr
    assert len(refused.stderr.strip().split("\n")) == 1
    assert not (testbed.folder / "runs").exists()


def test_a_lab_that_loses_its_carrier_says_so(testbed):
    status = testbed.up_until(SMALL, "streaming", lambda _: testbed.kill_one("eloquent.emulation.carriers.wire"))
    assert status == 1
    assert "the wire carrier ended with exit status -9 during the rounds" in testbed.output
    assert testbed.call("down").stdout == "no testbed was up\n"


def test_only_root_may(testbed):
    words = ["setpriv", "--reuid=65534", "--clear-groups", *testbed.command("up")]
    refused = subprocess.run(words, env=testbed.environment, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "you are not root; run it with sudo" in refused.stderr
