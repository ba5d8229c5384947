"""What watches the lab from its management network: Prometheus, with its configuration and targets, and the board."""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from eloquent.emulation.inbound_forwards import BOARD, METRICS, PROMETHEUS
from eloquent.emulation.options import REPOSITORY
from eloquent.emulation.processes import LabProcess
from eloquent.watch.facts import RunFacts

CONFIGURATION = REPOSITORY / "dashboards" / "prometheus" / "prometheus.yml"
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


class Targets:
    """The files that tell Prometheus what to scrape, one a group; it notices when they change.

    Args:
        folder: Where Prometheus's configuration lies.
        scenario: Name of the run's scenario, a label of every target.
    """

    def __init__(self, folder: Path, scenario: str) -> None:
        self._folder = folder / "targets"
        self._scenario = scenario

    def write(self, group: str, targets: Iterable[Target]) -> None:
        """Let these be the targets of the group; none takes the group away.

        Args:
            group: Name of the file, such as `lab` or `load`.
            targets: What to scrape.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        found = [
            {
                "targets": [target.address],
                "labels": {"role": target.role, "host": target.host, "scenario": self._scenario},
            }
            for target in targets
        ]
        path = self._folder / f"{group}.json"
        if not found:
            path.unlink(missing_ok=True)
            return
        unfinished = path.with_suffix(".new")
        unfinished.write_text(json.dumps(found, indent=1), encoding="utf-8")
        unfinished.replace(path)  # at once: Prometheus never reads half a file


def make_prometheus(folder: Path, *, logs: Path) -> LabProcess:
    """Write Prometheus's configuration and give its process, not yet started.

    Args:
        folder: Where configuration and data go.
        logs: Folder of the log files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    configuration = yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))
    configuration["rule_files"] = [str(CONFIGURATION.parent / pattern) for pattern in configuration["rule_files"]]
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


def make_metrics_gate(folder: Path, *, logs: Path) -> LabProcess:
    """Return the process that shows the lab's metrics to a Prometheus outside, not yet started.

    Args:
        folder: Where the folder `targets` is.
        logs: Folder of the log files.
    """
    return LabProcess(
        "the metrics gate",
        [
            *(sys.executable, "-m", "eloquent.watch.metrics_gate"),
            *("--targets", str(folder / "targets"), "--listen", f"127.0.0.1:{METRICS.inner_port}"),
        ],
        log=logs / "metrics-gate.log",
    )


def make_board(facts: RunFacts, *, metrics: str, logs: Path) -> LabProcess:
    """Write down what runs and give the board's process, not yet started.

    Args:
        facts: What runs.
        metrics: HOST:PORT of the board's own metrics, those of the chats that it shows.
        logs: Folder of the log files.
    """
    path = logs / "facts.json"
    path.write_text(facts.model_dump_json(indent=1), encoding="utf-8")
    return LabProcess(
        "the board",
        [
            *(sys.executable, "-m", "eloquent.watch.board", "--facts", str(path), "--metrics", metrics),
            *("--listen", f"127.0.0.1:{BOARD.inner_port}", "--prometheus", f"http://127.0.0.1:{PROMETHEUS.inner_port}"),
        ],
        log=logs / "board.log",
    )
