"""Run a command with a Docker engine: the machine's own where one answers, else Debian's `dockerd` on a private socket.

    .venv/bin/python tests/containers/engine.py make testbed up

Debian's runs in mount and process namespaces of its own, with its end ends whatever it ran, and it touches neither the machine's
bridge nor its packet filter. There the base image is made from Debian packages, from the sources that this machine itself uses; the
ways by which this machine reaches packages go into builds as secrets, of which nothing stays in an image. Images and build layers
are kept in .build/containers for the next time.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
STORE = REPOSITORY / ".build" / "containers"
BASE = "eloquent-base:bookworm"
UNUSED = ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists")
START_TIMEOUT = 60.0  # seconds until the engine answers
NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
GENTLY = ("nice", "-n", "5")


def docker(environment: Mapping[str, str], *words: str) -> str:
    """Run the command docker and give what it printed."""
    done = subprocess.run(["docker", *words], env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"docker {' '.join(words)}: {done.stderr}"
    return done.stdout.strip()


@contextlib.contextmanager
def engine() -> Iterator[dict[str, str]]:
    """Give the environment in which docker and docker/eloquent find an engine."""
    answer = subprocess.run(["docker", "info", "--format", "{{.ServerVersion}}"], capture_output=True, check=False)
    if answer.returncode == 0 and answer.stdout.strip():
        yield dict(os.environ)
        return
    STORE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="eloquent-engine-") as name, _debian_engine(Path(name)) as environment:
        _make_base(environment)
        flags = ["--network", "host", "--build-arg", f"BASE={BASE}", *_site_secrets(Path(name) / "site")]
        _build_prometheus(environment, flags)
        yield environment | {
            "BUILD_FLAGS": " ".join(flags),
            "COMPOSE_FILE": f"{REPOSITORY}/docker/compose.yaml:{REPOSITORY}/docker/compose.debian.yaml",
            "SERVICES": "testbed controller prometheus",  # Grafana's image is only in the registry
        }


@contextlib.contextmanager
def _debian_engine(folder: Path) -> Iterator[dict[str, str]]:
    """Start Debian's engine."""
    programs, socket = folder / "bin", folder / "docker.sock"
    programs.mkdir()
    (programs / "docker").symlink_to("/usr/bin/docker")  # Debian's, which belongs to this engine and can build
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "DOCKER_HOST": f"unix://{socket}",
    }
    words = [
        *(*NAMESPACES, "dockerd", "--host", f"unix://{socket}", "--data-root", str(STORE / "data")),
        *("--exec-root", str(folder / "exec"), "--pidfile", str(folder / "pid")),
        *("--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"),
    ]
    with (STORE / "dockerd.log").open("wb") as log:
        daemon = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while not socket.exists():
            assert daemon.poll() is None, f"dockerd ended: see {log.name}"
            assert time.monotonic() < deadline, f"dockerd does not answer: see {log.name}"
            time.sleep(0.1)
        yield environment
    finally:
        _end(daemon)


def _end(daemon: subprocess.Popen[bytes]) -> None:
    """End the engine; what does not end by itself goes with its first process."""
    children = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children")
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        for child in children.read_text().split():
            os.kill(int(child), 15)
        daemon.wait(timeout=20)
    daemon.kill()
    daemon.wait()


def _package_sources() -> list[str]:
    """Give this machine's own sources of Debian packages, as lines of a sources list."""
    form = "deb $(REPO_URI) $(RELEASE) $(COMPONENT)"
    words = ["apt-get", "indextargets", "--format", form, "Created-By: Packages", "Origin: Debian"]
    found = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return sorted(set(found.split("\n")) - {""})


def _make_base(environment: Mapping[str, str]) -> None:
    """Make the base image from Debian packages, if it is not there from an earlier run."""
    if docker(environment, "images", "--quiet", BASE):
        return
    mirror = next(words[1] for words in map(str.split, _package_sources()) if words[2] == "bookworm")
    with tempfile.TemporaryDirectory(dir=STORE) as name:
        root = Path(name) / "root"
        done = subprocess.run(
            [*GENTLY, "debootstrap", "--variant=minbase", "bookworm", str(root), mirror],
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"debootstrap: {done.stdout[-2000:]}"
        for folder in UNUSED:
            shutil.rmtree(root / folder, ignore_errors=True)
            (root / folder).mkdir(parents=True)
        (root / "etc/apt/sources.list").write_text("")
        with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as tar:
            subprocess.run(["docker", "import", "-", BASE], env=environment, check=True, stdin=tar.stdout)


def _site_secrets(folder: Path) -> list[str]:
    """Write down how this machine reaches packages, and give the options that hand it to a build."""
    folder.mkdir(mode=0o700)
    settings = subprocess.run(["apt-config", "dump"], check=True, capture_output=True, text=True).stdout.split("\n")
    ours = [line for line in settings if line.startswith(("Acquire::http", "Acquire::https", "Acquire::Check"))]
    pip = subprocess.run([sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True)
    files = {
        "apt.conf": ours,
        "apt.list": _package_sources(),
        "pip.conf": ["[global]", "cert = /run/secrets/ca.crt", *_indexes(pip.stdout)],
        "ca.crt": [Path("/etc/ssl/certs/ca-certificates.crt").read_text()],
    }
    for name, lines in files.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    return [word for name in files for word in ("--secret", f"id={name},src={folder / name}")]


def _indexes(settings: str) -> Iterator[str]:
    """Yield pip's settings of where packages are, as far as a build reaches these, too."""
    for line in settings.split("\n"):
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        addresses = [word for word in value.strip("'").split() if word.startswith("http")]
        if key in {"index-url", "extra-index-url", "trusted-host"} and addresses:
            yield f"{key} = {' '.join(addresses)}"


def _build_prometheus(environment: Mapping[str, str], flags: Sequence[str]) -> None:
    """Build what takes the place of Prometheus's official image."""
    words = ("build", "--quiet", *flags, "--file", str(REPOSITORY / "docker" / "prometheus-debian.Dockerfile"))
    docker({**environment, "DOCKER_BUILDKIT": "1"}, *words, "--tag", "eloquent-prometheus-debian", str(REPOSITORY))


def main() -> int:
    """Run a command with an engine."""
    with engine() as environment:
        return subprocess.run(sys.argv[1:], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
