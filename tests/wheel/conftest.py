"""The wheel, built from a clean copy of the repository by pip alone, and an environment in which it is all there is."""

import os
import shutil
import subprocess
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
LOCK = REPOSITORY / "requirements" / "testbed.lock"
PATIENCE = 900  # seconds for one command: a core takes long to compile where much else goes on


@dataclass(frozen=True)
class Installation:
    """A virtual environment that holds the wheel, seen from a folder that holds nothing.

    Attributes:
        environment: Folder of the virtual environment.
        elsewhere: Where commands run.
    """

    environment: Path
    elsewhere: Path

    def run(self, command: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment, such as `eloquent` or `python`, to its end."""
        return subprocess.run(
            [self.environment / "bin" / command, *words],
            cwd=self.elsewhere,
            env=without_python_variables() | variables,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    @contextmanager
    def serving(self, command: str, *words: str) -> Iterator[None]:
        """Run a command of `eloquent` that serves, from when it is ready until the context ends."""
        process = subprocess.Popen(
            [self.environment / "bin" / "eloquent", command, *words],
            cwd=self.elsewhere,
            env=without_python_variables(),
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)
        assert process.returncode == 0


def without_python_variables() -> dict[str, str]:
    """Return the environment variables, without those that would lead Python to the repository."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "VIRTUAL_ENV", "ELOQUENT_PURE"))
    }
    return inherited | {"COLUMNS": "120"}


def run(*words: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command that has to succeed; what it says is shown where it does not."""
    done = subprocess.run(
        [*map(str, words)],
        cwd=cwd,
        env=without_python_variables() | variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="session")
def clean_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of what a clone would hold: no generated code, no virtual environment."""
    copy = tmp_path_factory.mktemp("clone")
    words = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    listed = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, copy / name)
    return copy


@pytest.fixture(scope="session")
def wheel(clean_copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel that pip makes of a clone, in an environment that has nothing but pip."""
    folder = tmp_path_factory.mktemp("wheel")
    venv.create(folder / "pip", with_pip=True)
    built = folder / "dist"
    words = ("wheel", "--quiet", "--no-deps", "--wheel-dir", built, clean_copy)
    run(folder / "pip" / "bin" / "pip", *words, cwd=folder)
    (found,) = built.iterdir()
    return found


@pytest.fixture(scope="session")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Return the bare installation: the wheel without an extra, at the versions of the lock."""
    environment, elsewhere = tmp_path_factory.mktemp("environment"), tmp_path_factory.mktemp("elsewhere")
    versions = environment / "versions.txt"  # without the hashes, which would be wanted of the wheel, too
    versions.write_text("\n".join(line.rstrip(" \\") for line in LOCK.read_text().splitlines() if "==" in line))
    venv.create(environment, with_pip=True)
    words = ("install", "--quiet", "--only-binary", ":all:", "--constraint", versions, wheel)
    run(environment / "bin" / "pip", *words, cwd=elsewhere)
    return Installation(environment, elsewhere)
