"""Which core is imported: a compiled one where it was compiled of the sources that are there, and where nobody asks for these."""

import ast
import shutil
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from eloquent import core


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with the sources of this one."""
    copy = tmp_path / "services" / "eloquent"
    for path in (*core.sources(), *(core.PACKAGE / name for name in core.KNOWN)):
        (copy / path.relative_to(core.PACKAGE)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy / path.relative_to(core.PACKAGE))
    return copy


@pytest.fixture
def folder(package: Path, tmp_path: Path) -> Path:
    """What is compiled of it, by its looks."""
    made = tmp_path / "core"
    for path in core.sources(package):
        file = made / "eloquent" / path.relative_to(package).with_suffix(EXTENSION_SUFFIXES[0])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (made / core.DIGEST).write_text(core.digest(package))
    return made


@pytest.fixture(autouse=True)
def _nothing_chosen(monkeypatch: pytest.MonkeyPatch):
    """As a program begins; how modules are found is as before when the test is over."""
    monkeypatch.delenv("ELOQUENT_PURE", raising=False)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])


def origin_of(name: str) -> str | None:
    """Return the file that the first of those who are asked would import, if it would."""
    spec = sys.meta_path[0].find_spec(name, None)
    return None if spec is None else spec.origin


def is_chosen(folder: Path, package: Path) -> bool:
    """Let the core be chosen, and return whether the modules of a folder are imported from then on."""
    core.choose(folder, package)
    return (origin_of("eloquent.protocol.sender") or "").startswith(str(folder))


def test_a_core_that_was_compiled_of_these_sources_is_used(folder: Path, package: Path):
    assert is_chosen(folder, package)
    found = Path(origin_of("eloquent.protocol.sender") or "")
    assert found.parent == folder / "eloquent" / "protocol"
    assert found.name == f"sender{EXTENSION_SUFFIXES[0]}"
    for other in ("eloquent.protocol", "eloquent.cli", "json"):
        assert origin_of(other) is None


def test_whatever_the_core_imports_is_known():
    known = {*core.sources(), *(core.PACKAGE / name for name in core.KNOWN)}
    for path in core.sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("eloquent."):
                assert core.PACKAGE.joinpath(*node.module.split(".")[1:]).with_suffix(".py") in known, (
                    path,
                    node.module,
                )


def test_the_files_of_the_core_are_modules_and_no_packages():
    names = {path.relative_to(core.PACKAGE).as_posix() for path in core.sources()}
    assert {"protocol/sender.py", "protocol/senders/eloquent.py", "baselines/tcp.py", "channel/link.py"} <= names
    assert not [name for name in names if name.endswith("__init__.py")]


@pytest.mark.parametrize("edited", ["protocol/sender.py", "channel/link.py", "units.py"])
def test_an_edit_of_a_source_is_seen_at_once(edited: str, folder: Path, package: Path):
    with (package / edited).open("a") as file:
        file.write("\n")
    assert not is_chosen(folder, package)


def test_a_new_source_is_seen(folder: Path, package: Path):
    (package / "baselines" / "new.py").touch()
    assert not is_chosen(folder, package)


@pytest.mark.parametrize("word", ["1", "yes"])
def test_pure_python_is_had_for_the_asking(word: str, folder: Path, package: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ELOQUENT_PURE", word)
    assert not is_chosen(folder, package)


def test_sources_are_found_before_what_was_compiled_beside_them(package: Path, monkeypatch: pytest.MonkeyPatch):
    for path in core.sources(package):
        path.with_suffix(EXTENSION_SUFFIXES[0]).touch()
    monkeypatch.setenv("ELOQUENT_PURE", "1")
    assert is_chosen(package, package)
    assert origin_of("eloquent.protocol.sender") == str(package / "protocol" / "sender.py")
    for other in ("eloquent.protocol", "json"):
        assert origin_of(other) is None


@pytest.mark.parametrize("word", ["", "0"])
def test_nothing_asked_is_not_pure(word: str, folder: Path, package: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ELOQUENT_PURE", word)
    assert is_chosen(folder, package)


def test_without_one_there_is_nothing_to_use(package: Path, tmp_path: Path):
    assert not is_chosen(tmp_path / "nothing", package)
