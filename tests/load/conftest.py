"""Jobs of load tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eloquent.asking import Addresses
from eloquent.load.job import LoadJob, WorkerJob
from eloquent.load.options import LoadOptions


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., LoadJob]:
    """Makes a job for some hosts and workers; further words are options."""

    def make(*, hosts: int, workers: int = 1, **options: Any) -> LoadJob:
        names = [f"c{number + 1}" for number in range(hosts)]
        return LoadJob(
            number=1,
            options=LoadOptions(**options),
            folder=tmp_path,
            addresses=Addresses(
                token_server="10.0.0.1:50051",
                http_server="10.0.0.1:8000",
                quic_server="10.0.0.1:8443",
                edge_relay="127.0.0.1:50051",
                edge_http="127.0.0.1:8000",
                edge_quic="127.0.0.1:8001",
                origin_relay="10.0.0.2:7000",
            ),
            model=None,
            workers={
                f"worker-{number + 1}": WorkerJob(
                    metrics=f"10.255.0.1:{9510 + number}", clients=dict.fromkeys(names[number::workers])
                )
                for number in range(workers)
            },
            master_metrics="10.255.0.1:9103",
        )

    return make
