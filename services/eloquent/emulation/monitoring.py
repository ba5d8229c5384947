"""Prometheus in the lab's management network: its configuration and its process."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from eloquent.emulation.doors import PROMETHEUS
from eloquent.emulation.options import REPOSITORY
from eloquent.emulation.processes import LabProcess

SCRAPE_INTERVAL = "2s"  # a stall is to be seen within 5 s; more often costs the load its time
RULES = REPOSITORY / "dashboards" / "prometheus" / "rules"
RETENTION = "7d"


@dataclass(frozen=True, slots=True)
class Target:
    """A page of metrics.

    Attributes:
        role: What serves it; becomes the label `role`.
        host: Which host it runs on; becomes the label `host`.
        address: HOST:PORT on the management network.
    """

    role: str
    host: str
    address: str


def make_prometheus(folder: Path, targets: Iterable[Target], *, logs: Path) -> LabProcess:
    """Write Prometheus's configuration and give its process, not yet started.

    Args:
        folder: Where configuration and data go.
        targets: What to scrape.
        logs: Folder of the log files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    discovered = [
        {"targets": [target.address], "labels": {"role": target.role, "host": target.host}} for target in targets
    ]
    (folder / "targets.json").write_text(json.dumps(discovered, indent=1), encoding="utf-8")
    configuration = {
        "global": {"scrape_interval": SCRAPE_INTERVAL, "evaluation_interval": SCRAPE_INTERVAL},
        "rule_files": [str(RULES / "*.yml")],
        "scrape_configs": [{"job_name": "eloquent", "file_sd_configs": [{"files": [str(folder / "targets.json")]}]}],
    }
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(configuration, sort_keys=False), encoding="utf-8")
    return LabProcess(
        "prometheus",
        [
            "prometheus",
            f"--config.file={path}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--storage.tsdb.retention.time={RETENTION}",
            f"--web.listen-address=127.0.0.1:{PROMETHEUS.inner_port}",
            "--log.level=warn",
        ],
        log=logs / "prometheus.log",
    )
