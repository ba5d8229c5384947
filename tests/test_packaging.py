"""What pyproject.toml says about the package, held against what the package does."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest

from eloquent.commands.extras import EXTRAS as CHECKED

REPOSITORY = Path(__file__).parents[1]
SOURCES = REPOSITORY / "services"
API = SOURCES / "eloquent" / "api" / "v1"
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))

EXTRAS = PYPROJECT["project"]["optional-dependencies"]
DECLARED = [*PYPROJECT["project"]["dependencies"], *(one for extra in EXTRAS.values() for one in extra)]


def floor(library: str) -> str:
    """Return the oldest release that is declared to do."""
    (found,) = {one for requirement in DECLARED for one in re.findall(rf"^{library}>=([0-9.]+)", requirement)}
    return found


def asked_for(pattern: str, suffix: str) -> set[str]:
    """Return the versions of its libraries that generated code refuses to do without."""
    return {
        ".".join(match.groups()) for path in API.glob(f"*{suffix}") for match in re.finditer(pattern, path.read_text())
    }


def test_no_release_is_allowed_that_the_generated_code_refuses():
    assert asked_for(r"PUBLIC,\s*(\d+),\s*(\d+),\s*(\d+),", "_pb2.py") == {floor("protobuf")}
    assert asked_for(r"GRPC_GENERATED_VERSION = '(.*)'", "_pb2_grpc.py") == {floor("grpcio")}


def test_an_editable_installation_is_built_with_what_a_wheel_is_built_with():
    assert set(PYPROJECT["build-system"]["requires"]) <= {*DECLARED}
    assert set(EXTRAS["build"]) < set(PYPROJECT["build-system"]["requires"])


def test_what_is_pinned_for_building_is_what_the_lock_has():
    locked = (REPOSITORY / "requirements" / "dev.lock").read_text(encoding="utf-8").splitlines()
    pinned = {one for one in PYPROJECT["build-system"]["requires"] if "==" in one}
    assert any(pin.startswith("mypy==") for pin in pinned)
    assert pinned <= {line.removesuffix(" \\") for line in locked}


OF_MODULE = packages_distributions()


def named(requirements: Iterable[str]) -> Iterator[str]:
    """Yield the distributions that requirements name, those of extras of ours one by one."""
    for requirement in requirements:
        name, extras = re.match(r"([A-Za-z0-9._-]+)(?:\[(.*?)\])?", requirement).groups()
        if name == PYPROJECT["project"]["name"]:
            for extra in extras.split(","):
                yield from named(EXTRAS[extra])
        else:
            yield normal(name)


def normal(name: str) -> str:
    """Return a distribution's name as the package index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def brought_by(requirements: Iterable[str]) -> set[str]:
    """Return the distributions that come with requirements, those that they require in turn, too."""
    found, ahead = set[str](), {*named(requirements)}
    while ahead:
        name = ahead.pop()
        found.add(name)
        try:
            required = [one for one in requires(name) or () if "extra ==" not in one]
        except PackageNotFoundError:  # required on other platforms
            continue
        ahead |= {*named(required)} - found
    return found


@pytest.mark.parametrize("extra", ["sim", "measure", "testbed"])
def test_commands_look_for_each_library_of_their_extra(extra: str):
    looked_for = {normal(name) for module in CHECKED[extra] for name in OF_MODULE[module]}
    assert looked_for == set(named(EXTRAS[extra]))


def test_a_bare_install_is_small():
    heavy = {
        "dask",
        "distributed",
        "gevent",
        "grpcio",
        "httpx",
        "locust",
        "matplotlib",
        "numpy",
        "pillow",
        "setuptools",
    }
    assert not brought_by(PYPROJECT["project"]["dependencies"]) & heavy


SPEAK_GRPC = {SOURCES / "eloquent" / "relay" / name for name in ("grpc_call.py", "fronts/grpc.py", "upstreams/grpc.py")}


def modules_of(part: str) -> set[Path]:
    """Return a part of the package, a module or a folder of them, and all of the package that it imports in turn.

    What of the relays speaks gRPC belongs to whoever imports it.
    """
    found: set[Path] = set()
    ahead = {*SOURCES.glob(f"eloquent/{part}.py"), *SOURCES.glob(f"eloquent/{part}/**/*.py")} - SPEAK_GRPC
    while ahead:
        path = ahead.pop()
        found.add(path)
        candidates = {SOURCES.joinpath(*name.split(".")) for name in imports_of(path) if name.startswith("eloquent.")}
        files = {one for name in candidates for one in (name.with_suffix(".py"), name / "__init__.py") if one.exists()}
        ahead |= files - found
    return found


def imports_of(path: Path) -> Iterator[str]:
    """Yield the modules, and whatever else could be one, that a module imports, in functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(
    ("part", "extra"),
    [
        ("relay", "relay"),
        ("sim", "sim"),
        ("report", "sim"),
        ("measure", "measure"),
        ("asking", "testbed"),
        ("nodes", "testbed"),
        ("load", "testbed"),
        ("watch", "testbed"),
    ],
)
def test_a_part_imports_nothing_that_its_extra_does_not_bring(part: str, extra: str):
    brought = brought_by([*PYPROJECT["project"]["dependencies"], *EXTRAS[extra]])
    for path in modules_of(part):
        for name in imports_of(path):
            top = name.partition(".")[0]
            if top not in {"eloquent", *sys.stdlib_module_names}:
                assert {*map(normal, OF_MODULE.get(top, ()))} & brought, f"{path.relative_to(SOURCES)} imports {top}"
