"""What the testbed refuses, survives and leaves behind."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.lab

SMALL = ("--clients", "2", "--schemes", "grpc,eloquent", "--session", "6")


@pytest.fixture
def planted(tmp_path: Path):
    """A bridge, a network namespace and a log file of somebody else."""
    log = Path("/tmp") / f"mininet-{os.getpid()}.log"
    log.write_text("somebody else's")
    subprocess.run(["ip", "link", "add", "br-planted", "type", "bridge"], check=True)
    subprocess.run(["ip", "netns", "add", "planted"], check=True)
    yield
    assert log.read_text() == "somebody else's"
    log.unlink()
    subprocess.run(["ip", "link", "del", "br-planted"], check=True)
    subprocess.run(["ip", "netns", "del", "planted"], check=True)


def names(folder: str) -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


def host_interfaces() -> set[str]:
    return names("/sys/class/net")


def mounts() -> str:
    return Path("/proc/self/mounts").read_text()


def test_down_leaves_nothing(testbed, planted, wait_until):
    before = host_interfaces(), mounts(), names("/run")
    testbed.up(*SMALL)
    assert (host_interfaces(), mounts(), names("/run")) == before  # not even while it is up
    inside = testbed.lab_pids()
    assert len(inside) > 10

    second = testbed.call(*testbed.up_words(*SMALL))
    assert second.returncode == 1
    assert "a testbed is up already" in second.stderr

    assert testbed.call("down").stdout == "the testbed is down\n"
    assert not any(Path(f"/proc/{pid}").exists() for pid in inside)
    assert testbed.call("down").stdout == "no testbed was up\n"
    assert testbed.call("status").returncode == 3
    assert (host_interfaces(), mounts(), names("/run")) == before


def test_a_killed_supervisor_takes_all_of_its_lab_along(testbed, planted, wait_until):
    before = host_interfaces()
    testbed.up(*SMALL)
    inside = testbed.lab_pids()
    outermost = int((testbed.folder / "state" / "pid").read_text().split()[0])
    os.kill(outermost, signal.SIGKILL)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in inside))
    assert host_interfaces() == before
    assert testbed.call("down").stdout == "no testbed was up\n"


def test_streams_survive_the_death_of_the_controller(testbed, wait_until):
    with testbed.start(*SMALL) as command:
        assert command.stdout is not None
        said = ""
        while "streaming" not in said:
            line = command.stdout.readline()
            assert line, said
            said += line
        controller = next(pid for pid in testbed.lab_pids() if b"topologies/controller.py" in command_line(pid))
        os.kill(controller, signal.SIGKILL)
        said += command.stdout.read()
        assert command.wait() == 0, said
    testbed.output = said
    assert {scheme: figures["failed"] for scheme, figures in testbed.summary()["schemes"].items()} == {
        "grpc": 0,
        "eloquent": 0,
    }
    assert any("the controller ended" in warning for warning in testbed.manifest()["warnings"])
    wait_until(lambda: bool(testbed.prometheus("eloquent_switch_port_packets_total > 0")))


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_an_interrupted_start_leaves_nothing(testbed, wait_until):
    with testbed.start(*SMALL) as command:
        assert command.stdout is not None
        while "testing each link" not in command.stdout.readline():
            pass
        inside = testbed.lab_pids()
        command.send_signal(signal.SIGINT)
        command.stdout.read()
        assert command.wait() != 0
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


def test_only_root_may(testbed):
    words = ["setpriv", "--reuid=65534", "--clear-groups", *testbed.command("up")]
    refused = subprocess.run(words, env=testbed.environment, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "you are not root; run it with sudo" in refused.stderr
