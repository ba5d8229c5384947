"""What runs on a worker of a fleet: a lab, from its first to its last moment, in folders that nobody else knows.

Rules of this file: a worker is a process of Dask's, root's, on a machine that has the testbed. Its lab has a state folder, a run
folder and ports of its own, so that labs beside each other on one machine know nothing of each other. The lab ends with the worker,
however that ends.
"""

import hashlib
import importlib.metadata
import os
import platform
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eloquent.emulation import capabilities
from eloquent.emulation.options import REPOSITORY, parse_options
from eloquent.emulation.testbed import Testbed
from eloquent.errors import EmulationError
from eloquent.fleet.orders import LabOrder
from eloquent.fleet.records import Packed, pack

TOLD = frozenset({"chosen", "stage", "streaming", "load_started", "ride", "warning"})
"""Events of a lab that are passed on."""

_labs: dict[str, Testbed] = {}
"""The labs of this process, by the names of fleet and lab."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a worker is, as far as a fleet depends on it.

    Attributes:
        host: Name of its machine.
        processors: Of the machine.
        version: Of the testbed.
        sources: A digest of the testbed's sources.
        refusal: Why it can bring up no lab; None where it can.
    """

    host: str
    processors: int
    version: str
    sources: str
    refusal: str | None


def describe() -> Description:
    """Describe this process."""
    refusal = None
    try:
        capabilities.require_needed(parse_options())
    except EmulationError as error:
        refusal = str(error)
    return Description(
        host=platform.node(),
        processors=os.cpu_count() or 1,
        version=importlib.metadata.version("eloquent-testbed"),
        sources=digest_sources(REPOSITORY),
        refusal=refusal,
    )


def digest_sources(repository: Path) -> str:
    """Return a digest of what a lab is made of: the package, the topology and the controller.

    Args:
        repository: A clone of the repository.
    """
    digest = hashlib.sha256()
    for folder in ("services/eloquent", "topologies", "loadtest"):
        for path in sorted((repository / folder).rglob("*.py")):
            digest.update(f"{path.relative_to(repository)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def work(order: LabOrder) -> Packed:
    """Run a lab on this worker of Dask's, and give its records; what happens is told on the topic of the fleet's name.

    Args:
        order: What it is to do.

    Raises:
        EloquentError: The lab did not come up, or ended before its time.
    """
    from distributed import get_worker

    worker: Any = get_worker()
    with tempfile.TemporaryDirectory(prefix=f"eloquent-{order.name}-") as folder:
        run = run_lab(order, Path(folder), lambda event: worker.log_event(order.fleet, {"lab": order.name, **event}))
        return pack(run)


def run_lab(order: LabOrder, folder: Path, tell: Callable[[dict[str, Any]], object]) -> Path:
    """Bring up a lab, let it do what it is to do, and end it.

    Args:
        order: What it is to do.
        folder: For all of it.
        tell: Gets what happens.

    Returns:
        The run's directory.

    Raises:
        EloquentError: The lab did not come up, or ended before its time.
    """
    testbed = Testbed(folder / "state")
    of_this_machine = {"runs": folder / "runs", "topology": parse_options().topology}
    ports = dict.fromkeys(("prometheus_port", "board_port", "locust_port"), 0)
    options = order.options.model_copy(update={**of_this_machine, **ports})
    _labs[f"{order.fleet}/{order.name}"] = testbed
    try:
        with closing(testbed.up(options, stays=False)) as events:
            for event in events:
                if event["event"] in TOLD:
                    tell(event)
                if event["event"] == "up":
                    break
            for event in testbed.load(order.load) if order.load is not None else ():
                if event["event"] in TOLD:
                    tell(event)
            testbed.down()  # so that viewers and nodes finish their logs
    finally:
        del _labs[f"{order.fleet}/{order.name}"]
    return (folder / "runs" / "latest").resolve()


def stop(fleet: str) -> None:
    """End the labs of a fleet on this worker, whatever they do.

    Args:
        fleet: Name of the fleet's run.
    """
    for name, testbed in list(_labs.items()):
        if name.startswith(f"{fleet}/"):
            testbed.down()
