"""The records of a lab travel whole, and nothing else does."""

import zlib

import pytest

from eloquent.errors import EmulationError
from eloquent.fleet import records
from eloquent.fleet.records import LONGEST_LOG, inflate, pack, unpack


@pytest.fixture
def run(tmp_path):
    files = {
        "manifest.json": b"{}",
        "sessions/c1.csv": b"session\n",
        "load-1/tokens/c1.csv": b"",
        "load-1/locust_stats.csv": b"x\n",
        "logs/c1-viewer.log": b"y" * LONGEST_LOG + b"the end",
        "openvswitch/conf.db": b"no",
        "relays.key": b"secret",
    }
    for name, content in files.items():
        path = tmp_path / "run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "run" / "tokens").symlink_to("/etc")
    return tmp_path / "run"


def test_what_was_measured_travels_and_of_a_log_its_end(run, tmp_path):
    unpack(pack(run), tmp_path / "there")
    arrived = {
        str(path.relative_to(tmp_path / "there")): path.read_bytes()
        for path in (tmp_path / "there").rglob("*")
        if path.is_file()
    }
    assert set(arrived) == {
        "manifest.json",
        "sessions/c1.csv",
        "load-1/tokens/c1.csv",
        "load-1/locust_stats.csv",
        "logs/c1-viewer.log",
    }
    assert arrived["sessions/c1.csv"] == b"session\n"
    assert arrived["logs/c1-viewer.log"].endswith(b"the end")
    assert len(arrived["logs/c1-viewer.log"]) == LONGEST_LOG


def test_too_much_is_refused_on_both_sides(run, tmp_path, monkeypatch):
    packed = pack(run)
    monkeypatch.setattr(records, "MOST_BYTES", 10)
    with pytest.raises(EmulationError, match="take more than"):
        pack(run)
    with pytest.raises(EmulationError, match="take more than"):
        unpack(packed, tmp_path / "there")


@pytest.mark.parametrize(
    "name", ["../manifest.json", "/etc/passwd", "sessions/../../x.csv", "sessions/a/b.csv", "x.py"]
)
def test_other_files_are_refused(tmp_path, name):
    with pytest.raises(EmulationError, match="no file of a run"):
        unpack({name: zlib.compress(b"")}, tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_what_is_cut_or_something_else_is_refused():
    whole = zlib.compress(bytes(range(256)))
    assert inflate(whole, most=256) == bytes(range(256))
    for length in range(len(whole)):
        with pytest.raises(EmulationError):
            inflate(whole[:length], most=256)
    with pytest.raises(EmulationError, match="no record"):
        inflate(b"PK\x03\x04", most=256)


def test_a_bomb_is_not_inflated():
    with pytest.raises(EmulationError, match="take more than"):
        inflate(zlib.compress(bytes(50_000_000)), most=1000)
