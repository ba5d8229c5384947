"""The sending side of the link probe: probes leave at absolute instants, and what became of them is counted and logged."""

import os
import selectors
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from eloquent import telemetry
from eloquent.addresses import Address, family_of, parse_address
from eloquent.errors import ConfigurationError
from eloquent.nodes.common.lag import LagLog
from eloquent.nodes.link_probe.probes import LOST_AFTER, MAX_DATAGRAM, Link
from eloquent.records.rows import ProbeRow, RowWriter
from eloquent.records.run_directory import RunDirectory


class ProbeSender:
    """One link's socket, metrics and log.

    Args:
        client: Name of the client at the link's end.
        address: Its reflector's.
        metrics: Where probes are counted.
        log: Where they are logged; `None` logs nothing.
    """

    def __init__(
        self,
        client: str,
        address: Address,
        metrics: telemetry.ProbeMetrics,
        log: RowWriter[ProbeRow] | None = None,
    ) -> None:
        self.link = Link(int.from_bytes(os.urandom(4)))
        self.socket = socket.socket(family_of(address[0]), socket.SOCK_DGRAM)
        self.socket.settimeout(0)
        self._address = address
        self._log = log
        self._sent = {way: metrics.probes.labels(client, way) for way in ("down", "up")}
        self._lost = {way: metrics.lost.labels(client, way) for way in ("down", "up")}
        self._metrics = metrics
        self._client = client

    def send(self) -> None:
        """Send a probe; one that the kernel does not take, such as for a full socket, was never under way."""
        probe = self.link.probe(now=time.monotonic())
        try:
            self.socket.sendto(probe, self._address)
        except OSError:
            self.link.withdraw()

    def receive(self) -> None:
        """Take an echo that waits."""
        try:
            data = self.socket.recv(MAX_DATAGRAM)
        except OSError:
            return  # nothing there after all, or what ICMP said of an earlier probe
        self.link.take_echo(data, now=time.monotonic())

    def settle(self) -> None:
        """Count and log the probes whose fate is known."""
        for probe in self.link.settled(now=time.monotonic()):
            self._count("down", lost=probe.received_s is None)
            if probe.received_s is not None:
                self._count("up", lost=probe.rtt_s is None)
            if probe.rtt_s is not None:
                self._metrics.rtt.labels(self._client).set(probe.rtt_s)
            if self._log is not None:
                self._log.write(ProbeRow(probe.sequence, probe.sent_s, probe.received_s, probe.rtt_s))

    def close(self) -> None:
        """Close the socket and the log."""
        self.socket.close()
        if self._log is not None:
            self._log.close()

    def _count(self, way: str, *, lost: bool) -> None:
        self._sent[way].inc()
        if lost:
            self._lost[way].inc()


def send(
    to: Sequence[str], *, interval: float, metrics: str | None, run_dir: str | None, lag_log: Path | None = None
) -> None:
    """Probe links until SIGTERM, then wait for what is under way.

    Args:
        to: Reflectors, each `CLIENT=HOST:PORT`.
        interval: Seconds between two probes of one link; the links take turns within it.
        metrics: `HOST:PORT` of the metrics page, if wanted.
        run_dir: Directory of the run whose logs are written, if wanted.
        lag_log: File that tells how late probes left, if wanted.

    Raises:
        ConfigurationError: An address or the interval is unusable.
    """
    if not 0.001 <= interval < float("inf"):
        raise ConfigurationError(f"--interval {interval} is not a time of at least 0.001 s")
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    links = [item.partition("=")[::2] for item in to]
    addresses = {client: parse_address(address) for client, address in links}
    counted = telemetry.ProbeMetrics()
    run = RunDirectory(Path(run_dir)) if run_dir else None
    senders = [
        ProbeSender(client, address, counted, run.probe_writer(client) if run else None)
        for client, address in addresses.items()
    ]
    lag = LagLog(lag_log) if lag_log else None
    if metrics:
        telemetry.serve(metrics)
    print("ready", flush=True)
    start, turn = time.monotonic(), 0
    with selectors.DefaultSelector() as selector:
        for sender in senders:
            selector.register(sender.socket, selectors.EVENT_READ, sender)
        while not stopped:
            due = start + turn * interval / len(senders)
            _receive(selector, until=due)
            if (late := time.monotonic() - due) >= 0:
                if lag is not None:
                    lag.note_due(due, late)
                sender = senders[turn % len(senders)]
                sender.settle()
                sender.send()
                turn += 1
        end = time.monotonic() + LOST_AFTER
        while any(sender.link.open for sender in senders) and time.monotonic() < end:
            _receive(selector, until=end)
            for sender in senders:
                sender.settle()
    if lag is not None:
        lag.close()
    for sender in senders:
        sender.settle()
        sender.close()


def _receive(selector: selectors.BaseSelector, *, until: float) -> None:
    """Wait for echoes, at most to the given instant, and settle what each tells."""
    for key, _ in selector.select(max(0.0, until - time.monotonic())):
        key.data.receive()
        key.data.settle()
