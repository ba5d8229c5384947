"""Locust's processes of one load test, in the lab's own namespace: the master, and a headless worker for each processor."""

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from eloquent.asking import Addresses
from eloquent.emulation.deployment import LOAD_MASTER_METRICS, LOAD_METRICS_PORT, network_of, shares
from eloquent.emulation.inbound_forwards import LOCUST
from eloquent.emulation.monitoring import Target
from eloquent.emulation.network import LAB_ADDRESS, LabHost
from eloquent.emulation.nursery import niceness
from eloquent.emulation.options import REPOSITORY
from eloquent.emulation.processes import LabProcess
from eloquent.errors import EmulationError
from eloquent.load.job import JOB_VARIABLE, THREADS_VARIABLE, WORKER_VARIABLE, LoadJob, WorkerJob
from eloquent.load.options import LoadOptions

LOCUSTFILE = REPOSITORY / "loadtest" / "locustfile.py"
MASTER_PORT = 5557
CONNECT_TIME = 60  # seconds for all workers to reach the master
LAST_LOOK = 3  # seconds after the test in which Prometheus, which looks every 2 s, sees the workers' last word
LINGER = 6  # seconds that all stay after the test: Prometheus may take 5 s to learn that it should not look any more
STOP_TIME = 20.0  # seconds for a master to write its reports when it is told to stop
SILENCE = 60.0  # seconds after which a master that says nothing is taken for dead


class Locusts:
    """The processes.

    Args:
        options: What was asked for.
        number: Number of the load test in its run.
        folder: The load test's run directory, which exists.
        clients: The client hosts.
        addresses: Where the nodes are asked.
        model: Which model is asked, of a server outside; None for the token server.

    Attributes:
        master: Locust's master.
        workers: The load workers.
    """

    def __init__(
        self,
        options: LoadOptions,
        *,
        number: int,
        folder: Path,
        clients: Sequence[LabHost],
        addresses: Addresses,
        model: str | None,
    ) -> None:
        self._folder = folder
        self._path = folder / "job.json"
        self._job = LoadJob(
            number=number,
            options=options,
            folder=folder,
            addresses=addresses,
            model=model,
            workers={
                f"worker-{index + 1}": WorkerJob(
                    metrics=f"{LAB_ADDRESS}:{LOAD_METRICS_PORT + index}",
                    clients={client.name: network_of(client) for client in share},
                )
                for index, share in enumerate(shares(clients))
            },
            master_metrics=LOAD_MASTER_METRICS,
        )
        self._path.write_text(self._job.model_dump_json(indent=2), encoding="utf-8")
        self.master = self._make_master()
        self.workers = [self._make_worker(name, len(job.clients)) for name, job in self._job.workers.items()]

    def targets(self) -> Iterator[Target]:
        """Yield the pages of metrics that are there while it runs."""
        for name, worker in self._job.workers.items():
            yield Target("load_worker", name, worker.metrics)
        yield Target("load_master", "lab", self._job.master_metrics)

    async def start(self) -> None:
        """Start all, and wait until the master starts the test.

        Raises:
            EmulationError: It does not.
        """
        await asyncio.gather(*(process.start() for process in (self.master, *self.workers)))
        try:
            async with asyncio.timeout(2 * CONNECT_TIME):
                while (event := await self.read_event()) is None or event["event"] != "test_start":
                    pass
        except (TimeoutError, EmulationError) as error:
            tails = "".join(worker.log_tail() for worker in self.workers)
            await self.stop()
            raise EmulationError(f"the load test did not start: {error or 'Locust said nothing'}{tails}") from None

    async def read_event(self) -> dict[str, Any] | None:
        """Read one line of the master; None for one that is not for us.

        Raises:
            EmulationError: It has ended, or said nothing for long.
        """
        line = await self.master.read_line(SILENCE)
        if not line.startswith("{"):
            return None
        event: dict[str, Any] = json.loads(line)
        return event

    async def stop_master(self, *, after_s: float = 0.0) -> None:
        """Let the master end the test, after some seconds; it writes its reports."""
        await asyncio.sleep(after_s)
        await self.master.stop(STOP_TIME)

    async def stop(self) -> None:
        """End what still runs."""
        await self.stop_master()
        await asyncio.gather(*(worker.stop() for worker in self.workers))

    def _make_master(self) -> LabProcess:
        words = [
            *_locust("--master", "--master-bind-host", LAB_ADDRESS, "--master-bind-port", str(MASTER_PORT)),
            *("--web-host", "127.0.0.1", "--web-port", str(LOCUST.inner_port)),
            *("--autostart", "--autoquit", str(LINGER)),
            *("--expect-workers", str(len(self._job.workers)), "--expect-workers-max-wait", str(CONNECT_TIME)),
            *("--csv", str(self._folder / "locust"), "--html", str(self._folder / "locust.html")),
        ]
        environment = {JOB_VARIABLE: str(self._path)}
        return LabProcess("Locust's master", words, log=self._log("master"), talks=True, environment=environment)

    def _make_worker(self, name: str, clients: int) -> LabProcess:
        words = _locust("--worker", "--master-host", LAB_ADDRESS, "--master-port", str(MASTER_PORT))
        gently = ("nice", "-n", str(niceness(clients)))
        environment = {JOB_VARIABLE: str(self._path), WORKER_VARIABLE: name, THREADS_VARIABLE: "1"}
        title = f"load {name.replace('-', ' ')}"
        return LabProcess(title, [*gently, *words], log=self._log(name), environment=environment)

    def _log(self, name: str) -> Path:
        return self._folder / "logs" / f"locust-{name}.log"


def _locust(*flags: str) -> list[str]:
    return [sys.executable, "-m", "locust", "--locustfile", str(LOCUSTFILE), "--loglevel", "INFO", *flags]
