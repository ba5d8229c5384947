"""The testbed as its user sees it: up, status, down. Everything here runs on the machine, outside the lab's namespaces.

A lock file, held open by the lab, says whether one is up; it cannot be stale, since the kernel lets go of it when the lab dies.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from eloquent import congestion
from eloquent.addresses import parse_address, reason_of
from eloquent.emulation import capabilities
from eloquent.emulation.inbound_forwards import BOARD, METRICS, PROMETHEUS
from eloquent.emulation.options import Options
from eloquent.emulation.outbound_forwards import Outside
from eloquent.emulation.processes import in_namespace
from eloquent.emulation.supervisor import Orders
from eloquent.errors import ConfigurationError, EmulationError
from eloquent.load.options import LoadOptions
from eloquent.records.run_directory import RunDirectory

STATE = Path(os.environ.get("ELOQUENT_STATE", "/run/eloquent"))
NAMESPACES = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
STOP_TIMEOUT = 20.0  # seconds until a lab that was asked to stop is killed
LOCK_TRIES, LOCK_PAUSE = 10, 0.05  # seconds between two tries
CONTROL_TIMEOUT = 10.0  # seconds for an answer of the lab
UPSTREAM_TIMEOUT = 5.0  # seconds for a model server outside to accept a connection


class Testbed:
    """The one lab of this machine.

    Args:
        state: Folder of the lock, the control socket and the lab's process number.
    """

    def __init__(self, state: Path = STATE) -> None:
        self._lock = state / "lock"
        self._control = state / "control"
        self._pid = state / "pid"
        self._state = state

    def up(self, options: Options, *, stays: bool = True) -> Generator[dict[str, Any]]:
        """Bring the testbed up and run the rounds; it stays up when the events end.

        Args:
            options: What to run.
            stays: Whether the lab outlives its caller. One that does not ends when the events are closed, and with this process,
                however that ends.

        Yields:
            What happens, as the lab tells it: `chosen`, `stage`, `streaming`, `session_ended`, `warning`, `summary`, `up`; before
            them `run` with the run directory and the URLs of its services.

        Raises:
            ConfigurationError: A testbed is up already, or a port is in use.
            EmulationError: The lab did not come up; nothing of it is left.
        """
        capabilities.require_needed(options)
        _require_answer(options.upstream_address)
        congestion.require(options.schemes)
        lock = self._take_lock()
        with contextlib.ExitStack() as open_files:
            open_files.callback(lock.close)
            board, datagrams = (open_files.enter_context(one) for one in BOARD.listen_for_datagrams(options.board_port))
            forwards = {BOARD: board} | {
                forward: open_files.enter_context(forward.listen_outside(port))
                for forward, port in options.forwarded_ports.items()
            }
            choice = capabilities.choose(options)
            yield {"event": "chosen", "what": "carrier", "name": choice.carrier, "why": choice.carrier_why}
            yield {"event": "chosen", "what": "switch datapath", "name": choice.datapath, "why": choice.datapath_why}
            run = RunDirectory.create(options.runs, datetime.now(UTC).strftime("%Y%m%d-%H%M%S"))
            urls = {
                forward.name: f"http://127.0.0.1:{outside.getsockname()[1]}" for forward, outside in forwards.items()
            }
            if urls.pop(METRICS.name, None) is not None:
                urls[PROMETHEUS.name] = f"http://127.0.0.1:{options.prometheus_port}"
            yield {"event": "run", "folder": str(run.path), "urls": urls}
            namespaces = [open_files.enter_context(Path(f"/proc/self/ns/{kind}").open("rb")) for kind in ("net", "mnt")]
            orders = Orders(
                options,
                choice,
                run.path.resolve(),
                self._control,
                urls,
                {forward.name: outside.fileno() for forward, outside in forwards.items()},
                datagrams.fileno(),
                Outside(*(namespace.fileno() for namespace in namespaces)),
                stays,
            )
            with contextlib.closing(self._start(orders, keep_open=(lock.fileno(), *orders.descriptors))) as events:
                for event in events:
                    if event["event"] == "up":
                        open_files.close()  # from now on the lock tells of the lab alone
                    yield event

    def _take_lock(self) -> IO[bytes]:
        self._state.mkdir(parents=True, exist_ok=True)
        lock = self._lock.open("ab")
        for _ in range(LOCK_TRIES):  # somebody who only looks holds it for a moment
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._forget()
                return lock
            time.sleep(LOCK_PAUSE)
        lock.close()
        raise ConfigurationError("a testbed is up already: see it with make status, end it with make down")

    def _start(self, orders: Orders, *, keep_open: tuple[int, ...]) -> Generator[dict[str, Any]]:
        log_path = orders.folder / "logs" / "supervisor.log"
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with log_path.open("ab") as log:
            lab = subprocess.Popen(
                [*NAMESPACES, sys.executable, "-m", "eloquent.emulation.supervisor"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=keep_open,
                start_new_session=True,
                text=True,
            )
        assert lab.stdin is not None, "standard input is a pipe"
        assert lab.stdout is not None, "standard output is a pipe"
        self._pid.write_text(f"{lab.pid} {_start_time(lab.pid)}\n", encoding="ascii")
        is_up = goes_on = False
        try:
            with lab.stdin as orders_pipe, lab.stdout as events:
                orders_pipe.write(orders.to_json() + "\n")
                orders_pipe.flush()
                for line in events:
                    event = json.loads(line)
                    if event["event"] == "error":
                        raise EmulationError(event["text"])
                    is_up = event["event"] == "up"
                    goes_on = is_up and orders.stays
                    yield event
                    if goes_on:  # and tells no more
                        return
            if not is_up:
                raise EmulationError(f"the lab ended before its time; see {log_path}")
        finally:
            if not goes_on:  # an error, the user's Ctrl-C, or a lab that was the caller's alone
                lab.kill()  # its --kill-child takes the supervisor along, and that all the rest
                lab.wait()
                self._forget()

    def is_up(self) -> bool:
        """Return whether a lab lives, or is being started."""
        try:
            with self._lock.open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def status(self) -> dict[str, Any] | None:
        """Ask the lab what runs; None where none is up.

        Raises:
            EmulationError: The lab is up but does not answer.
        """
        return self._ask({"do": "status"}) if self.is_up() else None

    def load(self, options: LoadOptions) -> Iterator[dict[str, Any]]:
        """Run a load test on the lab that is up; SIGINT, or the end of this process, ends it early, with partial results.

        Args:
            options: What to run.

        Yields:
            What happens: `stage`, `load_started`, `users`, `ride`, `warning` and at the end `load_ended`.

        Raises:
            ConfigurationError: No testbed is up.
            EmulationError: The load test did not start, or the lab ended meanwhile.
        """
        congestion.require(options.schemes)
        if not self.is_up():
            raise ConfigurationError("no testbed is up: bring one up with make up")
        request = {"do": "load", "options": options.model_dump(mode="json")}
        with self._call(request) as connection, _on_interrupt(lambda: connection.shutdown(socket.SHUT_WR)):
            connection.settimeout(None)
            for line in connection.makefile():
                event = json.loads(line)
                if event["event"] == "error":
                    raise EmulationError(event["text"])
                yield event
                if event["event"] == "load_ended":
                    return
        raise EmulationError("the lab ended in the middle of the load test; what was measured is in its run directory")

    def command_in(self, host: str, *words: str) -> list[str]:
        """Return the command that runs `words` in a host of the lab, in the present folder.

        It runs in the lab's mount and PID namespaces and in the host's network, as the lab's own processes do: the hosts
        have names there, and it ends with the lab.

        Args:
            host: A host's name, such as `c1` or `server`.
            words: The command and its arguments.

        Raises:
            ConfigurationError: No testbed is up, or it has no such host.
            EmulationError: The lab is up but does not answer.
        """
        status = self.status()
        if status is None:
            raise ConfigurationError("no testbed is up: bring one up with make up")
        hosts: dict[str, int] = status.get("hosts", {})
        if not hosts:
            raise ConfigurationError("the testbed is still being built: try again in a moment")
        if host not in hosts:
            raise ConfigurationError(f"the testbed has no host '{host}': it has {', '.join(hosts)}")
        outermost = int(self._pid.read_text(encoding="ascii").split()[0])
        supervisor = Path(f"/proc/{outermost}/task/{outermost}/children").read_text(encoding="ascii").split()[0]
        inside = ("nsenter", "--target", supervisor, "--mount", "--pid", f"--wdns={Path.cwd()}", "--")
        return [*inside, *in_namespace(hosts[host], *words)]

    def down(self) -> bool:
        """End the lab, and with it everything in it.

        Returns:
            Whether there was one.

        Raises:
            EmulationError: It is not ours to end, or would not end.
        """
        if not os.access(self._state, os.W_OK) and self._state.exists():
            raise EmulationError("the testbed belongs to root: run it with sudo")
        if not self.is_up():
            self._forget()
            return False
        with contextlib.suppress(EmulationError):  # a lab that does not answer any more is killed
            self._ask({"do": "stop"})
            self._wait_gone(STOP_TIMEOUT)
        if self.is_up():
            self._kill()
            self._wait_gone(STOP_TIMEOUT)
        if self.is_up():
            raise EmulationError(
                "a testbed is just being started by somebody else: wait for it, or interrupt that make up"
            )
        self._forget()
        return True

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._call(request) as connection:
            try:
                answer: dict[str, Any] = json.loads(connection.makefile().readline())
            except (OSError, ValueError) as error:
                raise EmulationError(f"the lab does not answer ({error}); end it with make down") from None
        return answer

    def _call(self, request: dict[str, Any]) -> socket.socket:
        """Ask the lab something, and give the connection that its answer comes by."""
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(CONTROL_TIMEOUT)
            connection.connect(str(self._control))
            connection.sendall(json.dumps(request).encode() + b"\n")
        except PermissionError:
            connection.close()
            raise EmulationError("the testbed belongs to root: run it with sudo") from None
        except OSError as error:
            connection.close()
            raise EmulationError(f"the lab does not answer ({error}); end it with make down") from None
        return connection

    def _kill(self) -> None:
        """Kill the lab's outermost process, if the process of that number is still the one that was started."""
        with contextlib.suppress(FileNotFoundError):
            pid, started = (int(word) for word in self._pid.read_text(encoding="ascii").split())
            if _start_time(pid) == started:
                os.kill(pid, signal.SIGKILL)

    def _wait_gone(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while self.is_up() and time.monotonic() < deadline:
            time.sleep(0.05)

    def _forget(self) -> None:
        self._control.unlink(missing_ok=True)
        self._pid.unlink(missing_ok=True)


def _require_answer(upstream: str | None) -> None:
    """Check that somebody listens where the model server is to be.

    Raises:
        ConfigurationError: Nobody does.
    """
    if upstream is not None:
        try:
            socket.create_connection(parse_address(upstream), timeout=UPSTREAM_TIMEOUT).close()
        except OSError as error:
            raise ConfigurationError(f"nobody answers at UPSTREAM, {upstream}: {reason_of(error)}") from None


@contextlib.contextmanager
def _on_interrupt(act: Callable[[], None]) -> Iterator[None]:
    """Let the first SIGINT act, and a second one do what it did before; signals are the main thread's, and no other's."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def handle(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        act()

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _start_time(pid: int) -> int:
    """Return the start time of a process in clock ticks, or -1 where there is none: a number may be used again."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except FileNotFoundError:
        return -1
    return int(fields[19])
