"""What commands need beyond a bare install, which holds the relays: the extras of pyproject.toml."""

import functools
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import ParamSpec, TypeVar

from eloquent.errors import NotInstalled

# What each extra brings that its commands import, by the names of the modules.
SIM = ("distributed", "jinja2", "matplotlib", "numpy", "yaml")
MEASURE = ("grpc", "httpx", "matplotlib", "numpy")
TESTBED = (
    *SIM,
    *MEASURE,
    "grpc_health",
    "grpc_reflection",
    "h2",
    "locust",
    "pyroute2",
    "setuptools",
    "starlette",
    "uvicorn",
)
EXTRAS = {"sim": SIM, "measure": MEASURE, "testbed": TESTBED}
TOPOLOGIES = Path(__file__).parents[3] / "topologies"

Words = ParamSpec("Words")
Answer = TypeVar("Answer")


def needs(extra: str) -> Callable[[Callable[Words, Answer]], Callable[Words, Answer]]:
    """Return a decorator of commands that says what to install where something is missing, before the command begins.

    Args:
        extra: Name of the extra; with `testbed`, Mininet and a clone of the repository are needed too.
    """

    def decorate(command: Callable[Words, Answer]) -> Callable[Words, Answer]:
        @functools.wraps(command)
        def checked(*words: Words.args, **options: Words.kwargs) -> Answer:
            check(extra)
            return command(*words, **options)

        return checked

    return decorate


def check(extra: str) -> None:
    """Check that all of an extra is installed.

    Args:
        extra: Its name.

    Raises:
        NotInstalled: Something is missing.
    """
    if extra == "testbed" and (_is_missing("mininet") or not TOPOLOGIES.is_dir()):
        raise NotInstalled(
            "this command needs Mininet and the rest of the lab, which pip cannot install: "
            "run make testbed in a clone of the repository, on Debian or Ubuntu as root, or with Docker"
        )
    missing = sorted(filter(_is_missing, set(EXTRAS[extra])))
    if missing:
        raise NotInstalled(
            f"this command needs more than a bare install ({', '.join(missing)}): pip install 'eloquent-testbed[{extra}]'"
        )


def _is_missing(module: str) -> bool:
    return find_spec(module) is None
