"""Several runs to one: the sessions of all valid labs in one run directory, of which figures and report are made as ever.

Rules of this file:

- Clients have a name of their own in the whole fleet (orders.py), so sessions keep theirs.
- Every lab has a clock of its own. The instants of a lab are moved so that its schedules begin at 0: what is computed of them
  is differences within one lab, and the loss that a schedule had in store.
- Whether a lab was valid is decided for each (report/validity.py): an idle machine does not make up for a starved one.
- Nothing is pooled of a lab that was not valid, ended early, or was lost. The run says which, and why.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

from eloquent.errors import ConfigurationError
from eloquent.fleet.fleet import LabEnd
from eloquent.records.rows import RowWriter
from eloquent.records.run_directory import Manifest, RunDirectory
from eloquent.report.figures import compute

ALIKE = ("carrier", "datapath", "kernel", "congestion_control", "versions")
"""Keys of a manifest that the labs of a fleet should have alike."""

_Row = TypeVar("_Row")


@dataclass(frozen=True)
class JudgedLab:
    """A lab of a fleet, after its end.

    Attributes:
        end: How it ended.
        run: The run directory whose sessions are meant: that of its load, if there was one; None where there are no records.
        faults: Why its sessions are not pooled; empty where they are.
    """

    end: LabEnd
    run: RunDirectory | None
    faults: tuple[str, ...]

    @property
    def name(self) -> str:
        """What it is called."""
        return self.end.order.name

    def complaint(self) -> str | None:
        """Return in a sentence why its sessions are not pooled; None where they are."""
        if not self.faults:
            return None
        where = f" on {self.end.host} ({self.end.worker})" if self.end.worker else ""
        return f"{self.name}{where} is not pooled: {'; '.join(self.faults)}"


def judge(end: LabEnd, folder: Path) -> JudgedLab:
    """Say whether a lab's sessions can be pooled.

    Args:
        end: How it ended.
        folder: Of its records.
    """
    if end.failure is not None:
        return JudgedLab(end, None, (end.failure,))
    run = RunDirectory(folder if end.order.load is None else folder / "load-1")
    try:
        manifest, summary = run.read_manifest(), compute(run)
    except ConfigurationError as error:
        return JudgedLab(end, None, (str(error),))
    faults = [f"it is not valid: {flaw}" for flaw in summary.flaws]
    if (manifest.model_extra or {}).get("partial") is True:
        faults.append("its load test ended early")
    if _zero(manifest) is None:
        faults.append("its rounds did not begin")
    return JudgedLab(end, run, tuple(faults))


def pool(labs: Sequence[JudgedLab], into: RunDirectory, *, warnings: Iterable[str] = ()) -> None:
    """Write one run: its manifest, and the logs of all labs that can be pooled.

    Args:
        labs: All labs of the fleet.
        into: The run's directory, which exists.
        warnings: What else makes the run's numbers less than they claim to be.
    """
    pooled = [(lab, lab.run, lab.run.read_manifest()) for lab in labs if lab.run is not None and not lab.faults]
    for lab, run, manifest in pooled:
        _copy_logs(lab.name, run, into, zero=_zero(manifest) or 0.0)
    manifests = {lab.name: manifest for lab, _, manifest in pooled}
    first = labs[0].end.order
    options, load = first.options, first.load
    clients = sum(lab.end.order.options.clients for lab in labs)
    alike, differing = _compare(manifests)
    into.write_manifest(
        {
            "run": into.path.name,
            "scenario": {"name": options.scenario.name, "line": options.scenario.to_line()},
            "seed": options.seed,
            "schemes": list(options.schemes if load is None else load.schemes),
            "epoch_s": None if any(one.epoch_s is None for one in manifests.values()) else 0.0,
            **({} if load is None or not pooled else {"measured_s": _measured(manifests.values())}),
            **alike,
            **(
                {"options": options.model_dump(mode="json") | {"clients": clients}}
                if load is None
                else {"load": load.model_dump(mode="json") | {"users": sum(_users(lab) for lab in labs)}}
            ),
            **_quality([manifest.model_extra or {} for manifest in manifests.values()]),
            "labs": [_describe(lab, into.path) for lab in labs],
            "warnings": [
                *filter(None, (lab.complaint() for lab in labs)),
                *warnings,
                *(f"the pooled labs differ in {key}: each tells its own" for key in differing),
                *(
                    f"{name}: {warning}"
                    for name, one in manifests.items()
                    for warning in (one.model_extra or {}).get("warnings", ())
                ),
            ],
        }
    )


def _users(lab: JudgedLab) -> int:
    load = lab.end.order.load
    return 0 if load is None else load.users


def _describe(lab: JudgedLab, folder: Path) -> dict[str, Any]:
    order = lab.end.order
    return {
        "name": lab.name,
        "worker": lab.end.worker,
        "host": lab.end.host,
        "first_client": order.options.first_client,
        "clients": order.options.clients,
        "users": _users(lab),
        "faults": list(lab.faults),
        "manifest": None if lab.run is None else str(lab.run.path.relative_to(folder) / "manifest.json"),
    }


def _zero(manifest: Manifest) -> float | None:
    """Return the instant of a lab's clock that becomes 0: when its schedules began, or its load on a ride was measured."""
    if manifest.epoch_s is not None:
        return manifest.epoch_s
    return None if manifest.measured_s is None else manifest.measured_s[0]


def _measured(manifests: Iterable[Manifest]) -> tuple[float, float]:
    """Return the time in which the users of all labs were there."""
    windows = [(one.measured_s, _zero(one) or 0.0) for one in manifests]
    moved = [(window[0] - zero, window[1] - zero) for window, zero in windows if window is not None]
    return max(begin for begin, _ in moved), min(end for _, end in moved)


def _compare(manifests: Mapping[str, Manifest]) -> tuple[dict[str, Any], list[str]]:
    """Return what all labs have alike of the keys that they should, and the keys that they have not."""
    made = [one.model_extra or {} for one in manifests.values()]
    found = {key: [one.get(key) for one in made] for key in ALIKE}
    alike = {key: values[0] for key, values in found.items() if values and all(one == values[0] for one in values)}
    return alike, [key for key, values in found.items() if values and key not in alike]


def _quality(made: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return how well the labs were run, and their links with their tests and schedules."""
    late = [one["lateness"] for one in made if one.get("lateness", {}).get("p99_s") is not None]
    return {
        "lateness": max(late, key=lambda one: one["p99_s"]) if late else None,  # of the lab whose links were the latest
        "links": [link for one in made for link in one.get("links", ())],
        "directions": [direction for one in made for direction in one.get("directions", ())],
    }


def _copy_logs(name: str, run: RunDirectory, into: RunDirectory, *, zero: float) -> None:
    """Copy the logs of a lab, its instants moved so that one of them is 0."""

    def moved(at: float) -> float:
        return round(at - zero, 9)

    def perhaps(at: float | None) -> float | None:
        return None if at is None else moved(at)

    _copy(
        run.sessions(),
        into.session_writer(name),
        lambda row: replace(row, requested_s=moved(row.requested_s), ended_s=moved(row.ended_s)),
    )
    _copy(
        run.tokens(),
        into.token_writer(name),
        lambda row: replace(row, generated_s=perhaps(row.generated_s), rendered_s=moved(row.rendered_s)),
    )
    for who, rows in groupby(run.lags(), key=itemgetter(0)):  # each for itself, as their lag is judged
        _copy(
            (row for _, row in rows), into.lag_writer(f"{name}-{who}"), lambda row: replace(row, at_s=moved(row.at_s))
        )
    _copy(run.streams(), into.stream_writer(name), lambda row: row)
    for client in sorted({client for client, _ in run.probes()}):
        _copy(
            run.probes_of(client),
            into.probe_writer(client),
            lambda row: replace(row, sent_s=moved(row.sent_s), received_s=perhaps(row.received_s)),
        )


def _copy(rows: Iterable[_Row], writer: RowWriter[Any], move: Callable[[_Row], _Row]) -> None:
    with writer:
        for row in rows:
            writer.write(move(row))
