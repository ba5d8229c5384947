"""The compiled core of a clone: used where it was compiled of the very sources that are there, and nowhere else.

Rules of this file
- An editable installation runs from its sources. What `make compiled` compiles of them lies in a place of its own, `.build/core`,
  with a digest of them; whoever edits one of them runs pure Python from then on, until it is compiled again.
- `ELOQUENT_PURE=1` means pure Python in any case. An installed wheel has its compiled core beside its sources, or none, and
  nothing here concerns it.
"""

import hashlib
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).parent
FOLDER = PACKAGE.parents[1] / ".build" / "core"
DIGEST = "digest"  # name of the file with that of the sources
COMPILED = ("protocol/**/*.py", "baselines/*.py", "channel/link.py")  # where relays and simulator spend their time
_KNOWN = ("errors.py", "units.py")  # what the core imports beside itself


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
    for path in (*sources(package), *(package / name for name in _KNOWN)):
        found.update(f"\n{path.relative_to(package)}\n".encode())
        found.update(path.read_bytes())
    return found.hexdigest()


class _Finder(MetaPathFinder):
    """Finds the modules of a compiled core before their sources are found.

    Args:
        folder: Where it lies.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - what finders are called with
        target: ModuleType | None = None,  # noqa: ARG002 - likewise
    ) -> ModuleSpec | None:
        """Return how to load a module, or None for one that is not of the core."""
        if not fullname.startswith("eloquent"):
            return None
        file = self._folder.joinpath(*fullname.split("."))
        found = file.with_name(file.name + EXTENSION_SUFFIXES[0])
        return spec_from_file_location(fullname, found) if found.is_file() else None


def use_compiled(folder: Path = FOLDER, package: Path = PACKAGE) -> bool:
    """Have the modules of the core imported from a compiled one, if there is one of these sources.

    Args:
        folder: Where it would lie.
        package: As for `sources`.

    Returns:
        Whether there is.
    """
    recorded = folder / DIGEST
    if os.environ.get("ELOQUENT_PURE", "") not in {"", "0"} or not recorded.is_file():
        return False
    if recorded.read_text(encoding="ascii") != digest(package):
        return False
    sys.meta_path.insert(0, _Finder(folder))
    return True
