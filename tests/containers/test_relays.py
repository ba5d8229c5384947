"""The relays in containers: the image built, the pair run with the rights that the operators' page gives it, an answer streamed."""

import os
import shlex
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.ports import find_port

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

REPOSITORY = Path(__file__).parents[2]
IMAGE = "eloquent-relay"
SIZE_BOUND = 300e6  # bytes
EVENTS = b"".join(b'data: {"choices":[{"delta":{"content":"%d"}}]}\n\n' % i for i in range(20)) + b"data: [DONE]\n\n"
PATIENCE = 30.0  # seconds


def docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def documented_words() -> list[str]:
    """Return how the operators' page runs a container."""
    page = (REPOSITORY / "docs" / "deploy.md").read_text()
    (line,) = (line for line in page.splitlines() if line.strip().startswith("docker run"))
    words = shlex.split(line.rstrip("\\"))
    return words[1 : words.index(IMAGE)]


class Model(BaseHTTPRequestHandler):
    """Streams `EVENTS`."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(EVENTS)))
        self.end_headers()
        self.wfile.write(EVENTS)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def model() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Model) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def wait_until_ready(container: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while "ready" not in docker("logs", container).splitlines():
        assert time.monotonic() < deadline, docker("logs", container)
        time.sleep(0.1)


def test_the_pair_runs_in_containers(model: str, tmp_path: Path) -> None:
    flags = shlex.split(os.environ.get("BUILD_FLAGS", ""))
    environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
    words = ["docker", "build", "--quiet", *flags, "--file", "docker/relay.Dockerfile", "--tag", IMAGE, "."]
    subprocess.run(words, cwd=REPOSITORY, env=environment, check=True, timeout=600, stdout=subprocess.DEVNULL)
    assert int(docker("image", "inspect", "--format", "{{.Size}}", IMAGE)) < SIZE_BOUND
    key = tmp_path / "eloquent.key"
    subprocess.run(
        [
            *("docker", "run", "--rm", "--network", "none", "--user", "0", "-v", f"{tmp_path}:/keys"),
            IMAGE,
            "key",
            "/keys/eloquent.key",
        ],
        check=True,
    )
    key.chmod(0o444)
    run = [word.replace("/etc/eloquent", str(tmp_path)) for word in documented_words()]
    between, front = find_port(), find_port()
    roles = {
        "origin": ("--upstream", model, "--listen", f"127.0.0.1:{between}"),
        "edge": ("--origin", f"127.0.0.1:{between}", "--listen", f"127.0.0.1:{front}"),
    }
    started = []
    try:
        for role, settings in roles.items():
            started.append(docker(*run, IMAGE, role, "--key-file", "/run/eloquent.key", *settings))
            wait_until_ready(started[-1])
        url = f"http://127.0.0.1:{front}/v1/chat/completions"
        with urllib.request.urlopen(urllib.request.Request(url, data=b"{}"), timeout=PATIENCE) as answer:
            assert answer.read() == EVENTS
        for container in started:
            docker("stop", "--time", "40", container)
            assert docker("inspect", "--format", "{{.State.ExitCode}}", container) == "0"
    finally:
        for container in started:
            docker("rm", "--force", container)
