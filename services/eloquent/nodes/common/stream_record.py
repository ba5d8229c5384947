"""Who a stream belongs to, and what it cost its sender: a row in the run's log, the same numbers in the metrics."""

import argparse
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from eloquent import schemes, telemetry
from eloquent.calls import names
from eloquent.nodes.common import runtime
from eloquent.records.rows import RowWriter, StreamRow
from eloquent.records.run_directory import RunDirectory

DEFAULT_SCHEMES = tuple(scheme.name for scheme in schemes.defaults() if scheme.kind != "bound")


def add_flags(parser: argparse.ArgumentParser, node: str) -> None:
    """Give a sender's parser the flags that `StreamRecorder.open` reads."""
    add, listed = parser.add_argument, runtime.comma_separated
    text = "client labels of the metrics; any other is 'other'"
    add("--known-clients", type=listed, default=(), metavar="A,B", help=text)
    text = f"scheme labels, likewise ({','.join(DEFAULT_SCHEMES)})"
    add("--known-schemes", type=listed, default=DEFAULT_SCHEMES, metavar="A,B", help=text)
    add("--run-dir", type=Path, metavar="DIR", help=f"write streams/{node}.csv of this run")


@dataclass(frozen=True, slots=True)
class StreamOwner:
    """Whose stream a call is, as its metadata says.

    Attributes:
        session: `<client>.<scheme>.r<round>`, or empty.
        client: Name of the client, or empty.
        scheme: Name of the scheme, or empty.
    """

    session: str
    client: str
    scheme: str

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> Self:
        """Read a call's metadata."""
        keys = (names.SESSION_KEY, names.CLIENT_KEY, names.SCHEME_KEY)
        return cls(*(metadata.get(key, "") for key in keys))


@dataclass(frozen=True, slots=True)
class Spent:
    """What a stream has cost so far, in its sender's direction, and by what; the fields are those of the log (`StreamRow`)."""

    original_bytes: int = 0
    redundant_bytes: int = 0
    packets: int = 0
    wire_bytes: int = 0
    congestion_control: str = ""


class StreamRecorder:
    """Records what each stream cost its sender.

    Args:
        metrics: Where costs are counted.
        known_clients: The client labels; any other name is counted as `other`.
        known_schemes: The scheme labels, likewise.
        log: Where ended streams are written; `None` writes none.
    """

    def __init__(
        self,
        metrics: telemetry.SenderMetrics,
        known_clients: Collection[str] = (),
        known_schemes: Collection[str] = DEFAULT_SCHEMES,
        log: RowWriter[StreamRow] | None = None,
    ) -> None:
        self._metrics = metrics
        self._known_clients = frozenset(known_clients)
        self._known_schemes = frozenset(known_schemes)
        self._log = log

    @classmethod
    def open(cls, metrics: telemetry.SenderMetrics, flags: argparse.Namespace, node: str) -> Self:
        """Make a recorder as the flags say, which writes `streams/<node>.csv` if they name a run's directory."""
        log = RunDirectory(flags.run_dir).stream_writer(node) if flags.run_dir else None
        return cls(metrics, flags.known_clients, flags.known_schemes, log)

    def scheme_label(self, scheme: str) -> str:
        """Return the name of a scheme as metrics say it."""
        return telemetry.closed(scheme, self._known_schemes)

    def count(self, owner: StreamOwner, before: Spent, after: Spent) -> None:
        """Count what a stream has cost between two instants."""
        labels = telemetry.closed(owner.client, self._known_clients), self.scheme_label(owner.scheme)
        metrics = self._metrics
        metrics.original_bytes.labels(*labels).inc(after.original_bytes - before.original_bytes)
        metrics.redundant_bytes.labels(*labels).inc(after.redundant_bytes - before.redundant_bytes)
        metrics.wire_bytes.labels(*labels).inc(after.wire_bytes - before.wire_bytes)

    def write(self, owner: StreamOwner, tokens: int, spent: Spent) -> None:
        """Log a stream that has ended, unless it is background load or nobody's."""
        if self._log is None or not runtime.is_logged(owner.session):
            return
        self._log.write(
            StreamRow(
                session=owner.session,
                client=owner.client,
                scheme=owner.scheme,
                tokens=tokens,
                original_bytes=spent.original_bytes,
                redundant_bytes=spent.redundant_bytes,
                packets=spent.packets,
                wire_bytes=spent.wire_bytes,
                congestion_control=spent.congestion_control,
            )
        )

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()
