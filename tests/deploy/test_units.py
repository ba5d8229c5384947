"""The systemd units and the settings that an operator copies: systemd takes them, confines the relays, and the relays read them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from eloquent.relay.settings import EdgeSettings, OriginSettings, read_settings

DEPLOY = Path(__file__).parents[2] / "deploy"
ROLES: dict[str, Any] = {"origin": OriginSettings, "edge": EdgeSettings}
MAX_EXPOSURE = 2.0  # of systemd's ten


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is missing: Debian's systemd has it")
    return found


@pytest.mark.parametrize("role", ROLES)
def test_a_unit_is_one_that_systemd_takes_and_confines(analyze: str, tmp_path: Path, role: str) -> None:
    unit = tmp_path / f"eloquent-{role}.service"
    installed = str(Path(sys.executable).with_name("eloquent"))
    unit.write_text((DEPLOY / unit.name).read_text().replace("/usr/local/bin/eloquent", installed))
    verdict = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, check=False)
    assert (verdict.returncode, verdict.stderr) == (0, "")
    words = [analyze, "security", "--offline=true", "--no-pager", unit]
    exposure = re.search(r"exposure level for \S+: ([\d.]+)", subprocess.check_output(words, text=True))
    assert exposure is not None
    assert float(exposure[1]) <= MAX_EXPOSURE


@pytest.mark.parametrize("role", ROLES)
def test_a_unit_starts_its_relay_with_settings_that_it_takes(role: str) -> None:
    unit = (DEPLOY / f"eloquent-{role}.service").read_text()
    assert f"eloquent {role} --config /etc/eloquent/relay.toml --key-file " in unit
    settings = read_settings(ROLES[role], role, {"key_file": Path("key")}, file=DEPLOY / "relay.toml", environment={})
    stop_after = re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert stop_after is not None
    assert settings.grace < int(stop_after[1])
