"""What Locust's processes of one load test are told: a file, whose path stands in the environment."""

import itertools
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from eloquent.asking import Addresses
from eloquent.errors import ConfigurationError
from eloquent.load.options import LoadOptions

JOB_VARIABLE = "ELOQUENT_LOAD"
WORKER_VARIABLE = "ELOQUENT_LOAD_WORKER"
THREADS_VARIABLE = "LOCUST_SKIP_MONKEY_PATCH"  # Locust's own: with it threads are threads, as workers need them


class WorkerJob(BaseModel):
    """What one load worker does.

    Attributes:
        metrics: HOST:PORT where it shows its metrics.
        clients: Its client hosts, and of each the file of the network that its users ask from; None for the worker's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metrics: str
    clients: dict[str, Path | None]


class LoadJob(BaseModel):
    """One load test, as its processes see it.

    Attributes:
        number: Its number in the run, part of the names of its sessions.
        options: What was asked for.
        folder: Where sessions, tokens and lag are logged.
        addresses: Where servers and relays are asked.
        model: Which model is asked, of a server that is not the testbed's own; None for that.
        workers: The load workers by name.
        master_metrics: HOST:PORT where the master shows its metrics.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    options: LoadOptions
    folder: Path
    addresses: Addresses
    model: str | None
    workers: dict[str, WorkerJob]
    master_metrics: str

    @property
    def clients(self) -> list[str]:
        """Names of the client hosts, in whose order users come: the workers take turns."""
        rows = itertools.zip_longest(*(worker.clients for worker in self.workers.values()))
        return [client for row in rows for client in row if client is not None]


def read_job() -> LoadJob:
    """Read the job of this process.

    Raises:
        ConfigurationError: Nobody gave it one, or it cannot be read.
    """
    path = os.environ.get(JOB_VARIABLE)
    if path is None:
        raise ConfigurationError(f"{JOB_VARIABLE} is not set: this locustfile is run by make load, or see docs/load.md")
    try:
        return LoadJob.model_validate_json(Path(path).read_bytes())
    except (OSError, ValidationError) as error:
        raise ConfigurationError(f"cannot read the load test's job {path}: {error}") from None
