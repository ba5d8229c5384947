"""What can be said of the containers without an engine: definitions, their schemas, and what the docs promise of them."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from grafana_foundation_sdk.models.dashboard import Dashboard

REPOSITORY = Path(__file__).parents[2]
DOCKER = REPOSITORY / "docker"
SERVICES = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
GRAFANA = REPOSITORY / "dashboards" / "grafana"
# Keys that Grafana's provisioning knows (its manual, "Provision Grafana"): required, and further ones that may stand there.
DATA_SOURCE = {"name", "type", "access", "url"}, {"uid", "isDefault", "editable", "jsonData"}
PROVIDER = {"name", "type", "options"}, {"folder", "allowUiUpdates", "updateIntervalSeconds"}


def provisioning(kind: str) -> dict:
    (path,) = (GRAFANA / "provisioning" / kind).iterdir()
    return yaml.safe_load(path.read_text())


def host_path(service: str, inside: str) -> Path:
    """Give what the service finds at a path: a folder of the repository."""
    mounts = dict(reversed(volume.split(":")[:2]) for volume in SERVICES[service]["volumes"])
    return (DOCKER / mounts[inside]).resolve()


@pytest.mark.processes
@pytest.mark.parametrize("path", sorted(DOCKER.glob("compose*.yaml")), ids=lambda path: path.name)
def test_compose_files_follow_their_schema(path):
    words = (sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path))
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", sorted(DOCKER.glob("*Dockerfile")), ids=lambda path: path.name)
def test_dockerfiles_pass_hadolint_and_pin_their_base(path):
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert re.findall(r"^ARG BASE=(.*)$", path.read_text(), re.MULTILINE) == ["debian:bookworm-20250520-slim"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_confined(name):
    service = SERVICES[name]
    assert not {"privileged", "network_mode", "pid", "ipc", "userns_mode"} & set(service)
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["read_only"] is True
    assert {"mem_limit", "pids_limit"} <= set(service)
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert not any("docker.sock" in volume for volume in service.get("volumes", ()))
    image = service["image"]
    assert image.startswith("eloquent-") or re.search(r":v?\d+\.\d+\.\d+$", image), "images of others are pinned"


def test_only_the_testbed_has_capabilities_and_the_docs_give_the_reason_of_each():
    assert {name for name, service in SERVICES.items() if "cap_add" in service} == {"testbed"}
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.+) \|$", (REPOSITORY / "docs" / "containers.md").read_text(), re.MULTILINE)
    documented = [name for name, reason in rows if len(reason) > 10 and "_PORT" not in name]
    assert documented == SERVICES["testbed"]["cap_add"]


def test_grafana_shows_everybody_everything_and_has_no_account():
    environment = SERVICES["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "true"
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert not any("PASSWORD" in name for name in environment)


def test_grafana_finds_its_provisioning_and_every_variable_of_it():
    folder = host_path("grafana", "/etc/grafana/provisioning")
    assert folder == GRAFANA / "provisioning"
    used = {name for path in folder.rglob("*.yml") for name in re.findall(r"\$\{(\w+)\}", path.read_text())}
    assert used
    assert used <= set(SERVICES["grafana"]["environment"])
    dashboards = SERVICES["grafana"]["environment"]["ELOQUENT_DASHBOARDS"]
    assert host_path("grafana", dashboards) == GRAFANA / "dashboards"


@pytest.mark.parametrize(
    ("kind", "key", "schema"), [("datasources", "datasources", DATA_SOURCE), ("dashboards", "providers", PROVIDER)]
)
def test_provisioning_files_follow_grafanas_schema(kind, key, schema):
    required, further = schema
    found = provisioning(kind)
    assert set(found) == {"apiVersion", key}
    assert found["apiVersion"] == 1
    for entry in found[key]:
        assert required <= set(entry) <= required | further


@pytest.mark.parametrize("path", sorted((GRAFANA / "dashboards").glob("*.json")), ids=lambda path: path.name)
def test_dashboards_follow_grafanas_schema(path):
    """Grafana's own types read them; a key that they do not know would be gone afterwards."""
    given = json.loads(path.read_text())
    known = Dashboard.from_json(given).to_json()
    assert set(given) <= set(known)
    assert known["uid"] == given["uid"]
    assert len(known["panels"]) == len(given["panels"]) > 0


def test_prometheus_in_containers_differs_in_where_targets_are_alone():
    contained = yaml.safe_load((DOCKER / "prometheus.yml").read_text())
    natively = yaml.safe_load((REPOSITORY / "dashboards" / "prometheus" / "prometheus.yml").read_text())
    (one,), (other,) = contained.pop("scrape_configs"), natively.pop("scrape_configs")
    assert contained == natively
    assert one.pop("http_sd_configs")
    assert other.pop("file_sd_configs")
    assert one == other
    assert host_path("prometheus", "/etc/prometheus/rules") == REPOSITORY / "dashboards" / "prometheus" / "rules"


def test_promtool_reads_the_configuration(needs_promtool, tmp_path):
    shutil.copy(DOCKER / "prometheus.yml", tmp_path)
    shutil.copytree(REPOSITORY / "dashboards" / "prometheus" / "rules", tmp_path / "rules")
    done = subprocess.run(
        ["promtool", "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_docs_say_plainly_what_the_labs_container_may():
    """A container with these rights is close to a privileged one, and nobody is to read the opposite."""
    testbed = SERVICES["testbed"]
    assert "SYS_ADMIN" in testbed["cap_add"]
    assert "apparmor:unconfined" in testbed["security_opt"]
    for path in (REPOSITORY / "README.md", REPOSITORY / "docs" / "containers.md"):
        text = " ".join(path.read_text().split())
        assert "no container is privileged" not in text.lower()
        assert "SYS_ADMIN" in text
        assert "AppArmor" in text
        assert "root" in text
    others = [service for name, service in SERVICES.items() if name != "testbed"]
    assert others
    for service in others:
        assert not service.get("cap_add")
        assert not any(option.startswith(("apparmor", "seccomp")) for option in service["security_opt"])
