"""The definitions of the dashboards, on their own: what holds before Grafana, the board or a testbed comes in."""

import re
from string import Template

import pytest
from prometheus_client import CollectorRegistry

from eloquent import telemetry
from eloquent.watch.panels import DASHBOARDS, PRODUCTION, TESTBED, Query, queries

FOREIGN = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes", "eloquent_connected_switches"}
FOREIGN |= {
    f"eloquent_switch_port_{what}_total" for what in ("packets", "bytes", "dropped_packets")
}  # the controller's
FOREIGN |= {f"eloquent_switch_client_{what}_total" for what in ("packets", "bytes")}


def exported() -> set[str]:
    """Name every series that a process of the package can show."""
    names = set()
    for role in vars(telemetry).values():
        if isinstance(role, type) and role.__name__.endswith("Metrics"):
            for family in role(CollectorRegistry())._registry.collect():
                suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
                names |= {family.name + suffix for suffix in suffixes.get(family.type, [""])}
    return names


def test_there_are_four_dashboards_of_a_testbed_and_one_of_relays_in_production():
    titles = ["Stalls", "Network", "Relays", "Load", "Relays in production"]
    assert [dashboard.title for dashboard in DASHBOARDS] == titles
    assert (*TESTBED, PRODUCTION) == DASHBOARDS
    assert len({dashboard.uid for dashboard in DASHBOARDS}) == 5


def test_every_metric_exists():
    used = {name for *_, expr in queries() for name in re.findall(r"([a-z_]+)\{", expr)}
    assert len(used) > 20
    assert used <= exported() | FOREIGN


def test_every_panel_can_be_read():
    for dashboard in DASHBOARDS:
        titles = [panel.title for panel in dashboard.panels]
        assert len(set(titles)) == len(titles)
        for panel in dashboard.panels:
            assert panel.queries
            assert panel.description.endswith(".")
            assert 0 < panel.width <= 24
            values = [threshold.value for threshold in panel.thresholds]
            assert values == sorted(set(values))
            if panel.kind == "state":
                assert values, f"{panel.title}: a strip without thresholds has one colour"
            assert all(query.heatmap == (panel.kind == "heatmap") for query in panel.queries)
            assert all(query.sane[0] < query.sane[1] for query in panel.queries)


def test_a_legend_names_labels_that_its_query_keeps():
    for dashboard in DASHBOARDS:
        for panel in dashboard.panels:
            for query in panel.queries:
                kept = {label for group in re.findall(r"by \(([^)]*)\)", query.expr) for label in group.split(", ")}
                named = set(re.findall(r"\{\{([a-z]+)\}\}", query.legend))
                assert named <= kept
                assert panel.kind == "heatmap" or named or "by (" not in query.expr


def test_a_dashboard_has_the_variables_that_its_queries_have():
    for dashboard in DASHBOARDS:
        exprs = " ".join(query.expr for panel in dashboard.panels for query in panel.queries)
        assert set(Template(exprs).get_identifiers()) - {"job", "window"} == set(dashboard.variables)


def test_filled_in_nothing_is_left_open():
    found = list(queries(client="c1|c2", scheme="grpc", scenario="paper-default", window="45s"))
    assert len(found) == sum(len(panel.queries) for dashboard in DASHBOARDS for panel in dashboard.panels)
    for dashboard, *_, expr in found:
        assert "$" not in expr
        assert ('scenario=~"paper-default"' if dashboard in TESTBED else 'instance=~".+"') in expr
    assert any('client=~"c1|c2"' in expr and "[45s]" in expr for *_, expr in found)


def test_a_placeholder_that_nobody_knows_is_an_error():
    with pytest.raises(KeyError):
        Query('up{cluster=~"$cluster"}', "{{cluster}}", sane=(0, 1)).fill()
