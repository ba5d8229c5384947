"""Run the test lanes, fast ones first, and print the verdict of each: `make test`, or with names, some of them.

Lanes that look at no clock run beside each other, and beside them, gently, what takes long to prepare for others. The others follow
one by one: what they measure would be the neighbours.

A lane that this machine cannot run is skipped with the reason, and in CI (`CI` is set) that is a failure.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PYTEST = (sys.executable, "-m", "pytest", "-q")
TWO_LABS = ("-n", "2", "--dist", "loadfile")  # beside each other, as each waits for its sessions most of the time
# What starts many processes keeps its byte code: without, each compiles all that it imports, half a second of a processor and more.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@dataclass(frozen=True)
class Lane:
    """One way of testing.

    Attributes:
        name: What the command line calls it.
        shows: What it shows.
        command: What runs it.
        obstacle: Says why this machine cannot run it, or None.
        preparation: What makes what it needs and takes long to make; if it fails, the lane does and tells why.
        is_alone: Whether nothing may run beside it.
    """

    name: str
    shows: str
    command: tuple[str, ...]
    obstacle: Callable[[], str | None] = lambda: None
    preparation: tuple[str, ...] = ()
    is_alone: bool = True


def _not_root() -> str | None:
    return None if os.geteuid() == 0 else "it makes network namespaces: run it as root"


def _no_guest_kernel() -> str | None:
    if os.geteuid() != 0:
        return _not_root()
    return (
        None
        if shutil.which("linux.uml")
        else "the guest kernel is missing: make test-kernel installs it (Debian's user-mode-linux)"
    )


def _no_browser() -> str | None:
    if os.geteuid() != 0:
        return _not_root()
    return (
        None
        if shutil.which("chromium")
        else "the browser is missing: make .build/packages-browser.stamp installs it (Debian's chromium)"
    )


def _no_compiler() -> str | None:
    return (
        None
        if shutil.which("cc") and Path(sysconfig.get_path("include"), "Python.h").is_file()
        else "the core cannot be compiled: install a compiler of C and Python's header files (Debian's gcc and python3-dev)"
    )


def _no_npm() -> str | None:
    return (
        None
        if shutil.which("npm")
        else "npm is missing: make .build/packages-clients.stamp installs it (Debian's nodejs)"
    )


def _no_engine() -> str | None:
    if os.geteuid() != 0:
        return _not_root()
    return (
        None
        if shutil.which("docker") and shutil.which("docker-compose") and shutil.which("debootstrap")
        else "the Docker engine is missing: make test-containers installs it (Debian's docker.io)"
    )


LANES = (
    Lane(
        "unit",
        "units, properties in virtual time, nodes forked on loopback",
        (
            *PYTEST,
            "-m",
            "not (processes or namespaces or lab or browser or containers or kernel or wheel or models)",
            "-n",
            "4",  # on two processors: many tests wait for processes and paths
            "--dist",
            "worksteal",  # so that nobody waits for a file that came late and takes long
        ),
        is_alone=False,
    ),
    Lane(
        "processes",
        "relays, servers and commands as processes on loopback",
        (*PYTEST, "-m", "processes and not namespaces", "-n", "2", "--dist", "worksteal"),
        is_alone=False,
    ),
    Lane(
        "wheel",
        "the wheel, alone in a virtual environment",
        (*PYTEST, "-m", "wheel", "tests/wheel"),
        _no_compiler,
        is_alone=False,
    ),
    Lane("namespaces", "links and switches on real devices", (*PYTEST, "-m", "namespaces"), _not_root),
    Lane(
        "lab",
        "the whole testbed, end to end",
        (*PYTEST, "-m", "lab", *TWO_LABS),
        _not_root,
    ),
    Lane(
        "browser",
        "the board, and pages over WebTransport, in headless Chromium",
        (*PYTEST, "-m", "browser"),
        _no_browser,
    ),
    Lane(
        "clients",
        "OpenAI's clients and Vercel's, unmodified, ask the token server, also over QUIC; our own for browsers, in Node.js",
        (sys.executable, "tests/clients/run.py", "openai", "openai-js", "vercel", "eloquent-js"),
        _no_npm,
        is_alone=False,
    ),
    Lane(
        "models",
        "the relays on a lossy link before llama.cpp's server, asked by unmodified clients",
        (*PYTEST, "-m", "models", "tests/models"),
        lambda: _not_root() or _no_npm(),
        preparation=(sys.executable, "tests/clients/run.py", "--install", "model", "openai", "openai-js", "langchain"),
    ),
    Lane(
        "containers",
        "the testbed in containers, on a real Docker engine",
        (sys.executable, "tests/containers/engine.py", *PYTEST, "-m", "containers", "tests/containers"),
        _no_engine,
        preparation=(sys.executable, "tests/containers/engine.py", "make", "--no-print-directory", "docker"),
    ),
    Lane(
        "kernel",
        "the testbed on netem and kernel Open vSwitch, in a guest kernel",
        ("docker/guest-kernel/boot", "--", *PYTEST, "-m", "kernel", "tests/e2e/test_guest_kernel.py"),
        _no_guest_kernel,
    ),
)


def prepare(lanes: Iterable[Lane]) -> list[subprocess.Popen[bytes]]:
    """Start the preparations of those lanes that can run."""
    wanted = [lane for lane in lanes if lane.preparation and lane.obstacle() is None]
    return [
        subprocess.Popen(["nice", "-n", "10", *lane.preparation], cwd=REPOSITORY, stdout=subprocess.DEVNULL)
        for lane in wanted
    ]


def run(lane: Lane, *, shown: bool = True) -> str:
    """Run one lane and give its verdict.

    Args:
        lane: Which.
        shown: Whether its output is shown while it comes; else at its end.
    """
    obstacle = lane.obstacle()
    if obstacle is not None:
        return f"{'FAILED' if os.environ.get('CI') else 'skipped'}: {obstacle}"
    heading = f"=== lane {lane.name}: {lane.shows}"
    started = time.monotonic()
    if shown:
        print(heading, flush=True)
        status = subprocess.run(lane.command, cwd=REPOSITORY, env=ENVIRONMENT, check=False).returncode
    else:
        with tempfile.TemporaryFile() as output:
            status = subprocess.run(
                lane.command,
                cwd=REPOSITORY,
                env=ENVIRONMENT,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
            output.seek(0)
            print(heading, output.read().decode(errors="replace"), sep="\n", flush=True)
    took = f"({time.monotonic() - started:.0f} s)"
    return f"passed {took}" if status == 0 else f"FAILED {took}, exit status {status}"


def run_all(lanes: list[Lane]) -> dict[str, str]:
    """Run lanes, those beside each other that may be, and give the verdict of each by its name."""
    together = [lane for lane in lanes if not lane.is_alone]
    preparations = prepare(lanes)
    with ThreadPoolExecutor() as beside:
        running = {lane.name: beside.submit(run, lane, shown=lane is together[0]) for lane in together}
    for preparation in preparations:
        preparation.wait()
    return {lane.name: running[lane.name].result() if lane.name in running else run(lane) for lane in lanes}


def main() -> int:
    """Run the lanes that were named, or all; give the exit status."""
    names = sys.argv[1:] or [lane.name for lane in LANES]
    unknown = set(names) - {lane.name for lane in LANES}
    if unknown:
        print(
            f"no lane {', '.join(sorted(unknown))}: choose from {', '.join(lane.name for lane in LANES)}",
            file=sys.stderr,
        )
        return 2
    verdicts = run_all([lane for lane in LANES if lane.name in names])
    print("\n=== verdicts")
    for name, verdict in verdicts.items():
        print(f"{name:12} {verdict}")
    return int(any(verdict.startswith("FAILED") for verdict in verdicts.values()))


if __name__ == "__main__":
    sys.exit(main())
