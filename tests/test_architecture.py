"""Who may import whom: the table of docs/design.md, held against every import statement."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "services" / "eloquent"

BASE = {"errors", "units"}
MAY_IMPORT = {
    "errors": set(),
    "units": {"errors"},
    "addresses": {"errors"},
    "congestion": {"errors", "addresses", "schemes"},
    "networks": {"addresses"},
    "cluster": {"errors"},
    "core": set(),
    "settings": {"errors"},
    "terminal": set(),
    "protocol": BASE,
    "baselines": BASE | {"protocol"},
    "schemes": BASE | {"protocol", "baselines"},
    "channel": BASE,
    "qoe": BASE,
    "scenarios": BASE | {"channel"},
    "drivers": BASE | {"protocol"},
    "calls": BASE | {"api"},
    "content": BASE | {"api"},
    "http3": BASE | {"addresses", "calls", "networks", "protocol"},
    "telemetry": BASE | {"addresses"},
    "process": BASE,
    "relay": BASE
    | {"addresses", "api", "calls", "schemes", "protocol", "drivers", "qoe", "telemetry", "process", "rpc", "serving"},
    "rpc": {"addresses"},
    "serving": BASE | {"addresses", "congestion", "api", "calls", "rpc"},
    "asking": BASE
    | {
        "addresses",
        "congestion",
        "networks",
        "schemes",
        "api",
        "calls",
        "http3",
        "protocol",
        "relay",
        "rpc",
        "telemetry",
    },
    "records": BASE,
    "report": BASE | {"channel", "qoe", "records"},
    "screen": {"qoe", "records", "telemetry"},
    "nodes": BASE
    | {
        "asking",
        "addresses",
        "congestion",
        "networks",
        "schemes",
        "api",
        "calls",
        "content",
        "protocol",
        "drivers",
        "qoe",
        "telemetry",
        "records",
        "screen",
        "process",
        "relay",
        "rpc",
        "serving",
        "http3",
    },
    "load": BASE
    | {
        "asking",
        "schemes",
        "settings",
        "calls",
        "process",
        "qoe",
        "telemetry",
        "records",
        "screen",
    },
    "emulation": BASE
    | {
        "asking",
        "addresses",
        "congestion",
        "core",
        "networks",
        "schemes",
        "settings",
        "channel",
        "scenarios",
        "telemetry",
        "process",
        "records",
        "report",
        "nodes",
        "relay",
        "load",
        "watch",
    },
    "fleet": BASE | {"cluster", "emulation", "load", "records", "report", "settings"},
    "sim": BASE
    | {
        "schemes",
        "content",
        "protocol",
        "baselines",
        "channel",
        "drivers",
        "qoe",
        "relay",
        "scenarios",
        "records",
        "report",
    },
    "watch": BASE | {"calls", "schemes", "report", "channel", "telemetry", "screen", "nodes", "addresses", "process"},
    "measure": BASE | {"addresses", "api", "calls", "protocol", "channel", "qoe", "records"},
    "commands": BASE
    | {
        "addresses",
        "channel",
        "cluster",
        "core",
        "emulation",
        "fleet",
        "qoe",
        "load",
        "measure",
        "process",
        "records",
        "relay",
        "report",
        "scenarios",
        "sim",
        "terminal",
        "watch",
    },
    "cli": BASE | {"commands", "terminal"},
}
PURE = {"protocol", "baselines", "schemes", "channel", "qoe", "content"}
PURE_BUT_FOR = {"relay/sealed": {"cryptography"}}  # folders that are pure but for a library
IMPURE_FILES = {"relay/sealed/key.py"}  # in them
# Sans-IO: time is an argument, and nobody else's clock, socket, thread or global randomness is touched.
IMPURE_MODULES = {"asyncio", "select", "selectors", "signal", "socket", "subprocess", "threading", "time", "os", "io"}
# The libraries that must not leave their part of the house.
HOMES = {
    "mininet": {"emulation"},
    "pyroute2": {"emulation", "networks", "nodes"},
    "typer": {"cli", "commands"},
    "rich": {"cli", "commands", "report", "measure", "terminal", "watch"},
    "starlette": {"nodes", "watch"},
    "uvicorn": {"nodes", "watch"},
}
HOMES |= {"aiohttp": {"asking", "relay"}, "uvloop": {"process"}}
HOMES |= {"httpx": {"measure", "watch"}}
HOMES |= {"h2": {"rpc"}}
HOMES |= {"cryptography": {"relay"}}
HOMES |= {"matplotlib": {"sim", "report", "measure"}, "distributed": {"cluster", "fleet"}, "dask": set()}


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module is not None
            yield node.module
            if node.module == "eloquent":
                yield from (f"eloquent.{alias.name}" for alias in node.names)


def sources() -> list[Path]:
    return [path for path in PACKAGE.rglob("*.py") if "api" not in path.relative_to(PACKAGE).parts]


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def libraries_of(path: Path) -> set[str] | None:
    """The libraries that a pure file may import, or None for a file that is not pure."""
    file = path.relative_to(PACKAGE).as_posix()
    if part_of(path) in PURE:
        return set()
    folders = [folder for folder in PURE_BUT_FOR if file.startswith(f"{folder}/") and file not in IMPURE_FILES]
    return PURE_BUT_FOR[folders[0]] if folders else None


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path):
    part = part_of(path)
    if part == "__init__":
        return
    for name in imports_of(path):
        top, *rest = name.split(".")
        if top == "eloquent" and rest:
            assert rest[0] == part or rest[0] in MAY_IMPORT[part], f"{part} may not import {name}"
        if (libraries := libraries_of(path)) is not None:
            known = top in {"eloquent", *libraries} or top in sys.stdlib_module_names
            assert known, f"{part} is pure and may not import {name}"
            assert top not in IMPURE_MODULES, f"{part} is pure and may not import {name}"
        if top in HOMES:
            assert part in HOMES[top], f"only {', '.join(sorted(HOMES[top]))} may import {top}"


@pytest.mark.parametrize("path", [path for path in sources() if libraries_of(path) is not None], ids=str)
def test_pure_layers_draw_from_an_injected_generator(path: Path):
    """Of `random`, only the class is used: its module functions share one global generator."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "random":
            assert {alias.name for alias in node.names} == {"Random"}
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random":
            assert node.attr == "Random"


def test_every_part_stands_in_the_table():
    assert {part_of(path) for path in sources()} - {"__init__"} == set(MAY_IMPORT)


@pytest.mark.parametrize(
    "folder",
    [
        "protocol",
        "baselines",
        "channel",
        "qoe",
        "sim",
        "measure",
        "drivers",
        "relay",
        "calls",
        "content",
        "asking",
        "nodes",
        "emulation",
        "fleet",
        "records",
        "report",
        "commands",
        "rpc",
        "scenarios",
        "serving",
        "watch",
    ],
)
def test_the_tests_mirror_the_sources(folder: str):
    """A test file is named after the module that it tests, so that one finds it; e2e tests whole testbeds."""
    tests = Path(__file__).parent / folder
    modules = {path.stem for path in (PACKAGE / folder).rglob("*.py")} | {folder}
    modules |= {path.parent.name for path in (PACKAGE / folder).rglob("__init__.py")}
    for path in tests.rglob("test_*.py"):
        stem = path.stem.removeprefix("test_")
        assert any(stem == module or stem.startswith(f"{module}_") for module in modules), (
            f"{path.name} mirrors no module"
        )


def test_no_two_public_classes_share_a_name():
    """One noun, one thing: whoever reads a class's name knows which one is meant."""
    homes: dict[str, list[str]] = {}
    for path in sources():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(str(path.relative_to(PACKAGE)))
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}
