"""Prometheus's configuration, judged by its own tool."""

import subprocess

from eloquent.emulation.monitoring import Target, make_prometheus


def test_the_configuration_is_one_that_prometheus_takes(tmp_path):
    targets = [Target("viewer", "c1", "10.255.0.4:9100"), Target("carrier", "lab", "10.255.0.1:9100")]
    make_prometheus(tmp_path / "prometheus", targets, logs=tmp_path)
    checked = subprocess.run(
        ["promtool", "check", "config", str(tmp_path / "prometheus" / "prometheus.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert "rules found" in checked.stdout
