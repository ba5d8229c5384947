"""How Locust's master learns from a `Placement` how many users of which scheme, at which client host, each worker is to have."""

import math
from collections.abc import Iterator, Mapping

import gevent  # type: ignore[import-untyped]  # ships without annotations
from gevent.event import Event  # type: ignore[import-untyped]
from locust import User
from locust.dispatch import UsersDispatcher
from locust.runners import WorkerNode

from eloquent.load.job import LoadJob
from eloquent.load.placement import Counts, Placement


def class_name(scheme: str, client: str) -> str:
    """Return the name of the class of the users who ask by a scheme at a client host."""
    return f"Chatter_{scheme}_{client}"


class RollCall:
    """Which of Locust's nodes is which load worker, as these say in what they report."""

    KEY = "eloquent_worker"

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._news = Event()

    def note(self, node: str, data: Mapping[str, object]) -> None:
        """Take what a worker reports.

        Args:
            node: Its name at Locust.
            data: The report.
        """
        if self.KEY in data:
            self._names[node] = str(data[self.KEY])
            self._news.set()

    def name(self, node: str) -> str:
        """Return the worker's own name; wait for its first report, which it sends as soon as it is there."""
        while node not in self._names:
            self._news.clear()
            self._news.wait()
        return self._names[node]


class EvenDispatcher(UsersDispatcher):
    """Locust's way to say how many users each worker is to have, by a `Placement`.

    Each scheme has a user class at each client host, so that whom Locust sends away is the placement's to say.

    Args:
        job: The load test.
        roll: Who the workers are.
        worker_nodes: The workers.
        user_classes: Not used: all classes of the test are.
    """

    def __init__(
        self,
        job: LoadJob,
        roll: RollCall,
        *,
        worker_nodes: list[WorkerNode],
        user_classes: list[type[User]],  # noqa: ARG002 - Locust's signature
    ) -> None:
        self._job = job
        self._roll = roll
        self._nodes = [node.id for node in worker_nodes]
        self._placement: Placement | None = None
        self._number = 0
        self._is_moving = False
        self._stages: Iterator[Counts] = iter(())

    @property
    def dispatch_in_progress(self) -> bool:
        """Whether users are still coming or going."""
        return self._is_moving

    def new_dispatch(
        self,
        target_user_count: int,
        spawn_rate: float,
        user_classes: list[type[User]] | None = None,  # noqa: ARG002 - Locust's signature
    ) -> None:
        """Begin to go to another number of users.

        Args:
            target_user_count: The number.
            spawn_rate: How many may come or go in a second.
            user_classes: Not used: all classes of the test are.
        """
        self._stages = self._go_to(target_user_count, spawn_rate)

    def __next__(self) -> Counts:
        """Return what each worker is to have next, by user class."""
        return next(self._stages)

    def _go_to(self, target: int, rate: float) -> Iterator[Counts]:
        self._is_moving = True
        step = max(1, math.floor(rate))
        while True:
            self._number += max(-step, min(step, target - self._number))
            yield self._place(self._number)
            if self._number == target:
                break
            gevent.sleep(step / rate)
        self._is_moving = False

    def _place(self, number: int) -> Counts:
        """Return what each worker is to have where there are so many users; Locust wants to be told of all classes."""
        clients = {node: self._job.workers[self._roll.name(node)].clients for node in self._nodes}
        if self._placement is None:
            there = set().union(*clients.values())
            hosts = [client for client in self._job.clients if client in there]
            self._placement = Placement(hosts, self._job.options.schemes)
        counts = self._placement.first(number)
        return {
            node: {
                class_name(scheme, client): count if client in own else 0
                for client, of_schemes in counts.items()
                for scheme, count in of_schemes.items()
            }
            for node, own in clients.items()
        }

    def add_worker(self, worker_node: WorkerNode) -> None:
        """Let a worker have its part from now on."""
        self._nodes.append(worker_node.id)
        self._placement = None

    def remove_worker(self, worker_node: WorkerNode) -> None:
        """Let the others have the part of a worker that is gone."""
        self._nodes.remove(worker_node.id)
        self._placement = None
