"""The recording rules, checked and run by Prometheus's own tool."""

import shutil
import subprocess
from pathlib import Path

import pytest

RULES = Path(__file__).parents[2] / "dashboards" / "prometheus" / "rules"
SCRIPT = Path(__file__).with_name("prometheus_rules.yml")


@pytest.mark.parametrize("words", [("check", *map(str, sorted(RULES.glob("*.yml")))), ("test", str(SCRIPT))])
def test_promtool_agrees(words):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: Debian's prometheus package has it")
    verb, *files = words
    done = subprocess.run([promtool, verb, "rules", *files], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout
