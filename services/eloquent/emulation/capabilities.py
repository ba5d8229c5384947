"""What this machine can do for the testbed, found by trying, and which carrier and datapath follow from it.

A probe answers with None, or with a sentence that says why not; "unsupported" is an answer, never a silent skip.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from eloquent.emulation.carriers.carrier import CARRIERS, NetemCarrier, WireCarrier
from eloquent.emulation.options import REPOSITORY, Options
from eloquent.emulation.switches import probe_kernel_datapath
from eloquent.errors import EmulationError


@dataclass(frozen=True, slots=True)
class Capability:
    """One thing that the testbed would like to have.

    Attributes:
        name: What it is.
        use: What it is for.
        probe: Says why it is missing, or None.
        remedy: What one can do about it.
        needed: Whether there is no testbed without it.
    """

    name: str
    use: str
    probe: Callable[[], str | None]
    remedy: str
    needed: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """The carrier and the datapath of a run, and why it got them.

    Attributes:
        carrier: `netem` or `wire`.
        carrier_why: A sentence.
        datapath: `kernel` or `user`.
        datapath_why: A sentence.
    """

    carrier: str
    carrier_why: str
    datapath: str
    datapath_why: str


def _probe_root() -> str | None:
    return None if os.geteuid() == 0 else "you are not root"


def _probe_namespaces() -> str | None:
    words = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "true"]
    tried = subprocess.run(words, capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else " ".join(tried.stderr.split())


def _probe_command(*names: str) -> Callable[[], str | None]:
    def probe() -> str | None:
        missing = [name for name in names if shutil.which(name) is None]
        return f"no command {', '.join(missing)}" if missing else None

    return probe


def _probe_controller() -> str | None:
    present = (REPOSITORY / ".venv-controller" / "bin" / "python").exists()
    return None if present else "its virtual environment .venv-controller is missing"


def _probe_docker() -> str | None:
    if shutil.which("docker") is None:
        return "no command docker"
    tried = subprocess.run(
        ["docker", "info", "--format", "{{.ServerVersion}}"], capture_output=True, text=True, check=False
    )
    return None if tried.returncode == 0 and tried.stdout.strip() else "no Docker engine answers"


INSTALL = "make testbed"

CAPABILITIES = (
    Capability("root", "network namespaces", _probe_root, "run it with sudo", needed=True),
    Capability(
        "namespaces",
        "a lab that leaves nothing behind",
        _probe_namespaces,
        "in a container, add SYS_ADMIN",
        needed=True,
    ),
    Capability("mininet", "emulated hosts", _probe_command("mnexec", "ifconfig", "ethtool"), INSTALL, needed=True),
    Capability("open vswitch", "switches", _probe_command("ovs-vswitchd", "ovsdb-server"), INSTALL, needed=True),
    Capability("controller", "Ryu", _probe_controller, INSTALL, needed=True),
    Capability("prometheus", "metrics", _probe_command("prometheus", "promtool"), INSTALL, needed=True),
    Capability("sch_netem", "the netem carrier", NetemCarrier.probe, "modprobe sch_netem, or use the wire carrier"),
    Capability("tap", "the wire carrier", WireCarrier.probe, "modprobe tun; in a container, add /dev/net/tun"),
    Capability(
        "openvswitch.ko",
        "the kernel datapath",
        probe_kernel_datapath,
        "modprobe openvswitch, or use the user-space datapath",
    ),
    Capability("guest kernel", "make test-kernel", _probe_command("linux.uml"), "make test-kernel installs it"),
    Capability("docker engine", "the testbed in containers", _probe_docker, "install docker, or run natively"),
)


def needed_here(controller: str | None, prometheus: str | None) -> set[str]:
    """Return the names of the capabilities without which there is no testbed.

    Args:
        controller: Where a controller runs outside the lab; None where the lab starts its own.
        prometheus: Likewise.
    """
    elsewhere = {"controller": controller, "prometheus": prometheus}
    return {item.name for item in CAPABILITIES if item.needed and elsewhere.get(item.name) is None}


def require_needed(options: Options) -> None:
    """Check everything without which there is no testbed.

    Args:
        options: What was asked for; what is said to run elsewhere is not needed here.

    Raises:
        EmulationError: Something is missing; the message says what, and what to do.
    """
    needed = needed_here(options.controller, options.prometheus)
    for capability in CAPABILITIES:
        if capability.name in needed and (refusal := capability.probe()) is not None:
            raise EmulationError(f"the testbed needs {capability.name}: {refusal}; {capability.remedy}")


def choose(options: Options) -> Choice:
    """Choose carrier and datapath.

    Args:
        options: What was asked for; `auto` takes the best that the kernel has.

    Raises:
        EmulationError: What was asked for is not possible here.
    """
    carrier, carrier_why = _choose_first(
        "CARRIER", options.carrier, {name: carrier.probe for name, carrier in CARRIERS.items()}
    )
    datapath, datapath_why = _choose_first(
        "DATAPATH", options.datapath, {"kernel": probe_kernel_datapath, "user": lambda: None}
    )
    return Choice(carrier, carrier_why, datapath, datapath_why)


def _choose_first(what: str, wanted: str, probes: dict[str, Callable[[], str | None]]) -> tuple[str, str]:
    refusals: list[str] = []
    for name, probe in probes.items():
        if wanted in {name, "auto"}:
            refusal = probe()
            if refusal is None:
                return name, "; ".join(refusals) or ("asked for" if wanted == name else "the kernel has it")
            refusals.append(f"no {name}: {refusal}")
    raise EmulationError(f"{what}={wanted} is not possible here: {'; '.join(refusals)}")
