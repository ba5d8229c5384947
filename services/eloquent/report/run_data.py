"""What a report draws: a run's manifest, figures and, session by session, when each token was rendered."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eloquent.errors import ConfigurationError
from eloquent.qoe.session import SessionMeasures, gaps, measure
from eloquent.records.rows import ENDED_WELL, ProbeRow, SessionRow, TokenRow
from eloquent.records.run_directory import Manifest, RunDirectory
from eloquent.report.figures import Summary, compute


@dataclass(frozen=True, slots=True)
class RenderedSession:
    """One session that ended well.

    Attributes:
        row: Its line in the log.
        rendered_s: When each token was rendered, in order, on the clock of the run.
        measures: Its sums.
    """

    row: SessionRow
    rendered_s: tuple[float, ...]
    measures: SessionMeasures

    def gaps(self) -> list[float]:
        """Return the seconds between consecutive renderings."""
        return gaps(self.rendered_s)


@dataclass(frozen=True, kw_only=True)
class RunData:
    """One run, read.

    Attributes:
        path: Its directory.
        manifest: What its figures depend on.
        made: Everything else that the manifest holds: how it was made. Of a foreign or broken run, so look before use.
        summary: Its figures.
        answers: Its sessions that ended well.
        logged: All its logged sessions.
        probes: The probes of each client's link within the window of the sessions.
    """

    path: Path
    manifest: Manifest
    made: Mapping[str, Any]
    summary: Summary
    answers: tuple[RenderedSession, ...]
    logged: tuple[SessionRow, ...]
    probes: Mapping[str, tuple[ProbeRow, ...]]

    @property
    def clients(self) -> list[str]:
        """Names of the clients with a logged session, c2 before c10."""
        return sorted({row.client for row in self.logged}, key=lambda name: (len(name), name))

    @property
    def origin_s(self) -> float:
        """Where the time axis of a plot begins: the epoch of the schedules, or else the first request."""
        if self.manifest.epoch_s is not None:
            return self.manifest.epoch_s
        return min((row.requested_s for row in self.logged), default=0.0)

    def of(self, scheme: str) -> list[RenderedSession]:
        """Return the answers of one scheme."""
        return [answer for answer in self.answers if answer.row.scheme == scheme]

    def note(self, *keys: str) -> Any:
        """Return what stands in the manifest under nested keys, or None where there is nothing of the kind."""
        value: Any = self.made
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value


def load(path: Path) -> RunData:
    """Read a run.

    Args:
        path: The run's directory, with a manifest.

    Raises:
        ConfigurationError: The directory holds no run, or a log cannot be read.
    """
    try:
        return _read(RunDirectory(path))
    except ValueError as error:  # such as times that run backwards
        raise ConfigurationError(f"the logs of {path} make no sense: {error}") from None


def _read(run: RunDirectory) -> RunData:
    manifest = run.read_manifest()
    tokens: dict[str, list[TokenRow]] = defaultdict(list)
    for token in run.tokens():
        tokens[token.session].append(token)
    logged = tuple(run.sessions())
    first = min((row.requested_s for row in logged), default=0.0)
    last = max((row.ended_s for row in logged), default=0.0)
    probes: dict[str, list[ProbeRow]] = defaultdict(list)
    for client, probe in run.probes():
        if first <= probe.sent_s <= last:
            probes[client].append(probe)
    return RunData(
        path=run.path,
        manifest=manifest,
        made=manifest.model_extra or {},
        summary=compute(run),
        answers=tuple(_answer(row, tokens[row.session]) for row in logged if row.outcome in ENDED_WELL),
        logged=logged,
        probes={client: tuple(rows) for client, rows in probes.items()},
    )


def _answer(row: SessionRow, tokens: list[TokenRow]) -> RenderedSession:
    rendered = tuple(token.rendered_s for token in tokens)
    return RenderedSession(row, rendered, measure(rendered, [token.generated_s for token in tokens]))
