"""Which core is imported: a compiled one, or its sources.

Rules of this file
- An installed wheel has its compiled core beside its sources, where Python finds it first, or none.
- An editable installation runs from its sources. What `make compiled` compiles of them lies in a place of its own, `.build/core`,
  with a digest of them; whoever edits one of them runs pure Python from then on, until it is compiled again.
- `ELOQUENT_PURE=1` means pure Python in any case: when a wheel is built, and when either is run.
"""

import hashlib
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ModuleSpec
from importlib.util import find_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).parent
FOLDER = PACKAGE.parents[1] / ".build" / "core"
DIGEST = "digest"  # name of the file with that of the sources
COMPILED = (  # where relays and simulator spend their time
    "protocol/**/*.py",
    "baselines/*.py",
    "channel/link.py",
    "channel/schedule.py",
    "sim/engine/session.py",
)
KNOWN = (  # what the core imports beside itself
    "errors.py",
    "units.py",
    "channel/loss.py",
    "channel/scenario.py",
    "content/__init__.py",
    "sim/engine/choices.py",
    "sim/engine/reader.py",
    "sim/engine/trace.py",
)


def sources(package: Path = PACKAGE) -> list[Path]:
    """Return the modules that are compiled, in order.

    Args:
        package: Folder of the package `eloquent`.
    """
    found = [path for pattern in COMPILED for path in sorted(package.glob(pattern))]
    return [path for path in found if path.name != "__init__.py"]


def digest(package: Path = PACKAGE) -> str:
    """Return what a compiled core depends on, in one word: its sources, what they import, and the interpreter.

    Args:
        package: As for `sources`.
    """
    found = hashlib.sha256(f"{sys.implementation.cache_tag} {EXTENSION_SUFFIXES[0]}".encode())
    for path in (*sources(package), *(package / name for name in KNOWN)):
        found.update(f"\n{path.relative_to(package)}\n".encode())
        found.update(path.read_bytes())
    return found.hexdigest()


class _Finder(MetaPathFinder):
    """Finds modules of one kind before those of any other.

    Args:
        folder: Where the package lies.
        suffix: Of the files: what ends the names of extension modules, or of sources.
    """

    def __init__(self, folder: Path, suffix: str) -> None:
        self._folder = folder
        self._suffix = suffix

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - what finders are called with
        target: ModuleType | None = None,  # noqa: ARG002 - likewise
    ) -> ModuleSpec | None:
        """Return how to load a module, or None for one that is not there as a file of this kind."""
        if not fullname.startswith("eloquent"):
            return None
        file = self._folder.joinpath(*fullname.split("."))
        found = file.with_name(file.name + self._suffix)
        return spec_from_file_location(fullname, found) if found.is_file() else None


def is_to_be_pure() -> bool:
    """Return whether `ELOQUENT_PURE` asks for pure Python."""
    return os.environ.get("ELOQUENT_PURE", "") not in {"", "0"}


def choose(folder: Path = FOLDER, package: Path = PACKAGE) -> None:
    """Have the core imported from its sources, if that is asked for, or from what was compiled of them for a clone, if it was.

    Args:
        folder: Where a compiled core would lie.
        package: As for `sources`.
    """
    if is_to_be_pure():
        sys.meta_path.insert(0, _Finder(package.parent, SOURCE_SUFFIXES[0]))
        return
    recorded = folder / DIGEST
    if recorded.is_file() and recorded.read_text(encoding="ascii") == digest(package):
        sys.meta_path.insert(0, _Finder(folder, EXTENSION_SUFFIXES[0]))


def kind() -> str:
    """Return whether the core that is imported is `pure` Python or `compiled`."""
    sender = find_spec("eloquent.protocol.sender")
    assert sender is not None
    return "pure" if str(sender.origin).endswith(SOURCE_SUFFIXES[0]) else "compiled"
