"""A fleet: workers of a Dask cluster, each with one lab at a time, until every lab has had its turn.

Rules of this file: a lab is given to one worker by name, and never again to another. So no worker has two labs at a time, and one
that is gone costs its lab and no other.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eloquent.errors import ConfigurationError, EloquentError, EmulationError
from eloquent.fleet.orders import LabOrder
from eloquent.fleet.records import unpack
from eloquent.fleet.worker import Description, describe, stop, work

POLL = 0.2  # seconds between two looks at workers and labs
LOST = "its worker was lost"


@dataclass(frozen=True, slots=True)
class LabEnd:
    """How a lab of a fleet ended.

    Attributes:
        order: What it was to do.
        worker: Address of its worker; empty where none was left for it.
        host: Name of the worker's machine.
        failure: Why it has no records; None where it has.
    """

    order: LabOrder
    worker: str
    host: str
    failure: str | None


def muster(client: Any) -> dict[str, Description]:
    """Return the workers of a cluster, by address.

    Args:
        client: Of the cluster, a `distributed.Client`.

    Raises:
        ConfigurationError: There is none, or one of them can bring up no lab, or none like this machine's; the message names each.
    """
    found: dict[str, Description | BaseException] = client.run(describe, on_error="return")
    if not found:
        raise ConfigurationError(
            "the Dask cluster has no workers: start some as root, by `dask worker` of this environment"
        )
    refused = refusals(found, like=describe())
    if refused:
        raise ConfigurationError("; ".join(refused))
    return {address: one for address, one in found.items() if isinstance(one, Description)}


def refusals(found: Mapping[str, Description | BaseException], *, like: Description) -> list[str]:
    """Return why workers cannot be of a fleet, a sentence for each of them.

    Args:
        found: What workers said of themselves, or why they could not, by address.
        like: What this machine says of itself.
    """
    refused = []
    for address, one in found.items():
        if isinstance(one, BaseException):
            why = f"has no testbed of this version ({one}): install it there"
        elif one.sources != like.sources:
            theirs, ours = (f"{each.version}, sources {each.sources[:12]}" for each in (one, like))
            why = f"on {one.host} has another testbed ({theirs}) than this machine ({ours}): bring both to one commit"
        elif one.refusal is not None:
            why = f"on {one.host} can bring up no lab: {one.refusal}"
        else:
            continue
        refused.append(f"the worker {address} {why}")
    return refused


def shared_machines(workers: Mapping[str, Description]) -> list[str]:
    """Return the machines that have several workers, whose labs take processor time from each other.

    Args:
        workers: By address.
    """
    counts = Counter(one.host for one in workers.values())
    return [host for host, count in counts.items() if count > 1]


class Fleet:
    """Labs on the workers of a cluster.

    Args:
        client: Of the cluster, a `distributed.Client`.
        workers: Who is to have labs, by address.
        folder: Where each lab's records go, in a folder of its name.
        tell: Gets what happens: events of the labs, each with its `lab`, and `lab_began` and `lab_ended`.
    """

    def __init__(
        self,
        client: Any,
        workers: Mapping[str, Description],
        folder: Path,
        tell: Callable[[dict[str, Any]], object],
    ) -> None:
        self._client = client
        self._workers = workers
        self._folder = folder
        self._tell = tell
        self._free = deque(workers)
        self._running: dict[Any, tuple[LabOrder, str]] = {}  # by future
        self._ends: list[LabEnd] = []

    def run(self, orders: Sequence[LabOrder]) -> list[LabEnd]:
        """Run labs, as many at a time as there are workers; give how each ended, in the order of the orders.

        Args:
            orders: What they are to do; all of one fleet.

        Raises:
            EmulationError: The cluster's scheduler does not answer any more.
        """
        fleet, waiting = orders[0].fleet, deque(orders)
        self._client.subscribe_topic(fleet, lambda event: self._tell(event[1]))
        try:
            while waiting or self._running:
                present = self._present()
                self._free = deque(address for address in self._free if address in present)
                while waiting and self._free:
                    self._begin(waiting.popleft(), self._free.popleft())
                if waiting and not self._running:
                    for order in waiting:
                        self._end(order, "", "no worker was left for it")
                    break
                self._look(present)
                time.sleep(POLL)
        except BaseException:  # a user who interrupts it wants no lab to go on
            busy = [address for _, address in self._running.values()]
            self._client.run(stop, fleet, workers=busy, on_error="ignore")
            raise
        finally:
            self._client.unsubscribe_topic(fleet)
        return sorted(self._ends, key=lambda end: end.order.number)

    def _present(self) -> set[str]:
        try:
            return set(self._client.scheduler_info()["workers"])
        except (OSError, TimeoutError) as error:
            raise EmulationError(f"the Dask scheduler does not answer any more: {error}") from None

    def _begin(self, order: LabOrder, address: str) -> None:
        options = order.options
        last = options.first_client + options.clients - 1
        self._tell(
            {
                "event": "lab_began",
                "lab": order.name,
                "host": self._workers[address].host,
                "worker": address,
                "clients": f"c{options.first_client} to c{last}",
            }
        )
        future = self._client.submit(work, order, workers=[address], pure=False, retries=0)
        self._running[future] = order, address

    def _look(self, present: set[str]) -> None:
        """See which labs have ended, and which are lost."""
        for future, (order, address) in list(self._running.items()):
            if not future.done() and address in present:
                continue
            del self._running[future]
            failure: str | None = LOST
            if future.done():
                failure = self._collect(future, order)
                self._free.append(address)  # which may be gone; then it is left out at the next look
            else:
                future.cancel()
            self._end(order, address, failure)

    def _collect(self, future: Any, order: LabOrder) -> str | None:
        """Take a lab's records; say why there are none."""
        try:
            unpack(future.result(), self._folder / order.name)
        except EloquentError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - of a worker, whatever it was
            return LOST if future.status in {"cancelled", "lost"} else f"{type(error).__name__}: {error}"
        return None

    def _end(self, order: LabOrder, address: str, failure: str | None) -> None:
        host = self._workers[address].host if address else ""
        self._ends.append(LabEnd(order, address, host, failure))
        self._tell({"event": "lab_ended", "lab": order.name, "host": host, "worker": address, "failure": failure})
