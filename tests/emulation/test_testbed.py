"""The lock that says whether a testbed is up, and what options are refused."""

import fcntl
import subprocess
import sys

import pytest

from eloquent.emulation import testbed as front
from eloquent.emulation.options import parse_options
from eloquent.errors import ConfigurationError, EmulationError

HOLDER = "import fcntl, sys; lock = open(sys.argv[1], 'ab'); fcntl.flock(lock, fcntl.LOCK_EX); print('held', flush=True); input()"


@pytest.fixture
def held(tmp_path):
    """A lock that another process holds, as a lab does."""
    words = [sys.executable, "-c", HOLDER, str(tmp_path / "lock")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield holder
        holder.kill()


def test_without_a_lock_nothing_is_up(tmp_path):
    testbed = front.Testbed(tmp_path)
    assert not testbed.is_up()
    assert testbed.status() is None
    assert testbed.down() is False


@pytest.mark.processes
def test_a_held_lock_means_up_until_its_holder_dies(tmp_path, held):
    testbed = front.Testbed(tmp_path)
    assert testbed.is_up()
    held.kill()
    held.wait()
    assert not testbed.is_up()


def test_who_only_looks_is_not_taken_for_a_lab(tmp_path):
    (tmp_path / "lock").touch()
    with (tmp_path / "lock").open("rb") as looker:
        fcntl.flock(looker, fcntl.LOCK_SH)
        assert not front.Testbed(tmp_path).is_up()


@pytest.mark.processes
def test_a_lab_that_does_not_answer_is_told(tmp_path, held):
    with pytest.raises(EmulationError, match="the lab does not answer"):
        front.Testbed(tmp_path).status()


def test_a_command_needs_a_testbed_and_one_of_its_hosts(tmp_path, monkeypatch):
    testbed = front.Testbed(tmp_path)
    with pytest.raises(ConfigurationError, match="no testbed is up"):
        testbed.command_in("c1", "true")
    monkeypatch.setattr(testbed, "status", lambda: {"stage": "starting"})
    with pytest.raises(ConfigurationError, match="still being built"):
        testbed.command_in("c1", "true")
    monkeypatch.setattr(testbed, "status", lambda: {"hosts": {"c1": 7, "server": 8}})
    with pytest.raises(ConfigurationError, match="no host 'c2': it has c1, server"):
        testbed.command_in("c2", "true")


@pytest.mark.processes
def test_a_lab_that_is_being_started_is_not_called_down(tmp_path, held, monkeypatch):
    monkeypatch.setattr("eloquent.emulation.testbed.STOP_TIMEOUT", 0.1)
    with pytest.raises(EmulationError, match="just being started"):
        front.Testbed(tmp_path).down()


@pytest.mark.processes
def test_a_stale_process_number_hurts_nobody(tmp_path, held, monkeypatch):
    """The number in the file belongs to another process by now, told by its start time."""
    monkeypatch.setattr("eloquent.emulation.testbed.STOP_TIMEOUT", 0.1)
    with subprocess.Popen(["sleep", "60"]) as bystander:
        (tmp_path / "pid").write_text(f"{bystander.pid} 1\n")
        with pytest.raises(EmulationError):
            front.Testbed(tmp_path).down()
        assert bystander.poll() is None
        bystander.kill()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"clients": 501}, "CLIENTS=501 is not possible"),
        ({"session_s": 0.5}, "SESSION=0.5 is not possible"),
        ({"token_rate": 0}, "TOKEN_RATE=0 is not possible"),
        ({"schemes": ("eloquent", "eloquent")}, "SCHEMES names eloquent twice"),
        ({"schemes": ("bound",)}, "it is for the simulator"),
        ({"scenario": "[nonsense]"}, "'\\[nonsense\\]' is not a scenario"),
        ({"controller": "controller"}, "'controller' is not an address: write HOST:PORT"),
        ({"prometheus": "::1:9090"}, "'::1:9090' is not an address: write HOST:PORT"),
        ({"prometheus": "prometheus:0"}, "its port is not from 1 to 65535"),
    ],
)
def test_bad_options_are_named(values, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        parse_options(**values)
