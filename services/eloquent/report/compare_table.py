"""The comparison of two runs on the screen: first what differs in how they were made, then measure by measure."""

from collections.abc import Iterator
from itertools import groupby

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from eloquent.report.compare import Difference, Measure, RunComparison, Verdict
from eloquent.report.permutation import LEVEL
from eloquent.report.run_data import RunData
from eloquent.report.story import shortcomings, warnings
from eloquent.report.styles import label, printable

_STYLES = {Verdict.BEYOND: "bold yellow", Verdict.WITHIN: "", Verdict.UNKNOWN: "dim"}


def render(comparison: RunComparison) -> Group:
    """Make the comparison for the terminal.

    Args:
        comparison: The two runs, A and B.
    """
    first, second = comparison.first, comparison.second
    heads = [Text(f"A: {_title(first)}"), Text(f"B: {_title(second)}")]
    remarks = [*_remarks("A", first), *_remarks("B", second)]
    return Group(*heads, *remarks, *_made(comparison), Text(), _figures(comparison), *map(Text, _reading(comparison)))


def _title(run: RunData) -> str:
    return f"{printable(run.manifest.run)} ({printable(str(run.path))})"


def _remarks(name: str, run: RunData) -> Iterator[Text]:
    for line in run.summary.flaws:
        yield Text(f"{name}: not valid: {printable(line)}", style="bold red")
    for line in warnings(run):
        yield Text(f"{name}: warning: {line}", style="bold red")
    for line in shortcomings(run):
        yield Text(f"{name}: partial: {line}", style="bold red")


def _made(comparison: RunComparison) -> Iterator[RenderableType]:
    yield Text()
    if not comparison.made:
        yield Text("Both were made alike, by all that their manifests tell.")
        return
    table = Table("made differently", "A", "B", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for row in comparison.made:
        table.add_row(*(Text(printable(cell)) for cell in row))
    yield table


def _figures(comparison: RunComparison) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("measure", no_wrap=True)
    for heading in ("A", "B", "B − A", "95 % CI", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for scheme, measures in groupby(comparison.differences, key=lambda one: one.scheme):
        table.add_row(Text(label(scheme), style="bold"))
        for one in measures:
            table.add_row(
                f"  {one.measure.name}",
                _value(one.measure, one.first),
                _value(one.measure, one.second),
                *_change(one),
                "-" if one.p is None else f"{one.p:.2f}" if one.p >= 0.01 else f"{one.p:.4f}",
                Text(str(one.verdict).removeprefix("differs "), style=_STYLES[one.verdict]),
            )
    return table


def _reading(comparison: RunComparison) -> Iterator[str]:
    yield ""
    for scheme, measures in groupby(comparison.differences, key=lambda one: one.scheme):
        for why, alike in groupby((one for one in measures if one.why), key=lambda one: one.why):
            names = ", ".join(one.measure.name for one in alike)
            yield f"Not comparable for {label(scheme)} ({names}): {why}."
    ours, theirs = comparison.units
    if comparison.is_paired:
        yield (
            f"Paired by client and round, {ours} pairs: the links followed the same schedules in both runs, "
            "slot by slot (digests of the manifests)."
        )
    else:
        yield f"Unpaired, {ours} against {theirs} clients and rounds: the links did not follow the same schedules."
    yield (
        f"p allows for all {len(comparison.differences)} comparisons at once (permutation test, largest |t|): if nothing "
        f"differed, a table like this would call anything at all different with a probability of {LEVEL:.0%} at most."
    )
    yield (
        "The intervals are each measure's own (pp: percentage points), so that one of them may leave out 0 where the "
        "verdict sees noise."
    )
    if comparison.left_out:
        yield f"Only one of the runs has {', '.join(map(label, comparison.left_out))}."


def _value(measure: Measure, value: float | None, *, sign: str = "") -> str:
    if value is None:
        return "-"
    match measure.unit:
        case "percent":
            return f"{_rounded(value * 100, 1):{sign}.1f}{' pp' if sign else '%'}"
        case "seconds":
            return f"{_rounded(value * 1e3, 0):{sign}.0f} ms"
        case _:
            return f"{_rounded(value, 1):{sign}.1f}"


def _rounded(value: float, digits: int) -> float:
    return round(value, digits) + 0.0  # no negative zero


def _change(one: Difference) -> tuple[str, str]:
    """Return the difference, and its interval."""
    if one.first is None or one.second is None:
        return "-", "-"
    change = _value(one.measure, one.second - one.first, sign="+")
    if one.interval is None:
        return change, "-"
    return change, " … ".join(_value(one.measure, end, sign="+").rstrip(" pms") for end in one.interval)
