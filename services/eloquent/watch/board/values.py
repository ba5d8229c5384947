"""What Prometheus knows, in the form in which a page draws it.

Rules of this file: all charts of an answer share one row of instants, whole multiples of the step, so that a chart moves by whole
points. A value that is missing or not a number is null. Names and colours of schemes come from the registry.
"""

import asyncio
import itertools
import re
import time
from collections.abc import Sequence
from typing import Any

from eloquent.watch.board.selection import Selection
from eloquent.watch.naming import describe_scheme, natural_place, scheme_place
from eloquent.watch.panels import Panel, Query
from eloquent.watch.prometheus import Prometheus, Series

_FIELD = re.compile(r"\{\{(\w+)\}\}")


async def read_values(prometheus: Prometheus, selection: Selection, *, now: float | None = None) -> dict[str, Any]:
    """Ask everything that the chosen panels show.

    Args:
        prometheus: Whom to ask.
        selection: What the page wants.
        now: End of the charts, in seconds of Unix time.

    Returns:
        `times`, the shared instants, and `panels` with the series of each.

    Raises:
        PrometheusError: It does not answer.
    """
    step = selection.step
    end = (time.time() if now is None else now) // step * step
    times = [end - step * back for back in reversed(range(round(selection.span / step) + 1))]
    panels = await asyncio.gather(
        *(_panel(prometheus, selection, place, panel, times) for place, panel in selection.panels.items())
    )
    return {"times": times, "step": step, "panels": panels}


async def _panel(
    prometheus: Prometheus, selection: Selection, place: int, panel: Panel, times: Sequence[float]
) -> dict[str, Any]:
    answers = await asyncio.gather(*(_ask(prometheus, selection, query, times) for query in panel.queries))
    found = [(number, query, one) for number, query in enumerate(panel.queries) for one in answers[number]]
    if panel.kind == "heatmap":
        return {"panel": place, **_buckets([one for *_, one in found], times)}
    ordered = sorted(found, key=lambda one: (*_place(one[2].labels, one[1].legend), one[0]))
    return {"panel": place, "series": [_describe(number, query, one, times) for number, query, one in ordered]}


async def _ask(prometheus: Prometheus, selection: Selection, query: Query, times: Sequence[float]) -> list[Series]:
    expr = selection.fill(query)
    if query.instant:
        return await prometheus.instant(expr)
    return await prometheus.range(expr, start=times[0], end=times[-1], step=selection.step)


def _describe(number: int, query: Query, series: Series, times: Sequence[float]) -> dict[str, Any]:
    """Return the name, the colour and the values of a series; `query` is the place of its query in the panel."""
    described: dict[str, Any] = {
        "name": _FIELD.sub(lambda field: _shown(field[1], series.labels.get(field[1], "")), query.legend).strip(),
        "colour": _colour(series.labels.get("scheme", "")),
        "query": number,
    }
    if query.instant:
        return {**described, "value": series.latest}
    return {**described, "values": _align(series, times)}


def _align(series: Series, times: Sequence[float]) -> list[float | None]:
    values = {round(at, 3): value for at, value in series.points}
    return [values.get(round(at, 3)) for at in times]


def _buckets(cumulative: list[Series], times: Sequence[float]) -> dict[str, Any]:
    """Turn the cumulative buckets of a histogram into rows of their own, the lowest first."""
    ordered = sorted(cumulative, key=lambda series: float(series.labels["le"]))
    nothing: list[float | None] = [0.0] * len(times)
    rows = []
    for below, row in itertools.pairwise([nothing, *(_align(series, times) for series in ordered)]):
        rows.append(
            [None if high is None else max(0.0, high - (low or 0.0)) for low, high in zip(below, row, strict=True)]
        )
    return {"bounds": [series.labels["le"] for series in ordered], "rows": rows}


def _shown(label: str, value: str) -> str:
    return describe_scheme(value)["label"] if label == "scheme" else value.replace("_", " ")


def _colour(scheme: str) -> str | None:
    return describe_scheme(scheme)["colour"] or None


def _place(labels: dict[str, str], legend: str) -> tuple[list[tuple[int, str]], ...]:
    """Return the place of a series among others of its legend: c2 before c10, schemes in the order of the registry."""
    values = [(field, labels.get(field, "")) for field in _FIELD.findall(legend)]
    return tuple(scheme_place(value) if field == "scheme" else natural_place(value) for field, value in values)
