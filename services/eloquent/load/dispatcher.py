"""How Locust's master learns from a `Placement` how many users of which scheme each worker is to have."""

import math
from collections.abc import Iterator

import gevent  # type: ignore[import-untyped]  # ships without annotations
from locust import User
from locust.dispatch import UsersDispatcher
from locust.runners import WorkerNode

from eloquent.load.placement import Counts, Placement


class EvenDispatcher(UsersDispatcher):
    """Locust's way to say how many users each worker is to have, by a `Placement`; each scheme has a user class.

    Args:
        worker_nodes: The workers.
        user_classes: The classes.
    """

    def __init__(self, worker_nodes: list[WorkerNode], user_classes: list[type[User]]) -> None:
        self._schemes = [user_class.__name__ for user_class in user_classes]
        self._hosts = [node.id for node in worker_nodes]
        self._placement = Placement(self._hosts, self._schemes)
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
        """Return what each worker is to have next."""
        return next(self._stages)

    def _go_to(self, target: int, rate: float) -> Iterator[Counts]:
        self._is_moving = True
        step = max(1, math.floor(rate))
        while True:
            self._number += max(-step, min(step, target - self._number))
            yield self._placement.first(self._number)
            if self._number == target:
                break
            gevent.sleep(step / rate)
        self._is_moving = False

    def add_worker(self, worker_node: WorkerNode) -> None:
        """Let a worker have its part from now on."""
        self._hosts.append(worker_node.id)
        self._placement = Placement(self._hosts, self._schemes)

    def remove_worker(self, worker_node: WorkerNode) -> None:
        """Let the others have the part of a worker that is gone."""
        self._hosts.remove(worker_node.id)
        if self._hosts:
            self._placement = Placement(self._hosts, self._schemes)
