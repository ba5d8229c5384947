"""The configuration of Prometheus that an operator copies."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "deploy" / "prometheus.yml"
RULES = ROOT / "dashboards" / "prometheus" / "rules" / "production.yml"
DATA_SOURCE = ROOT / "dashboards" / "grafana" / "provisioning" / "datasources" / "prometheus.yml"


def test_prometheus_takes_it_with_the_alerts_beside_it(needs_promtool: None, tmp_path: Path) -> None:
    for file in (CONFIGURATION, RULES):
        shutil.copy(file, tmp_path)
    words = ["promtool", "check", "config", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(yaml.safe_load(RULES.read_text())['groups'][0]['rules'])} rules found" in done.stdout


def test_it_asks_where_the_relays_are_told_to_answer() -> None:
    configuration = yaml.safe_load(CONFIGURATION.read_text())
    (job,) = configuration["scrape_configs"]
    settings = tomllib.loads((CONFIGURATION.parent / "relay.toml").read_text())
    ports = {settings[role]["metrics"].rpartition(":")[2] for role in ("origin", "edge")}
    assert {target.rpartition(":")[2] for target in job["static_configs"][0]["targets"]} == ports
    assert f'job="{job["job_name"]}"' in RULES.read_text()
    (source,) = yaml.safe_load(DATA_SOURCE.read_text())["datasources"]
    assert configuration["global"]["scrape_interval"] == source["jsonData"]["timeInterval"]
