"""Which way the testbed is run, and why."""

import subprocess
from pathlib import Path

import pytest

CHOOSE = Path(__file__).parents[2] / "docker" / "choose-runtime"
ENGINE = 'case "$*" in info*) echo 28.0.1 ;; "compose version") ;; *) exit 1 ;; esac'
NO_ENGINE = "exit 1"
NO_COMPOSE = 'case "$*" in info*) echo 28.0.1 ;; *) exit 1 ;; esac'


@pytest.fixture
def choose(tmp_path):
    def run(asked: str, docker: str | None) -> subprocess.CompletedProcess[str]:
        """Ask with a command docker that behaves as the script `docker` does; None has no such command."""
        if docker is not None:
            (tmp_path / "docker").write_text(f"#!/bin/sh\n{docker}\n")
            (tmp_path / "docker").chmod(0o755)
        return subprocess.run(
            ["/bin/sh", CHOOSE, asked], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True
        )

    return run


@pytest.mark.parametrize(
    ("docker", "said"),
    [
        (ENGINE, "docker Docker engine 28.0.1 answers"),
        (NO_ENGINE, "native no Docker engine answers"),
        (NO_COMPOSE, "native no docker compose"),
        (None, "native no command docker"),
    ],
)
def test_docker_is_chosen_where_engine_and_compose_are_there(choose, docker, said):
    assert choose("", docker).stdout.strip() == said


@pytest.mark.parametrize("runtime", ["docker", "native"])
def test_one_may_insist(choose, runtime):
    assert choose(runtime, None).stdout.strip() == f"{runtime} asked for"


def test_another_word_is_refused(choose):
    said = choose("podman", ENGINE)
    assert said.stdout.strip() == "unknown"
    assert said.stderr.strip() == "RUNTIME=podman is not possible: docker or native"
