"""What Locust's processes of one load test are told: a file, whose path stands in the environment."""

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from eloquent.errors import ConfigurationError
from eloquent.load.options import LoadOptions

JOB_VARIABLE = "ELOQUENT_LOAD"
CLIENT_VARIABLE = "ELOQUENT_LOAD_CLIENT"
THREADS_VARIABLE = "LOCUST_SKIP_MONKEY_PATCH"  # Locust's own: with it threads are threads, as workers need them


class LoadJob(BaseModel):
    """One load test, as its processes see it.

    Attributes:
        number: Its number in the run, part of the names of its sessions.
        options: What was asked for.
        folder: Where sessions, tokens and lag are logged.
        token_server: HOST:PORT of gRPC at the token server.
        http_server: HOST:PORT of HTTP at the token server.
        quic_server: HOST:PORT of HTTP/3 at the token server.
        edge_relay: HOST:PORT of gRPC at the edge relay of the client's host.
        edge_http: HOST:PORT of HTTP there.
        edge_quic: HOST:PORT of the same before the way over QUIC.
        origin_relay: HOST:PORT of UDP at the origin relay.
        model: Which model is asked, of a server that is not the testbed's own; None for that.
        metrics: HOST:PORT where the process of each client shows its metrics, by client.
        master_metrics: The same of the master.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    options: LoadOptions
    folder: Path
    token_server: str
    http_server: str
    quic_server: str
    edge_relay: str
    edge_http: str
    edge_quic: str
    origin_relay: str
    model: str | None
    metrics: dict[str, str]
    master_metrics: str

    @property
    def clients(self) -> tuple[str, ...]:
        """Names of the client hosts."""
        return tuple(self.metrics)


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
