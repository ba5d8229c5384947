"""The guest kernel's promises: a faithful exit status, an unharmed machine, nothing left behind, an end in any case."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
BOOT = REPOSITORY / "docker" / "guest-kernel" / "boot"

pytestmark = [
    pytest.mark.namespaces,
    pytest.mark.usefixtures("needs_guest_kernel"),
]


def boot(script: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [BOOT, *options, "--", "sh", "-c", script]
    return subprocess.run(
        command, cwd=REPOSITORY, env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False
    )


def processes_of_guests(folder: Path) -> list[str]:
    """List the command lines that name the state folder of a guest made below `folder`."""
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return [line.decode() for line in lines if bytes(folder) in line]


def test_command_runs_in_place_and_its_status_is_ours() -> None:
    result = boot("uname -r; pwd; echo $GREETING; cat; echo to standard error >&2; exit 7", GREETING="a b'c")
    assert result.returncode == 7
    kernel, *lines = result.stdout.splitlines()
    assert kernel != os.uname().release
    assert lines == [str(REPOSITORY), "a b'c", "to standard error"]


def test_long_output_comes_whole() -> None:
    assert boot("seq 50000").stdout.split() == [str(number) for number in range(1, 50001)]


def test_each_process_keeps_its_registers() -> None:
    """On any processor: of one with AMX the guest does not know all registers."""
    count = 'python3 -c "print(sum(1 / number for number in range(1, 300_000)))"'
    lines = boot(f"{count} & {count} & {count} & wait").stdout.splitlines()
    assert lines == [str(sum(1 / number for number in range(1, 300_000)))] * 3


def test_changes_stay_in_the_guest_unless_they_are_to_be_kept(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    precious = tmp_path / "precious"
    precious.write_text("as it was")
    result = boot(
        f"echo new > {kept}/file; echo new > {precious}; echo new > /etc/issue && cat {precious}", "--keep", kept
    )
    assert (result.returncode, result.stdout) == (0, "new\n")
    assert (kept / "file").read_text() == "new\n"
    assert precious.read_text() == "as it was"
    assert Path("/etc/issue").read_text() != "new\n"


def test_kernel_has_what_the_lab_needs() -> None:
    result = boot(
        """set -e
        ip link add name left type veth peer name right
        ip link add name middle type bridge
        ip link set right master middle
        tc qdisc add dev right root netem delay 50ms limit 100
        tc qdisc change dev right root netem delay 50ms loss 90% limit 100
        ip tuntap add mode tap name taken
        unshare --net --mount --pid --fork --kill-child --mount-proc true
        modprobe openvswitch
        """
    )
    assert (result.returncode, result.stdout) == (0, "")


def test_a_temporary_folder_that_the_kernel_would_misread_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "with a space"
    folder.mkdir()
    result = boot("true", TMPDIR=str(folder))
    assert result.returncode == 2
    assert f"the kernel's command line cannot hold the spaces of '{folder}': set TMPDIR" in result.stderr
    assert list(folder.iterdir()) == []


def test_a_repository_that_the_kernel_would_misread_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "with a space"
    shutil.copytree(BOOT.parent, folder)
    result = subprocess.run([folder / "boot", "true"], capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 2
    assert f"cannot hold the spaces of '{folder}/init'" in result.stderr


def test_guest_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    started = time.monotonic()
    result = boot("echo begun; (while :; do :; done) & sleep 1000", "--time-limit", "8", TMPDIR=str(tmp_path))
    assert time.monotonic() - started < 30
    assert (result.returncode, result.stdout) == (124, "begun\n")
    assert result.stderr == "boot: the guest was ended after 8 s\n"
    assert list(tmp_path.iterdir()) == []
    assert processes_of_guests(tmp_path) == []


def test_guest_that_dies_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    result = boot("echo c > /proc/sysrq-trigger", TMPDIR=str(tmp_path))
    assert result.returncode == 125
    assert re.match(r"boot: the guest ended without a result; its last words:\n", result.stderr)
    assert "Kernel panic" in result.stderr
    assert list(tmp_path.iterdir()) == []
    assert processes_of_guests(tmp_path) == []


def test_guest_ends_with_its_caller(tmp_path: Path) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    command = [BOOT, "--", "sh", "-c", "echo begun; sleep 1000"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline() == "begun\n"
        assert processes_of_guests(tmp_path)
        caller.kill()
    deadline = time.monotonic() + 30
    while processes_of_guests(tmp_path):
        assert time.monotonic() < deadline, "the guest outlived its caller"
        time.sleep(0.05)
