"""A run's directory: where its logs lie, and its manifest.

runs/<id>/manifest.json                  what was run, and on what
runs/<id>/sessions|tokens|lag/<client>.csv   written by the client's viewer
runs/<id>/node_lag/<node>.<host>.csv     written by relays, token server and link probe
runs/<id>/kinds/<client>.csv             written by a measurement study
runs/<id>/probes/<client>.csv            written by the client's link probe
runs/<id>/streams/<node>.csv             written by the sending side (origin relay, token server)
runs/<id>/summary.json, summary.md       computed from the above (docs/measures.md)
runs/latest                              a link to the newest
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from eloquent.errors import ConfigurationError
from eloquent.records.rows import KindRow, LagRow, ProbeRow, RowWriter, SessionRow, StreamRow, TokenRow, read_rows


class NamedScenario(BaseModel):
    """The scenario of a run.

    Attributes:
        name: Its name.
        line: Its one-line form.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    line: str


class Manifest(BaseModel):
    """What a run was, as far as its figures depend on it; whoever ran it writes more, which is kept as it is.

    Attributes:
        run: Name of the run and of its directory.
        scenario: The scenario.
        seed: Seed of the schedules.
        schemes: Names of the schemes, in the order of the tables.
        epoch_s: Instant of CLOCK_MONOTONIC at which the schedules start; None before they do.
        measured_s: First and last instant of a load test in which its processes have to keep up; None for other runs.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    run: str
    scenario: NamedScenario
    seed: int
    schemes: tuple[str, ...]
    epoch_s: float | None = None
    measured_s: tuple[float, float] | None = None


class RunDirectory:
    """The files of one run.

    Args:
        path: The directory; it need not exist before something is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, runs: Path, run_id: str) -> "RunDirectory":
        """Make the directory of a new run and let the link `latest` point to it.

        Args:
            runs: The directory of all runs.
            run_id: Name of the run.

        Raises:
            ConfigurationError: There is a run of that name.
        """
        path = runs / run_id
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            raise ConfigurationError(f"there is a run {path} already") from None
        fresh = runs / f".latest-{run_id}"
        fresh.symlink_to(run_id)
        fresh.replace(runs / "latest")
        return cls(path)

    def read_manifest(self) -> Manifest:
        """Return the manifest.

        Raises:
            ConfigurationError: There is none, or it cannot be read.
        """
        path = self.path / "manifest.json"
        try:
            return Manifest.model_validate_json(path.read_bytes())
        except OSError as error:
            raise ConfigurationError(
                f"{self.path} is not a run: cannot read its manifest.json: {error.strerror}"
            ) from None
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise ConfigurationError(f"{path}: {place}: {first['msg']}") from None

    def write_manifest(self, manifest: Mapping[str, object]) -> None:
        """Write the manifest, whole or not at all.

        Args:
            manifest: The keys of `Manifest` and any others, as JSON.
        """
        write_json(self.path / "manifest.json", manifest)

    def session_writer(self, client: str) -> RowWriter[SessionRow]:
        """Open the log of a client's sessions."""
        return RowWriter(self.path / "sessions" / f"{client}.csv", SessionRow)

    def token_writer(self, client: str, *, is_buffered: bool = False) -> RowWriter[TokenRow]:
        """Open the log of the tokens that a client rendered."""
        return RowWriter(self.path / "tokens" / f"{client}.csv", TokenRow, is_buffered=is_buffered)

    def kind_writer(self, client: str) -> RowWriter[KindRow]:
        """Open the log of what the tokens are that are no text."""
        return RowWriter(self.path / "kinds" / f"{client}.csv", KindRow)

    def lag_writer(self, client: str) -> RowWriter[LagRow]:
        """Open the log of the lag of a client's event loop."""
        return RowWriter(self.path / "lag" / f"{client}.csv", LagRow)

    def node_lag_path(self, node: str, host: str) -> Path:
        """Return where a node logs the lag of its event loop.

        Args:
            node: What it is, such as `edge_relay`.
            host: Where it is.
        """
        return self.path / "node_lag" / f"{node}.{host}.csv"

    def stream_writer(self, node: str) -> RowWriter[StreamRow]:
        """Open the log of the streams that a node sent."""
        return RowWriter(self.path / "streams" / f"{node}.csv", StreamRow)

    def probe_writer(self, client: str) -> RowWriter[ProbeRow]:
        """Open the log of the probes of a client's link."""
        return RowWriter(self.path / "probes" / f"{client}.csv", ProbeRow)

    def sessions(self) -> Iterator[SessionRow]:
        """Yield the sessions of all clients."""
        for path in self._logs("sessions"):
            yield from read_rows(path, SessionRow)

    def tokens(self) -> Iterator[TokenRow]:
        """Yield the tokens of all clients, those of one session in the order in which they were rendered."""
        for path in self._logs("tokens"):
            yield from read_rows(path, TokenRow)

    def kinds(self) -> Iterator[KindRow]:
        """Yield what the tokens of all clients are that are no text; none where nobody wrote a log of them."""
        for path in self._logs("kinds"):
            yield from read_rows(path, KindRow)

    def lags(self) -> Iterator[tuple[str, LagRow]]:
        """Yield the lag samples of all who took some, each with the name of its log."""
        for path in self._logs("lag"):
            for row in read_rows(path, LagRow):
                yield path.stem, row

    def node_lags(self) -> Iterator[tuple[str, str, LagRow]]:
        """Yield the lag of the nodes' event loops, as far as they logged it, each with what the node is, and where."""
        for path in self._logs("node_lag"):
            node, _, host = path.stem.partition(".")
            for row in read_rows(path, LagRow):
                yield node, host, row

    def streams(self) -> Iterator[StreamRow]:
        """Yield the streams of all sending nodes."""
        for path in self._logs("streams"):
            yield from read_rows(path, StreamRow)

    def probes(self) -> Iterator[tuple[str, ProbeRow]]:
        """Yield the probes of all links, each with the name of its client."""
        for path in self._logs("probes"):
            for row in self.probes_of(path.stem):
                yield path.stem, row

    def probes_of(self, client: str) -> Iterator[ProbeRow]:
        """Yield the probes of one client's link."""
        yield from read_rows(self.path / "probes" / f"{client}.csv", ProbeRow)

    def _logs(self, folder: str) -> list[Path]:
        return sorted((self.path / folder).glob("*.csv"))


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old one or the new one, never half of it."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def write_json(path: Path, value: object) -> None:
    """Write a value as indented JSON, whole or not at all; numbers that are not finite are refused."""
    write_whole(path, json.dumps(value, indent=2, allow_nan=False) + "\n")
