"""Who computes: the processes of this machine, or a Dask cluster. What is computed does not depend on it."""

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from eloquent.errors import ConfigurationError

LOCAL_CLUSTER = "local"
CONNECT_TIMEOUT = 10  # seconds to reach a scheduler


@contextmanager
def workers(*, processes: int | None = None, dask: str | None = None) -> Iterator[Executor | None]:
    """Yield an executor for as long as the context lasts.

    Args:
        processes: Processes on this machine; None for one a processor. With one, the caller computes by itself.
        dask: Address of a Dask scheduler, such as `tcp://host:8786`, or `local` for a cluster on this machine; the
            workers of a cluster need this package.

    Yields:
        The executor; None where the caller is to compute by itself.

    Raises:
        ConfigurationError: There is no such cluster.
    """
    count = processes if processes is not None else len(os.sched_getaffinity(0))
    if dask is not None:
        with connect(dask, processes=count) as client:
            yield client.get_executor(pure=False)
    elif count <= 1:
        yield None
    else:
        # A fresh interpreter for each: forking a process that draws a progress bar in a thread is asking for trouble.
        with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as executor:
            executor.submit(int)  # so that the first of them starts now, while the caller prepares
            yield executor


@contextmanager
def connect(address: str, *, processes: int) -> Iterator[Any]:
    """Yield a client of a Dask cluster, a `distributed.Client`, for as long as the context lasts.

    Args:
        address: Of its scheduler, such as `tcp://host:8786`, or `local` for a cluster on this machine.
        processes: How many workers a cluster on this machine has.

    Raises:
        ConfigurationError: There is no such cluster.
    """
    import distributed

    library: Any = distributed  # whose functions are partly without types
    if address == LOCAL_CLUSTER:
        with (
            library.LocalCluster(n_workers=processes, threads_per_worker=1, dashboard_address=None) as cluster,
            library.Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = library.Client(address, timeout=CONNECT_TIMEOUT)
    except (OSError, TimeoutError, ValueError) as error:
        raise ConfigurationError(f"there is no Dask scheduler at {address}: {error}") from None
    with client:
        yield client
