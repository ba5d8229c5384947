"""How long a lab takes to be up, its links tested, by the number of its client hosts: as root, and a minute and more."""

import contextlib
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.tables import Column, Row, Rows, Table
from eloquent.emulation.options import parse_options
from eloquent.emulation.testbed import Testbed
from eloquent.errors import EmulationError

PORTS = ("prometheus_port", "board_port", "locust_port")


def measure(hosts: Sequence[int]) -> Rows:
    """Return how long it takes, by the number of client hosts."""
    return {f"{number}": _measure_one(number) for number in hosts}


def _measure_one(clients: int) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        options = parse_options(
            clients=clients,
            schemes=("grpc",),
            session_s=1.0,
            background=False,
            runs=Path(folder) / "runs",
            **dict.fromkeys(PORTS, 0),
        )
        began = time.monotonic()
        with contextlib.closing(Testbed(Path(folder) / "state").up(options, stays=False)) as events:
            for event in events:
                if event["event"] == "streaming":
                    return {"seconds": time.monotonic() - began}
    raise EmulationError("the lab never came up")


def obstacle() -> str | None:
    """Return why this machine cannot measure it, or None."""
    return None if os.geteuid() == 0 else "a lab is root's: run it as root"


TABLE = Table(
    title="Start of a lab",
    about="Seconds until the network is there, all nodes run and each link has been tested.",
    case="client hosts",
    columns=(Column("seconds", "s", 1),),
    compared="seconds",
)
