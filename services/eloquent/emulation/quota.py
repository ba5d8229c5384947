"""How long a processor limit of control groups has stopped this process and its kin (cgroups(7), Linux's cgroup-v2.rst).

A group may use a share of each period; then it stands still until the next, however idle the machine is. `docker run --cpus` sets
such a limit.
"""

from collections.abc import Iterator
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
_THROTTLED = {"throttled_usec": 1e-6, "throttled_time": 1e-9}  # seconds in the unit of version 2, and of version 1


def throttled_s(membership: Path = Path("/proc/self/cgroup"), mount: Path = MOUNT) -> float:
    """Return the seconds for which processors were denied so far, added up over processors; 0 where no group has a limit.

    Args:
        membership: File that tells the groups of a process.
        mount: Where the control groups are seen.
    """
    return sum(map(_read, _accounts(membership, mount)))


def _accounts(membership: Path, mount: Path) -> Iterator[Path]:
    """Yield the account of each group that the process is in, and of the groups around it."""
    for line in membership.read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        roots = (mount / controllers, mount / "cpu") if controllers else (mount, mount / "unified")
        root = next((one for one in roots if one.is_dir()), mount)
        group = root / path.lstrip("/")
        while group != root and root in group.parents:
            yield group / "cpu.stat"
            group = group.parent
        yield root / "cpu.stat"  # of a container: its own group


def _read(account: Path) -> float:
    try:
        lines = [line.split() for line in account.read_text(encoding="ascii").splitlines()]
    except OSError:  # no such account, or the group is not seen from here
        return 0.0
    return sum(int(words[1]) * _THROTTLED[words[0]] for words in lines if words[0] in _THROTTLED)
