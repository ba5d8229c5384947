"""A fleet on this machine: two workers of a real Dask cluster, and two labs beside each other.

How well the machine does with two labs is not asked, only how what they measure comes together: a lab that calls itself not valid,
as this machine's neighbours starved it, has to be named and left out.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from eloquent.records.run_directory import RunDirectory
from eloquent.report.figures import compute

pytestmark = pytest.mark.lab

SCHEMES = "grpc,eloquent"


@pytest.fixture
def folder_of_labs():
    """Where labs are to lie: a short name, since the names of sockets are bounded."""
    with tempfile.TemporaryDirectory(prefix="labs-") as folder:
        yield Path(folder)


@pytest.fixture
def fleet(needs_root, start_dask, tmp_path, folder_of_labs):
    """Start two workers, and give what runs a fleet on them, as a process whose output is a pipe."""
    cluster = start_dask(2, TMPDIR=str(folder_of_labs))
    running = []

    def run(*words):
        command = [sys.executable, "-m", "eloquent.cli", "fleet", "--dask", cluster.address, "--labs", "2"]
        command += ["--rtt-tolerance", "100"]  # how well the machine does is not asked
        running.append(
            subprocess.Popen(
                [*command, "--runs", str(tmp_path / "runs"), "--schemes", SCHEMES, *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, "COLUMNS": "200"},
            )
        )
        return running[-1]

    run.cluster = cluster
    yield run
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


def labs_of(worker):
    """The outermost processes of the labs that a worker has, whichever of its threads started them."""
    tasks = Path(f"/proc/{worker}/task").iterdir()
    return [int(word) for task in tasks for word in (task / "children").read_text().split()]


def check_pooled(folder, labs, output, status):
    """Hold what was pooled against the labs' own records."""
    manifest = json.loads((folder / "manifest.json").read_text())
    pooled, expected = {row.session for row in RunDirectory(folder).sessions()}, set()
    assert [lab["name"] for lab in manifest["labs"]] == labs
    for lab in manifest["labs"]:
        if lab["manifest"] is None:
            assert "its worker was lost" in lab["faults"], output
            continue
        own = RunDirectory((folder / lab["manifest"]).parent)
        flaws = compute(own).flaws
        assert lab["faults"] == [f"it is not valid: {flaw}" for flaw in flaws], output
        expected |= set() if flaws else {row.session for row in own.sessions()}
    assert pooled == expected
    missing = [lab["name"] for lab in manifest["labs"] if lab["faults"]]
    assert all(f"{name} on " in output and "is not pooled" in output for name in missing)
    assert status == bool(missing), output
    assert f"{len(labs) - len(missing)} of {len(labs)} labs pooled" in output
    assert (folder / "report.html").exists()
    return manifest


def test_two_labs_beside_each_other_become_one_run(fleet, tmp_path, folder_of_labs):
    process = fleet("--clients", "3", "--session", "3", "--scenario", "clean")
    output, _ = process.communicate(timeout=240)
    folder = (tmp_path / "runs" / "latest").resolve()
    manifest = check_pooled(folder, ["lab-1", "lab-2"], output, process.returncode)
    assert len({lab["worker"] for lab in manifest["labs"]}) == 2
    assert "ran beside each other" in "\n".join(manifest["warnings"])
    for name, clients in {"lab-1": {"c1", "c2"}, "lab-2": {"c3"}}.items():
        own = RunDirectory(folder / name)
        assert {row.session for row in own.sessions()} == {
            f"{client}.{scheme}.r1" for client in clients for scheme in SCHEMES.split(",")
        }
        assert {link["name"] for link in json.loads((own.path / "manifest.json").read_text())["links"]} == clients
        assert (own.path / "report.html").exists()
    assert not [pid for worker in fleet.cluster.workers.values() for pid in labs_of(worker)]
    assert not list(folder_of_labs.glob("eloquent-lab-*"))


def test_a_worker_that_is_killed_costs_its_lab_and_leaves_nothing(fleet, tmp_path, wait_until):
    """It dies while its users chat, when the lab is up and would stay up by itself."""
    process = fleet("--clients", "2", "--users", "2", "--duration", "12", "--scenario", "clean")
    output = ""
    while not re.search(r"lab-2: its users chat", output):
        line = process.stdout.readline()
        assert line, output
        output += line
    lost = re.search(r"lab-2: clients c2 to c2 on \S+ \((\S+)\)", output)[1]
    labs = labs_of(fleet.cluster.workers[lost])
    assert labs
    os.kill(fleet.cluster.workers[lost], signal.SIGKILL)
    output += process.communicate(timeout=240)[0]
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in labs))
    folder = (tmp_path / "runs" / "latest").resolve()
    manifest = check_pooled(folder, ["lab-1", "lab-2"], output, process.returncode)
    assert manifest["labs"][1]["faults"] == ["its worker was lost"]
    assert {row.client for row in RunDirectory(folder / "lab-1" / "load-1").sessions()} == {"c1"}
    assert process.returncode == 1


def test_a_fleet_that_is_interrupted_ends_its_labs(fleet, wait_until):
    process = fleet("--clients", "2", "--session", "60", "--scenario", "clean")
    output = ""
    while output.count("streaming") < 2:
        line = process.stdout.readline()
        assert line, output
        output += line
    began = time.monotonic()
    assert [pid for worker in fleet.cluster.workers.values() for pid in labs_of(worker)]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    wait_until(lambda: not [pid for worker in fleet.cluster.workers.values() for pid in labs_of(worker)])
    assert time.monotonic() - began < 55, "they ended by themselves"
