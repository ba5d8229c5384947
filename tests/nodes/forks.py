"""Nodes that are forked, as in a lab, by a process that has imported all of them: what one imports takes a second of a processor.

`Forks` is for tests. The process that forks is this file, run with the descriptor of a socket (SOCK_SEQPACKET). An order is an
object of JSON with `node` and `flags`; with it come the standard streams, and a pipe that is told the process number and, in the
end, the exit status. Nothing here starts a thread or a loop before the fork.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path

MAINS = {}  # of the nodes, by name, in the process that forks them
MAX_ORDER = 1 << 16  # bytes


class Forked:
    """A node, to be handled as a `subprocess.Popen` whose three streams are pipes."""

    def __init__(self, orders, node, flags):
        pipes = [os.pipe() for _ in range(4)]
        theirs = [pipes[0][0], *(written for _, written in pipes[1:])]
        ours = [pipes[0][1], *(read for read, _ in pipes[1:])]
        order = {"node": node, "flags": flags, "folder": str(Path.cwd()), "variables": dict(os.environ)}
        socket.send_fds(orders, [json.dumps(order).encode()], theirs)
        for descriptor in theirs:
            os.close(descriptor)
        self.stdin, self.stdout, self.stderr, self._told = (
            os.fdopen(descriptor, "wb" if number == 0 else "rb", buffering=0) for number, descriptor in enumerate(ours)
        )
        self.pid = int(self._told.readline())
        self.returncode = None

    def poll(self):
        """Return the exit status, or None while it runs."""
        if self.returncode is None and select.select([self._told], [], [], 0)[0]:
            self.returncode = int(self._told.readline())
        return self.returncode

    def wait(self, timeout=None):
        """Wait for the end, and return the exit status."""
        if self.returncode is None and not select.select([self._told], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(f"{self.pid}", timeout)
        return self.poll()

    def communicate(self, timeout=None):
        """Close its standard input, wait for the end, and return what it has written to the two others."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self.stdin.close()
        written = {stream: b"" for stream in (self.stdout, self.stderr) if not stream.closed}
        ahead = set(written)
        while ahead:
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            readable, _, _ = select.select(ahead, [], [], left)
            if not readable:
                raise subprocess.TimeoutExpired(f"{self.pid}", timeout)
            for stream in readable:
                data = stream.read(65536)
                written[stream] += data
                if not data:
                    ahead.remove(stream)
        self.wait(None if deadline is None else max(deadline - time.monotonic(), 0.0))
        for stream in (*written, self._told):
            stream.close()
        return tuple(written.get(stream, b"") for stream in (self.stdout, self.stderr))

    def send_signal(self, number):
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self):
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Forks:
    """The process that forks nodes, from its first node on until it is closed."""

    def __init__(self):
        self._orders = self._process = None

    def start(self, node, flags):
        """Start a node."""
        if self._orders is None:
            self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                words = [sys.executable, __file__, f"{theirs.fileno()}"]
                self._process = subprocess.Popen(words, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        return Forked(self._orders, node, flags)

    def close(self):
        """End that process; nodes are for who started them."""
        if self._orders is not None:
            self._orders.close()
            self._process.wait()


def serve(orders):
    """Fork what is ordered, each with a process that waits for its end, until nobody is there to order."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who waits is waited for by nobody
    while True:
        order, descriptors, _, _ = socket.recv_fds(orders, MAX_ORDER, 4)
        if not order:
            return
        if os.fork() == 0:
            orders.close()
            _keep(json.loads(order), descriptors)
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)


def _keep(order, descriptors):
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, told = descriptors
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = _be(order, streams)
        finally:
            os._exit(status)
    for descriptor in streams:
        os.close(descriptor)
    os.write(told, b"%d\n" % pid)
    _, status = os.waitpid(pid, 0)
    os.write(told, b"%d\n" % os.waitstatus_to_exitcode(status))


def _be(order, streams):
    """Be the node; return its exit status."""
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode) for number, mode in enumerate("rww"))
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["variables"])
    try:
        return MAINS[order["node"]](order["flags"])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:  # noqa: BLE001 - what nobody catches ends a process with its traceback
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


if __name__ == "__main__":
    from eloquent.nodes.asker.asker import main as ask
    from eloquent.nodes.nursery.nursery import NODES

    MAINS.update(NODES, asker=ask)
    with socket.socket(fileno=int(sys.argv[1])) as given:
        serve(given)
