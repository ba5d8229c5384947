"""Grafana's dashboards are what the panels say, and what is committed is fresh."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from eloquent.watch.panels import DASHBOARDS

GRAFANA = Path(__file__).parents[2] / "dashboards" / "grafana"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", GRAFANA.parent / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_dashboards_are_fresh(generate, tmp_path):
    assert generate.main(["--out", str(tmp_path)]) == 0
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_text() for path in (GRAFANA / "dashboards").glob("*.json")}, (
        "generate them with make dashboards"
    )


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.title)
def test_grafana_gets_every_panel_and_every_query(dashboard):
    made = json.loads((GRAFANA / "dashboards" / f"{dashboard.title.lower().replace(' ', '-')}.json").read_text())
    assert (made["uid"], made["description"]) == (dashboard.uid, dashboard.description)
    assert [(panel["title"], panel["description"]) for panel in made["panels"]] == [
        (panel.title, panel.description) for panel in dashboard.panels
    ]
    for drawn, panel in zip(made["panels"], dashboard.panels, strict=True):
        assert drawn["fieldConfig"]["defaults"]["unit"] == panel.unit
        assert [target["expr"].replace("$__rate_interval", "$window") for target in drawn["targets"]] == [
            query.expr for query in panel.queries
        ]
        steps = drawn["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert [step["value"] for step in steps] == [None, *(threshold.value for threshold in panel.thresholds)]
        if panel.kind == "heatmap":
            assert {target["format"] for target in drawn["targets"]} == {"heatmap"}


def test_panels_lie_side_by_side_without_holes():
    """Every row of the grid is as wide as the grid, but for the last one."""
    for path in (GRAFANA / "dashboards").glob("*.json"):
        rows: dict[int, int] = {}
        for panel in json.loads(path.read_text())["panels"]:
            place = panel["gridPos"]
            assert place["x"] == rows.get(place["y"], 0)
            rows[place["y"]] = place["x"] + place["w"]
        widths = [rows[y] for y in sorted(rows)]
        assert set(widths[:-1]) <= {24}
        assert widths[-1] <= 24


def test_grafana_is_told_where_to_look():
    source = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())
    assert [one["type"] for one in source["datasources"]] == ["prometheus"]
    scrape = yaml.safe_load((GRAFANA.parent / "prometheus" / "prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["datasources"][0]["jsonData"]["timeInterval"] == scrape
    provider = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "eloquent.yml").read_text())["providers"][0]
    assert provider["options"]["path"] == "${ELOQUENT_DASHBOARDS}"
    assert provider["allowUiUpdates"] is False
