"""Every query of every panel, asked of a real Prometheus while streams cross impaired links."""

from pathlib import Path

import pytest
import yaml

from eloquent.watch.panels import NETWORK, RELAYS, STALLS

pytestmark = pytest.mark.lab

RULES = Path(__file__).parents[2] / "dashboards" / "prometheus" / "rules"
CLIENTS = {"c1", "c2"}
SCHEMES = {"grpc", "duplicate-2", "eloquent", "eloquent-packed"}


@pytest.mark.parametrize("dashboard", [STALLS, NETWORK, RELAYS], ids=lambda dashboard: dashboard.title)
def test_every_query_of_every_panel_has_data_that_makes_sense(watched, check_panels, dashboard):
    check_panels(watched, dashboard)


def test_the_variables_have_values(watched):
    info = watched.prometheus("eloquent_run_info")
    assert [(one["metric"]["job"], one["metric"]["scenario"]) for one in info] == [("eloquent", "paper-default")]
    assert {one["metric"]["client"] for one in watched.prometheus("eloquent_link_probes_total")} == CLIENTS
    assert {one["metric"]["scheme"] for one in watched.prometheus("eloquent_rendered_tokens_total")} == SCHEMES


def test_rules_and_alerts_are_loaded_and_healthy(watched):
    loaded = [rule for group in watched.ask_prometheus("rules")["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in loaded} <= {"ok", "unknown"}  # unknown: not evaluated yet
    written = [group for path in RULES.glob("*.yml") for group in yaml.safe_load(path.read_text())["groups"]]
    names = [rule.get("alert") or rule["record"] for group in written for rule in group["rules"]]
    assert sorted(rule["name"] for rule in loaded) == sorted(names)
    assert len(names) > 5


def test_the_alert_of_stalls_fires_for_tcp(watched, wait_until):
    """About half of the time of TCP is stalls on these links; the schedules of the seed are the same each time."""
    query = 'max_over_time(ALERTS{alertname="StallRatioHigh",scheme="grpc",alertstate="firing"}[10m])'
    wait_until(lambda: bool(watched.prometheus(query)))


def test_the_alert_of_a_dead_process_fires(watched, wait_until):
    """The last test of this testbed: it is broken afterwards."""
    query = 'ALERTS{alertname="TargetDown",alertstate="firing",role="edge_relay"}'
    watched.kill_one("-edge_rela")  # Linux keeps 15 bytes of a name
    wait_until(lambda: bool(watched.prometheus(query)))
