"""The records of a lab on their way from its worker to who asked for them: the files of its run directory, compressed.

Rules of this file: only files that a run directory is known to hold are packed, and only they are unpacked; of a process's log
goes the end. Both sides bound what they take.
"""

import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from eloquent.errors import EmulationError

Packed = dict[str, bytes]
"""Files by their place in the run directory, each compressed with zlib."""

MOST_BYTES = 512 * 1024**2  # of a lab's files as they lie on its disk; a token is a row of 60
LONGEST_LOG = 65536  # bytes of the end of a process's log
_ROWS = r"(sessions|tokens|kinds|lag|node_lag|streams|probes)/[\w.-]+\.csv"
_LOCUSTS = r"job\.json|locust\.html|locust_[a-z_]+\.csv"
_KEPT = re.compile(rf"(load-\d+/)?(manifest\.json|summary\.(json|md)|{_ROWS}|{_LOCUSTS}|logs/[\w.-]+\.log)", re.ASCII)


def pack(run: Path) -> Packed:
    """Read the files of a run that are worth to travel.

    Args:
        run: The run directory.

    Raises:
        EmulationError: They take more than `MOST_BYTES`.
    """
    packed, left = Packed(), MOST_BYTES
    for name in _files(run):
        content = (run / name).read_bytes()
        if name.endswith(".log"):
            content = content[-LONGEST_LOG:]
        left -= len(content)
        if left < 0:
            raise EmulationError(f"the records of a lab take more than {MOST_BYTES >> 20} MB: ask for less at a time")
        packed[name] = zlib.compress(content)
    return packed


def unpack(packed: Mapping[str, bytes], into: Path) -> None:
    """Write the files of a run.

    Args:
        packed: What `pack` gave.
        into: The run directory, which does not exist yet.

    Raises:
        EmulationError: They are no files of a run, or take more than `MOST_BYTES`.
    """
    left = MOST_BYTES
    for name, content in packed.items():
        if not _KEPT.fullmatch(name):
            raise EmulationError(f"'{name[:80]}' is no file of a run")
        inflated = inflate(content, most=left)
        left -= len(inflated)
        path = into / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(inflated)


def inflate(content: bytes, *, most: int) -> bytes:
    """Undo the compression of a file.

    Args:
        content: What came.
        most: Bytes that it may have.

    Raises:
        EmulationError: It is cut, or nothing of the kind, or longer.
    """
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(content, most + 1)  # 0 would be no bound
    except zlib.error:
        raise EmulationError("what came is no record of a lab") from None
    if len(inflated) > most:
        raise EmulationError(f"the records of a lab take more than {MOST_BYTES >> 20} MB")
    if not inflater.eof:
        raise EmulationError("the record of a lab is cut")
    return inflated


def _files(run: Path) -> Iterator[str]:
    paths = (str(path.relative_to(run)) for path in sorted(run.rglob("*")) if path.is_file() and not path.is_symlink())
    return filter(_KEPT.fullmatch, paths)
