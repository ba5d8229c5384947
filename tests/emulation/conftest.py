"""Network namespaces for tests: each lives as long as the process that was started to hold it."""

import subprocess
from collections.abc import Callable, Iterator

import pytest

from eloquent.emulation.processes import run_command


@pytest.fixture
def namespace(needs_root: None) -> Iterator[Callable[[], int]]:
    """Make a network namespace, with its loopback up, and give the process that holds it."""
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
