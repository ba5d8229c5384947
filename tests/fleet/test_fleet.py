"""Who is let into a fleet, and what becomes of labs whose workers fail; the cluster is real, its workers bring up no lab."""

import os
import re
import shutil
import signal

import pytest

from eloquent.cluster import connect
from eloquent.emulation.options import REPOSITORY
from eloquent.errors import ConfigurationError, EmulationError
from eloquent.fleet import fleet as module
from eloquent.fleet.fleet import Fleet, muster, refusals, shared_machines
from eloquent.fleet.orders import deal
from eloquent.fleet.worker import Description, describe

OURS = Description(host="here", processors=2, version="0.1.0", sources="aa" * 32, refusal=None)


def other(**changes):
    values = {name: getattr(OURS, name) for name in OURS.__slots__}
    return Description(**{**values, "host": "there", **changes})


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (other(), None),
        (ModuleNotFoundError("No module named 'eloquent'"), "has no testbed of this version .*No module named"),
        (other(sources="bb" * 32), "on there has another testbed .*bbbbbbbbbbbb.* than this machine .*aaaaaaaaaaaa"),
        (
            other(refusal="the testbed needs root: you are not root"),
            "on there can bring up no lab: the testbed needs root",
        ),
    ],
)
def test_who_can_bring_up_no_lab_like_ours_is_refused_by_name(found, words):
    refused = refusals({"tcp://there:1": found, "tcp://here:2": OURS}, like=OURS)
    assert len(refused) == (words is not None)
    if words is not None:
        assert refused[0].startswith("the worker tcp://there:1 ")
        assert re.search(words, refused[0])


def test_workers_of_one_machine_are_told():
    assert shared_machines({"a": OURS, "b": other(), "c": other()}) == ["there"]


def test_a_scheduler_that_is_not_there_is_told():
    with (
        pytest.raises(ConfigurationError, match=r"no Dask scheduler at tcp://127\.0\.0\.1:1"),
        connect("tcp://127.0.0.1:1", processes=1),
    ):
        pass


def make_works():
    """Make what stands for the work of labs: local functions, which travel by value, as workers know no tests."""

    def names(order):
        """What comes back is small."""
        return {"manifest.json": b"x\x9c\x03\x00\x00\x00\x00\x01"}

    def dies(order):
        """The machine of the second lab fails in the middle."""
        if order.number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return names(order)

    def fails(order):
        """The first lab does not come up."""
        if order.number == 1:
            raise EmulationError("the testbed is not what it was")
        return names(order)

    return names, dies, fails


names, dies, fails = make_works()


@pytest.fixture(scope="module")
def cluster():
    with connect("local", processes=2) as client:
        yield client


def run(cluster, tmp_path, monkeypatch, work, labs):
    """Run a fleet in which something else does the work."""
    monkeypatch.setattr(module, "work", work)
    workers = {address: describe() for address in cluster.scheduler_info()["workers"]}
    told = []
    orders = deal("run", labs=labs, clients=None, values={}, load=None)
    return Fleet(cluster, workers, tmp_path, told.append).run(orders), told


pytestmark = [pytest.mark.processes, pytest.mark.filterwarnings("default")]  # Dask's own


def test_more_labs_than_workers_take_turns(cluster, tmp_path, monkeypatch):
    ends, told = run(cluster, tmp_path, monkeypatch, names, 5)
    assert [end.order.name for end in ends] == [f"lab-{number}" for number in range(1, 6)]
    assert [end.failure for end in ends] == [None] * 5
    assert len({end.worker for end in ends}) == 2
    assert all((tmp_path / end.order.name / "manifest.json").exists() for end in ends)
    assert [event["event"] for event in told].count("lab_ended") == 5


def test_a_lab_that_fails_tells_why_and_costs_no_other(cluster, tmp_path, monkeypatch):
    ends, _ = run(cluster, tmp_path, monkeypatch, fails, 3)
    assert [end.failure for end in ends] == ["the testbed is not what it was", None, None]


def test_a_lost_worker_costs_its_lab_and_no_other(cluster, tmp_path, monkeypatch):
    ends, _ = run(cluster, tmp_path, monkeypatch, dies, 3)
    assert [end.failure for end in ends] == [None, "its worker was lost", None]


def test_workers_without_root_are_refused(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    refused = refusals({"tcp://here:1": describe()}, like=describe())
    assert len(refused) == 1
    assert "can bring up no lab: the testbed needs root: you are not root; run it with sudo" in refused[0]


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        ((), "has no testbed of this version .ModuleNotFoundError"),
        (("services", "topologies", "loadtest"), "has another testbed"),
    ],
)
def test_a_worker_of_another_version_is_refused(start_dask, tmp_path, kept, words):
    """Its testbed is a copy of this one in which a line was changed, or one that knows of no fleets."""
    (tmp_path / "services" / "eloquent").mkdir(parents=True)
    (tmp_path / "services" / "eloquent" / "__init__.py").touch()
    for folder in kept:
        shutil.copytree(REPOSITORY / folder, tmp_path / folder, dirs_exist_ok=True)
    with (tmp_path / "services" / "eloquent" / "errors.py").open("a") as file:
        file.write("# another version\n")
    dask = start_dask(1, PYTHONPATH=str(tmp_path / "services"))
    with connect(dask.address, processes=1) as client, pytest.raises(ConfigurationError, match=words):
        muster(client)


def test_a_cluster_without_workers_is_refused(start_dask):
    dask = start_dask(0)
    with connect(dask.address, processes=1) as client, pytest.raises(ConfigurationError, match="has no workers"):
        muster(client)
