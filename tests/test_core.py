"""The compiled core of a clone: used where it was compiled of the sources that are there, and otherwise not."""

import shutil
import sys
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from eloquent import core


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with the sources of this one."""
    copy = tmp_path / "services" / "eloquent"
    for path in (*core.sources(), *(core.PACKAGE / name for name in ("errors.py", "units.py"))):
        (copy / path.relative_to(core.PACKAGE)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy / path.relative_to(core.PACKAGE))
    return copy


@pytest.fixture
def folder(package: Path, tmp_path: Path) -> Iterator[Path]:
    """What is compiled of it, by its looks; how modules are found is as before when the test is over."""
    made = tmp_path / "core"
    for path in core.sources(package):
        file = made / "eloquent" / path.relative_to(package).with_suffix(EXTENSION_SUFFIXES[0])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (made / core.DIGEST).write_text(core.digest(package))
    finders = sys.meta_path[:]
    yield made
    sys.meta_path[:] = finders


@pytest.fixture(autouse=True)
def _not_pure_by_request(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ELOQUENT_PURE", raising=False)


def origin_of(name: str) -> str | None:
    """Return the file that the first of those who are asked would import, if it would."""
    spec = sys.meta_path[0].find_spec(name, None)
    return None if spec is None else spec.origin


def test_a_core_that_was_compiled_of_these_sources_is_used(folder: Path, package: Path):
    assert core.use_compiled(folder, package)
    found = Path(origin_of("eloquent.protocol.sender") or "")
    assert found.parent == folder / "eloquent" / "protocol"
    assert found.name == f"sender{EXTENSION_SUFFIXES[0]}"
    for other in ("eloquent.protocol", "eloquent.cli", "json"):
        assert origin_of(other) is None


def test_the_files_of_the_core_are_modules_and_no_packages():
    names = {path.relative_to(core.PACKAGE).as_posix() for path in core.sources()}
    assert {"protocol/sender.py", "protocol/senders/eloquent.py", "baselines/tcp.py", "channel/link.py"} <= names
    assert not [name for name in names if name.endswith("__init__.py")]


@pytest.mark.parametrize("edited", ["protocol/sender.py", "channel/link.py", "units.py"])
def test_an_edit_of_a_source_is_seen_at_once(edited: str, folder: Path, package: Path):
    with (package / edited).open("a") as file:
        file.write("\n")
    assert not core.use_compiled(folder, package)


def test_a_new_source_is_seen(folder: Path, package: Path):
    (package / "baselines" / "new.py").touch()
    assert not core.use_compiled(folder, package)


@pytest.mark.parametrize("word", ["1", "yes"])
def test_pure_python_is_had_for_the_asking(word: str, folder: Path, package: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ELOQUENT_PURE", word)
    assert not core.use_compiled(folder, package)


@pytest.mark.parametrize("word", ["", "0"])
def test_nothing_asked_is_not_pure(word: str, folder: Path, package: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ELOQUENT_PURE", word)
    assert core.use_compiled(folder, package)


def test_without_one_there_is_nothing_to_use(package: Path, tmp_path: Path):
    assert not core.use_compiled(tmp_path / "nothing", package)
