"""Recording rules and alerts, judged by promtool: what they give, when each alert fires and when it resolves."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from eloquent import telemetry
from eloquent.watch.panels import DASHBOARDS

PROMETHEUS = Path(__file__).parents[2] / "dashboards" / "prometheus"
ALERTS = {
    "alerts.yml": {"StallRatioHigh", "LoadLagHigh", "LinkSelfTestLost", "RelayBacklogHigh", "TargetDown"},
    "production.yml": {
        "ClientsStall",
        "ModelSlow",
        "ModelFails",
        "OriginLost",
        "EdgeOverTcp",
        "HandshakesRefused",
        "RelayAtItsLimit",
        "RelayDown",
    },
}


def promtool(*words: object) -> subprocess.CompletedProcess[str]:
    command = ["promtool", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def rules_of(name: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "rules" / name).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.mark.parametrize("name", ["recording.yml", *ALERTS])
@pytest.mark.parametrize(("verb", "folder"), [("check", "rules"), ("test", "tests")])
def test_promtool_agrees(needs_promtool: None, verb, folder, name):
    done = promtool(verb, "rules", PROMETHEUS / folder / name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


@pytest.mark.parametrize("file", ALERTS)
def test_each_alert_is_shown_firing_and_resolved(file):
    """For each, its last look with an alert is followed by one without."""
    looks: dict[str, list[bool]] = {}
    for test in yaml.safe_load((PROMETHEUS / "tests" / file).read_text())["tests"]:
        for look in test["alert_rule_test"]:
            looks.setdefault(look["alertname"], []).append("exp_alerts" in look)
    assert set(looks) == ALERTS[file] == {rule["alert"] for rule in rules_of(file)}
    for name, fired in looks.items():
        assert fired[:3] == [False, True, False], name


@pytest.mark.parametrize("file", ALERTS)
def test_every_alert_says_what_to_do(file):
    for rule in rules_of(file):
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert {"summary", "description"} == set(rule["annotations"])


def test_the_rules_use_metrics_that_exist():
    families = [
        family
        for role in vars(telemetry).values()
        if isinstance(role, type) and role.__name__.endswith("Metrics")
        for family in role(CollectorRegistry())._registry.collect()
    ]
    names = {family.name for family in families} | {f"{family.name}_total" for family in families}
    names |= {f"{family.name}_bucket" for family in families}
    text = " ".join(rule["expr"] for name in ("recording.yml", *ALERTS) for rule in rules_of(name))
    used = set(re.findall(r"(?<!:)\beloquent_[a-z_]+\b(?=[\[{)])", text))
    assert len(used) > 8
    assert used <= names


def test_what_is_recorded_is_used_by_an_alert_or_a_panel():
    exprs = [rule["expr"] for rule in rules_of("alerts.yml")]
    exprs += [query.expr for dashboard in DASHBOARDS for panel in dashboard.panels for query in panel.queries]
    for rule in rules_of("recording.yml"):
        assert any(rule["record"] in expr for expr in exprs), rule["record"]
