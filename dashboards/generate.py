# ruff: noqa: INP001, FBT003  (a file that is run by its path; the setters of the SDK take what they set so)
"""Turn the panels of `eloquent.watch.panels` into Grafana's dashboards, with Grafana's own SDK: `make dashboards`.

Rules of this file: nothing about a panel is decided here that the board would have to know too; that stands in the
definition. What is decided here is how Grafana draws it.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from string import Template

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from eloquent.watch.panels import ANYTHING, DASHBOARDS, Dashboard, Kind, Panel, Query, Threshold

FOLDER = Path(__file__).parent / "grafana" / "dashboards"
DATASOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
COLOURS = {"good": "green", "warning": "yellow", "bad": "red"}
HEIGHT = 8  # rows of Grafana's grid
# Where the values of a variable are found, beside the jobs: a metric that every run, or every relay, has.
SOURCES = {
    "instance": 'label_values(eloquent_sessions{job=~"$job"}, instance)',
    "scenario": 'label_values(eloquent_run_info{job=~"$job"}, scenario)',
    "client": 'label_values(eloquent_link_probes_total{job=~"$job",scenario=~"$scenario"}, client)',
    "scheme": 'label_values(eloquent_rendered_tokens_total{job=~"$job",scenario=~"$scenario"}, scheme)',
}


def dashboards() -> Iterator[tuple[str, str]]:
    """Yield the name of each file and its text."""
    for dashboard in DASHBOARDS:
        text = json.dumps(_dashboard(dashboard).build(), cls=JSONEncoder, indent=1, sort_keys=True)
        yield f"{dashboard.title.lower().replace(' ', '-')}.json", f"{text}\n"


def _dashboard(dashboard: Dashboard) -> build.Dashboard:
    built = (
        build.Dashboard(f"Eloquent · {dashboard.title}")
        .uid(dashboard.uid)
        .description(dashboard.description)
        .tags(["eloquent"])
        .readonly()
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .time("now-15m", "now")
        .refresh("5s")
        .timezone("browser")
        .link(
            build.DashboardLink("Other dashboards")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags(["eloquent"])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(build.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    built.with_variable(_variable("job", f"label_values({dashboard.presence}, job)"))
    for name, source in SOURCES.items():
        if name in dashboard.variables:
            built.with_variable(_variable(name, source))
    for number, panel in enumerate(dashboard.panels, 1):
        built.with_panel(_panel(panel).id(number))
    return built


def _variable(name: str, source: str) -> build.QueryVariable:
    return (
        build.QueryVariable(name)
        .label(name.title())
        .datasource(DATASOURCE)
        .query(source)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.NATURAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(ANYTHING)
        .current(model.VariableOption(text="All", value="$__all"))
    )


def _panel(panel: Panel) -> "AnyPanel":
    drawn = KINDS[panel.kind](panel)
    drawn.title(panel.title).description(panel.description).datasource(DATASOURCE).unit(panel.unit)
    drawn.span(panel.width).height(HEIGHT).thresholds(_thresholds(panel.thresholds))
    for letter, query in zip("ABCDEFGH", panel.queries, strict=False):
        drawn.with_target(_target(query, panel).ref_id(letter))
    return drawn


def _target(query: Query, panel: Panel) -> prometheus.Dataquery:
    expr = Template(query.expr).safe_substitute(window="$__rate_interval")
    target = prometheus.Dataquery().expr(expr).legend_format(query.legend).datasource(DATASOURCE)
    if panel.kind == "table":
        target.format(PromQueryFormat.TABLE)
    elif query.heatmap:
        target.format(PromQueryFormat.HEATMAP)
    return target.instant() if query.instant else target.range()


def _thresholds(thresholds: Sequence[Threshold]) -> build.ThresholdsConfig:
    steps = [model.Threshold(value=None, color=COLOURS["good"])]
    steps += [model.Threshold(value=threshold.value, color=COLOURS[threshold.level]) for threshold in thresholds]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def _timeseries(panel: Panel) -> timeseries.Panel:
    """Lines, of which each name has its own colour on every panel; thresholds are dashed lines."""
    style = common.GraphThresholdsStyleMode.DASHED if panel.thresholds else common.GraphThresholdsStyleMode.OFF
    return (
        timeseries.Panel()
        .min(0)
        .line_width(2)
        .fill_opacity(8)
        .show_points(common.VisibilityMode.NEVER)
        .color_scheme(build.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .thresholds_style(common_builders.GraphThresholdsStyleConfig().mode(style))
        .tooltip(common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
        .legend(
            common_builders.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )


def _stat(panel: Panel) -> stat.Panel:
    """The present value of each series, coloured by the thresholds."""
    mode = common.BigValueColorMode.VALUE if panel.thresholds else common.BigValueColorMode.NONE
    return (
        stat.Panel()
        .color_scheme(build.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
        .color_mode(mode)
        .graph_mode(common.BigValueGraphMode.NONE)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
    )


def _state(_: Panel) -> statetimeline.Panel:
    """A strip a series, coloured by the thresholds."""
    return (
        statetimeline.Panel()
        .color_scheme(build.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
        .show_value(common.VisibilityMode.NEVER)
        .merge_values(True)
        .row_height(0.9)
    )


def _heatmap(panel: Panel) -> heatmap.Panel:
    """The buckets of a histogram over time."""
    return (
        heatmap.Panel()
        .calculate(False)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64))
        .rows_frame(heatmap.RowsHeatmapOptions().layout(common.HeatmapCellLayout.AUTO))
        .y_axis(heatmap.YAxisConfig().unit(panel.unit))
        .cell_gap(1)
    )


def _table(_: Panel) -> table.Panel:
    """The present values, without the time that is the same in each row."""
    hide_time = model.DataTransformerConfig(
        id_val="organize", options={"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": {}}
    )
    return table.Panel().with_transformation(hide_time)


AnyPanel = timeseries.Panel | stat.Panel | statetimeline.Panel | heatmap.Panel | table.Panel
KINDS: dict[Kind, Callable[[Panel], AnyPanel]] = {
    "timeseries": _timeseries,
    "stat": _stat,
    "state": _state,
    "heatmap": _heatmap,
    "table": _table,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files."""
    parser = argparse.ArgumentParser(description="Write Grafana's dashboards from eloquent.watch.panels.")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="DIR", help="where to (%(default)s)")
    folder: Path = parser.parse_args(arguments).out
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in dashboards():
        (folder / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
