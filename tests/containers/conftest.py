"""The stack of containers under test: the words of `make`, on a real Docker engine (engine.py starts one)."""

import json
import os
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.ports import find_port

REPOSITORY = Path(__file__).parents[2]
OWNER = (12345, 23456)  # nobody of this machine; results must be theirs
TIMEOUT = 600  # seconds for one word; the first builds the images
PORTS = ("PROMETHEUS_PORT", "BOARD_PORT", "LOCUST_PORT", "GRAFANA_PORT")


class Stack:
    """The stack, driven as a user does.

    Args:
        runs: Folder of the results.
        project: Name of the compose project.
    """

    def __init__(self, runs: Path, project: str) -> None:
        self.runs = runs
        self.owner = OWNER
        self.project = project
        self.ports = {name: find_port() for name in PORTS}
        self.environment = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": project,
            "OWNER": ":".join(map(str, OWNER)),
            "COLUMNS": "200",
        }
        self.settings = [f"RUNS={runs}", *(f"{name}={port}" for name, port in self.ports.items())]

    def command(self, *words: str) -> list[str]:
        return ["make", "--no-print-directory", *words, *self.settings]

    def make(self, *words: str) -> str:
        done = subprocess.run(
            self.command(*words),
            cwd=REPOSITORY,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def docker(self, *words: str) -> str:
        done = subprocess.run(
            ["docker", *words], env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def container(self, service: str) -> str:
        """Give the name of the container of a service."""
        labels = {"com.docker.compose.project": self.project, "com.docker.compose.service": service}
        filters = [word for name, value in labels.items() for word in ("--filter", f"label={name}={value}")]
        return self.docker("ps", "--format", "{{.Names}}", *filters)

    def inspect(self, service: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.docker("inspect", self.container(service)))[0]
        return found

    def query(self, text: str) -> list[dict[str, Any]]:
        """Ask Prometheus, from the host."""
        address = f"http://127.0.0.1:{self.ports['PROMETHEUS_PORT']}/api/v1/query?query={urllib.parse.quote(text)}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return result

    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.runs / "latest" / "summary.json").read_text())
        return found

    def own_things(self) -> dict[str, list[str]]:
        """Give what the engine has of this project."""
        mine = ("--filter", f"label=com.docker.compose.project={self.project}")
        return {
            "containers": self.docker("ps", "--all", "--quiet", *mine).split(),
            "networks": self.docker("network", "ls", "--quiet", *mine).split(),
            "volumes": self.docker("volume", "ls", "--quiet", *mine).split(),
        }


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    runs = tmp_path_factory.mktemp("containers") / "runs"
    runs.mkdir()
    os.chown(runs, *OWNER)
    stack = Stack(runs, f"eloquent-test-{os.getpid()}")
    yield stack
    subprocess.run(stack.command("down", "VOLUMES=1"), cwd=REPOSITORY, env=stack.environment, check=False)
