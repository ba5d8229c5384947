"""What a run was made of: the manifest, so that its numbers can be believed and made again."""

import importlib.metadata
import platform
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eloquent import core
from eloquent.channel.scenario import Scenario
from eloquent.channel.schedule import Direction
from eloquent.emulation.capabilities import Choice
from eloquent.emulation.carriers.impairment import ImpairedLink
from eloquent.emulation.options import REPOSITORY, Options
from eloquent.emulation.selftest import LinkTest
from eloquent.records.run_directory import RunDirectory

DISTRIBUTIONS = ("eloquent-testbed", "grpcio", "protobuf", "prometheus-client", "pyroute2")
COMMANDS = {
    "mininet": ("mn", "--version"),
    "openvswitch": ("ovs-vswitchd", "--version"),
    "prometheus": ("prometheus", "--version"),
    "iproute2": ("ip", "-Version"),
    "commit": ("git", "-C", str(REPOSITORY), "rev-parse", "HEAD"),
}

WHICH_CONTROLLER = """
from importlib.metadata import distributions
print(*(f"{found.name} {found.version}" for found in distributions() if found.name in {"ryu", "os-ken", "os_ken"}))
"""


@dataclass
class Ledger:
    """The manifest of one run, filled in as the run goes on, and the voice in which the run speaks to its user.

    Attributes:
        folder: The run directory.
        options: What was asked for.
        scenario: The scenario, as it was read when the run began.
        choice: Which carrier and datapath it got.
        tell: Gets an event, a small JSON object, whenever the user should see something.
        entries: What was found and done.
        warnings: What makes the run's numbers less than they claim to be.
    """

    folder: Path
    options: Options
    scenario: Scenario
    choice: Choice
    tell: Callable[[dict[str, Any]], None]
    entries: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def stage(self, text: str) -> None:
        """Tell what is being done now."""
        self.tell({"event": "stage", "text": text})

    def warn(self, text: str) -> None:
        """Note and tell something that makes the run's numbers less than they claim to be."""
        self.warnings.append(text)
        self.tell({"event": "warning", "text": text})

    def write(self) -> None:
        """Write the manifest as it stands."""
        RunDirectory(self.folder).write_manifest(self.to_json())

    def note_machine(self) -> None:
        """Note what the run runs on."""
        self.entries["created"] = datetime.now(UTC).isoformat(timespec="seconds")
        self.entries["kernel"] = platform.release()
        self.entries["congestion_control"] = _read_first_word("/proc/sys/net/ipv4/tcp_congestion_control")
        self.entries["versions"] = collect_versions()

    def note_links(self, tests: list[LinkTest]) -> None:
        """Note each link's self-test."""
        self.entries["links"] = [{"name": test.link, "self_test": test.to_json()} for test in tests]

    def note_schedule(self, links: list[ImpairedLink], *, length_s: float) -> None:
        """Note what each link was to do from the epoch on, so that two runs can be compared slot by slot.

        Args:
            links: The links.
            length_s: Length of all rounds in seconds.
        """
        self.entries["rounds_s"] = length_s
        for link, entry in zip(links, self.entries["links"], strict=True):
            entry["schedule"] = {}
            for direction in Direction:
                schedule = link.schedule(direction)
                entry["schedule"][direction.value] = {
                    "digest": schedule.digest(length_s),
                    "mean_loss": schedule.mean_loss(0.0, length_s),
                    "stretches": schedule.run_lengths(length_s),
                }

    def to_json(self) -> dict[str, Any]:
        """Return the manifest."""
        return {
            "run": self.folder.name,
            "scenario": {"name": self.scenario.name, "line": self.scenario.to_line()},
            "seed": self.options.seed,
            "schemes": list(self.options.schemes),
            "carrier": {"name": self.choice.carrier, "why": self.choice.carrier_why},
            "datapath": {"name": self.choice.datapath, "why": self.choice.datapath_why},
            "options": self.options.model_dump(mode="json"),
            **self.entries,
            "warnings": self.warnings,
        }


@dataclass(frozen=True, slots=True)
class ProcessorTime:
    """Processor time since the machine started, in clock ticks (proc(5), the first line of /proc/stat).

    Attributes:
        idle: Ticks without work.
        stolen: Ticks in which a hypervisor ran somebody else, although there was work.
        total: All ticks.
    """

    idle: int
    stolen: int
    total: int

    @classmethod
    def now(cls) -> "ProcessorTime":
        """Read the present account."""
        first_line = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0]
        ticks = [int(word) for word in first_line.split()[1:9]]  # user nice system idle iowait irq softirq steal
        return cls(idle=ticks[3] + ticks[4], stolen=ticks[7], total=sum(ticks))

    def until(self, later: "ProcessorTime") -> dict[str, float]:
        """Return the shares, 0..1, of the time between two accounts that were busy, and stolen."""
        total = max(1, later.total - self.total)
        stolen = (later.stolen - self.stolen) / total
        return {"busy": 1 - stolen - (later.idle - self.idle) / total, "stolen": stolen}


def collect_versions() -> dict[str, str | None]:
    """Return the versions of what the run is made of; None for one that could not be asked."""
    versions: dict[str, str | None] = {"python": platform.python_version(), "core": core.kind()}
    for name in DISTRIBUTIONS:
        versions[name] = importlib.metadata.version(name)
    for name, words in COMMANDS.items():
        versions[name] = _first_line(words)
    controller = REPOSITORY / ".venv-controller" / "bin" / "python"
    versions["controller"] = _first_line((str(controller), "-c", WHICH_CONTROLLER))
    return versions


def _first_line(words: tuple[str, ...]) -> str | None:
    try:
        answer = subprocess.run(words, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return (answer.stdout or answer.stderr).strip().split("\n")[0]


def _read_first_word(path: str) -> str:
    return Path(path).read_text(encoding="ascii").split()[0]
