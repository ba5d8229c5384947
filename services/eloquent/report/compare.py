"""Two runs, measure by measure: what differs beyond noise.

Rules of this file:

- Every measure is a ratio of sums over sessions (docs/measures.md). The sums of one client in one round are a unit.
- The units are pairs where both runs have the same clients and all their links followed the same schedules, by the digests in the
  manifests: then each unit met the same losses in both. Else the units are two groups.
- `permutation` says how far chance reaches, over all measures of all schemes at once.
- A scheme with failed sessions is not compared: what they would have waited is not known. Nor is a run that is not valid.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from eloquent.errors import ConfigurationError
from eloquent.qoe.session import TOLERANT_THRESHOLD
from eloquent.records.rows import StreamRow
from eloquent.records.run_directory import RunDirectory
from eloquent.report.permutation import LEVEL, PermutationResult, Units, compare_groups, compare_pairs
from eloquent.report.run_data import RenderedSession, RunData, load

Key = tuple[str, int]
"""Client and round: one unit."""

Sums = tuple[float, float]
"""What one session adds above and below the line; (0, 0) where nothing was measured."""


class Verdict(StrEnum):
    """What can be said of a difference."""

    BEYOND = "differs beyond noise"
    WITHIN = "within noise"
    UNKNOWN = "not comparable"


@dataclass(frozen=True, slots=True)
class Measure:
    """One quantity that is compared.

    Attributes:
        name: What it is called.
        unit: `percent`, `seconds` or nothing.
        sums: What a session adds, given what was sent for it.
    """

    name: str
    unit: str
    sums: Callable[[RenderedSession, Sequence[StreamRow]], Sums]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One measure of one scheme in two runs.

    Attributes:
        scheme: Its name.
        measure: What was measured.
        first: Its value in the first run; None where it was not measured.
        second: Its value in the second.
        interval: The 95 % interval of second - first, by itself; None where there is none.
        p: The share of chance assignments in which any measure differs as clearly; None where it cannot be told.
        verdict: What that means.
        why: Why the two are not comparable; nothing where they are.
    """

    scheme: str
    measure: Measure
    first: float | None
    second: float | None
    interval: tuple[float, float] | None
    p: float | None
    verdict: Verdict
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """Two runs side by side.

    Attributes:
        first: The first run.
        second: The second.
        made: What differs in how they were made: name, first, second.
        left_out: Schemes that only one of them has.
        is_paired: Whether each session met the same losses in both.
        units: Units of the first and of the second; of both alike where they are pairs.
        differences: Every measure of every common scheme.
    """

    first: RunData
    second: RunData
    made: list[tuple[str, str, str]]
    left_out: list[str]
    is_paired: bool
    units: tuple[int, int]
    differences: list[Difference]


def _redundancy(_: RenderedSession, sent: Sequence[StreamRow]) -> Sums:
    known = [(row.redundant_bytes, row.original_bytes) for row in sent if row.redundant_bytes is not None]
    return float(sum(again for again, _ in known)), float(sum(once for _, once in known))


def _wire_bytes(_: RenderedSession, sent: Sequence[StreamRow]) -> Sums:
    known = [(row.wire_bytes, row.tokens) for row in sent if row.wire_bytes is not None]
    return float(sum(size for size, _ in known)), float(sum(tokens for _, tokens in known))


def _first_wait(answer: RenderedSession, _: Sequence[StreamRow]) -> Sums:
    return (answer.rendered_s[0] - answer.row.requested_s, 1.0) if answer.rendered_s else (0.0, 0.0)


def _long_stalls(answer: RenderedSession, _: Sequence[StreamRow]) -> Sums:
    return sum(gap for gap in answer.gaps() if gap > TOLERANT_THRESHOLD), answer.measures.stream_s


MEASURES = (
    Measure("stall ratio", "percent", lambda one, _: (one.measures.stall_s, one.measures.stream_s)),
    Measure("at 210 ms", "percent", _long_stalls),
    Measure("stalls/min", "", lambda one, _: (60.0 * one.measures.stalls, one.measures.stream_s)),
    Measure("late tokens", "percent", lambda one, _: (one.measures.late_tokens, one.measures.timed_tokens)),
    Measure("redundancy", "percent", _redundancy),
    Measure("bytes/token", "", _wire_bytes),
    Measure("mean TTFT", "seconds", _first_wait),
)


def compare(first_dir: Path, second_dir: Path) -> RunComparison:
    """Compare two runs.

    Args:
        first_dir: Directory of the first.
        second_dir: Directory of the second.

    Raises:
        ConfigurationError: One is no run, or they have nothing in common that could be compared.
    """
    first, second = load(first_dir), load(second_dir)
    common = [name for name in first.summary.schemes if name in second.summary.schemes]
    if not common:
        ours, theirs = (", ".join(run.summary.schemes) for run in (first, second))
        raise ConfigurationError(
            f"{first_dir} and {second_dir} have no scheme in common: one has {ours}, the other {theirs}"
        )
    for run in (first, second):
        if not any(answer.row.scheme in common for answer in run.answers):
            raise ConfigurationError(f"{run.path} has no session that ended well, so there is nothing to compare")
    is_paired = same_schedules(first, second)
    flawed = [name for name, run in zip("AB", (first, second), strict=True) if not run.summary.is_valid]
    whole = [name for name in common if not any(run.summary.schemes[name].failed for run in (first, second))]
    tests = [(name, measure) for name in whole for measure in MEASURES]
    sums = [_sums(run, whole) for run in (first, second)]
    keys = [sorted(one) for one in sums]
    if is_paired:
        keys = [[key for key in keys[0] if key in sums[1]]] * 2
    why_not = f"not valid: {' and '.join(f'run {name}' for name in flawed)}" if flawed else ""
    outcome = None
    if tests and not flawed and min(map(len, keys)) > 1:
        units = [_units(one, wanted, tests) for one, wanted in zip(sums, keys, strict=True)]
        outcome = (compare_pairs if is_paired else compare_groups)(*units)
    return RunComparison(
        first=first,
        second=second,
        made=what_differs(first, second),
        left_out=sorted(set(first.summary.schemes) ^ set(second.summary.schemes)),
        is_paired=is_paired,
        units=(len(keys[0]), len(keys[1])),
        differences=[_difference(name, one, tests, outcome, why_not=why_not) for name in common for one in MEASURES],
    )


def same_schedules(first: RunData, second: RunData) -> bool:
    """Return whether both runs have the same clients and each link did the same in both, by the digests of the manifests."""
    ours, theirs = _digests(first), _digests(second)
    return bool(ours) and ours == theirs


def what_differs(first: RunData, second: RunData) -> list[tuple[str, str, str]]:
    """Return what differs in how two runs were made: name, first, second; `-` where one does not say."""
    ours, theirs = _made(first), _made(second)
    names = dict.fromkeys((*ours, *theirs))
    return [(name, ours.get(name, "-"), theirs.get(name, "-")) for name in names if ours.get(name) != theirs.get(name)]


def _difference(
    scheme: str,
    measure: Measure,
    tests: Sequence[tuple[str, Measure]],
    outcome: PermutationResult | None,
    *,
    why_not: str,
) -> Difference:
    def unknown(why: str, first: float | None = None, second: float | None = None) -> Difference:
        return Difference(
            scheme=scheme,
            measure=measure,
            first=first,
            second=second,
            interval=None,
            p=None,
            verdict=Verdict.UNKNOWN,
            why=why,
        )

    if (scheme, measure) not in tests:
        return unknown("it has failed sessions")
    if outcome is None:
        return unknown(why_not or "too few sessions")
    place = tests.index((scheme, measure))
    first, second = (None if np.isnan(one[place]) else float(one[place]) for one in (outcome.first, outcome.second))
    if first is None or second is None:
        return unknown("not measured", first, second)
    if outcome.attainable > LEVEL or np.isnan(outcome.low[place]):
        return unknown("too few sessions", first, second)
    p = float(outcome.p[place])
    return Difference(
        scheme=scheme,
        measure=measure,
        first=first,
        second=second,
        interval=(float(outcome.low[place]), float(outcome.high[place])),
        p=p,
        verdict=Verdict.BEYOND if p <= LEVEL else Verdict.WITHIN,
    )


def _sums(run: RunData, schemes: Sequence[str]) -> Mapping[Key, Mapping[tuple[str, str], Sums]]:
    """Return the sums of each unit by scheme and measure."""
    sent: dict[str, list[StreamRow]] = defaultdict(list)
    for row in RunDirectory(run.path).streams():
        sent[row.session].append(row)
    found: dict[Key, dict[tuple[str, str], Sums]] = defaultdict(lambda: defaultdict(lambda: (0.0, 0.0)))
    for answer in run.answers:
        if answer.row.scheme in schemes:
            unit = found[answer.row.client, answer.row.round]
            for measure in MEASURES:
                above, below = measure.sums(answer, sent[answer.row.session])
                before = unit[answer.row.scheme, measure.name]
                unit[answer.row.scheme, measure.name] = (before[0] + above, before[1] + below)
    return found


def _units(
    sums: Mapping[Key, Mapping[tuple[str, str], Sums]], keys: Sequence[Key], tests: Sequence[tuple[str, Measure]]
) -> Units:
    table = np.array([[sums[key].get((scheme, one.name), (0.0, 0.0)) for scheme, one in tests] for key in keys])
    return Units(above=table[:, :, 0], below=table[:, :, 1])


def _digests(run: RunData) -> dict[str, Any]:
    links = run.note("links")
    found = {}
    for link in links if isinstance(links, list) else []:
        schedule = link.get("schedule") if isinstance(link, Mapping) else None
        if not isinstance(schedule, Mapping):
            return {}
        found[str(link.get("name"))] = {way: _digest(one) for way, one in schedule.items()}
    return found


def _digest(schedule: Any) -> Any:
    return schedule.get("digest") if isinstance(schedule, Mapping) else None


def _made(run: RunData) -> dict[str, str]:
    """Return how a run was made, flat; names and places of directories are no part of that."""
    made = {"scenario": run.manifest.scenario.line, "seed": str(run.manifest.seed)}
    made["schemes"] = ", ".join(run.manifest.schemes)
    options, load_options, versions = run.note("options"), run.note("load"), run.note("versions")
    asked = [one for one in (options, load_options) if isinstance(one, Mapping)]
    for key, value in (item for one in asked for item in one.items()):
        if key not in {"scenario", "seed", "schemes", "runs", "topology"} and not key.endswith("_port"):
            made[f"option {key}"] = str(value)
    for key in ("carrier", "datapath"):
        made[key] = str(run.note(key, "name"))
    for key in ("kernel", "congestion_control"):
        made[key.replace("_", " ")] = str(run.note(key))
    for key, value in versions.items() if isinstance(versions, Mapping) else ():
        made[f"version of {key}" if key != "commit" else key] = str(value)
    return made
