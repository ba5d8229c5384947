"""Fork nodes into the networks of hosts, as one who has imported all of them.

What a node imports takes a second of a processor and 75 MB. Here that is paid once, and nodes share the memory as long as they do
not write to it. Each is a process as any other, with standard streams of its own.

    python -m eloquent.nodes.nursery DESCRIPTOR       (of a Unix socket, SOCK_SEQPACKET)

An order is an object of JSON with `node`, `flags`, `host`, `nice` and `network`, the file of its network namespace; the descriptors
of its standard streams come with it. Answers are `{"born": PID}`, and later `{"ended": PID, "status": STATUS}`.

Rules of this file: nothing here starts a thread or a loop before the fork, since neither outlives it.
"""

import contextlib
import gc
import json
import logging
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pyroute2.netns import setns

from eloquent.nodes.edge_relay import relay as edge_relay
from eloquent.nodes.link_probe import roles
from eloquent.nodes.nursery import MAX_MESSAGE
from eloquent.nodes.origin_relay import relay as origin_relay
from eloquent.nodes.token_server import server as token_server
from eloquent.nodes.viewer import viewer

NODES: dict[str, Callable[[Sequence[str]], int]] = {
    "token_server": token_server.main,
    "origin_relay": origin_relay.main,
    "edge_relay": edge_relay.main,
    "viewer": viewer.main,
    "link_probe": roles.main,
}
NAME_BYTES = 15  # of a process's name that Linux keeps (proc_pid_comm(5))

_logger = logging.getLogger(__name__)


def serve(orders: socket.socket) -> None:
    """Fork what is ordered, and tell of each end, until the lab hangs up."""
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken)
    with selectors.DefaultSelector() as selector:
        selector.register(orders, selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is orders:
                    order, descriptors, _, _ = socket.recv_fds(orders, MAX_MESSAGE, 3)
                    if not order:
                        return
                    _fork(orders, json.loads(order), descriptors)
                else:
                    os.read(wake, 4096)
            _tell_ends(orders)


def _fork(orders: socket.socket, order: dict[str, Any], descriptors: Sequence[int]) -> None:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = _run(order, descriptors)
        finally:
            os._exit(status)
    for descriptor in descriptors:
        os.close(descriptor)
    orders.send(json.dumps({"born": pid}).encode())


def _run(order: dict[str, Any], descriptors: Sequence[int]) -> int:
    """Be the node; give its exit status."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # it is the process's own
    name = f"{order['host']}-{order['node']}"
    Path("/proc/self/comm").write_text(name[:NAME_BYTES], encoding="ascii")
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, order["nice"])
    with Path(order["network"]).open("rb") as network:
        setns(network.fileno())
    try:
        return NODES[order["node"]](order["flags"])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:  # what nobody catches ends a process with its traceback
        _logger.exception("%s failed", name)
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _tell_ends(orders: socket.socket) -> None:
    """Tell of the children that have ended."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0] != 0:
            pid, status = ended
            orders.send(json.dumps({"ended": pid, "status": os.waitstatus_to_exitcode(status)}).encode())


def main() -> None:
    """Serve the one who has the other end of the socket."""
    gc.collect()
    gc.freeze()  # what no collection looks at stays shared
    with socket.socket(fileno=int(sys.argv[1])) as orders:
        serve(orders)
