"""The wheel: what is in it, and that a source distribution makes the same one."""

import sys
import zipfile
from pathlib import Path

import pytest
from tests.wheel.conftest import Installation, run

pytestmark = pytest.mark.wheel

SDIST = "from setuptools import build_meta; build_meta.build_sdist({!r})"


def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def test_it_is_for_every_machine(wheel: Path):
    assert wheel.name.endswith("-py3-none-any.whl")


def test_the_code_generated_from_each_proto_file_is_in_it_once(wheel: Path, clean_copy: Path):
    protos = {path.stem for path in (clean_copy / "proto").rglob("*.proto")}
    assert protos
    assert {name for name in names(wheel) if name.startswith("eloquent/api/")} == {
        f"eloquent/api/v1/{proto}_{suffix}"
        for proto in protos
        for suffix in ("pb2.py", "pb2.pyi", "pb2_grpc.py", "pb2_grpc.pyi")
    }


def test_each_module_and_each_shipped_file_of_the_sources_is_in_it(wheel: Path, clean_copy: Path):
    sources = clean_copy / "services"
    wanted = {
        str(path.relative_to(sources))
        for path in (sources / "eloquent").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted <= names(wheel)


def test_building_it_leaves_the_sources_alone(wheel: Path, clean_copy: Path):
    assert not (clean_copy / "services" / "eloquent" / "api").exists()


def test_a_source_distribution_makes_the_same_wheel(wheel: Path, clean_copy: Path, tmp_path: Path):
    run(sys.executable, "-c", SDIST.format(str(tmp_path)), cwd=clean_copy)
    (sdist,) = tmp_path.glob("*.tar.gz")
    words = ("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, sdist)
    run(sys.executable, "-m", "pip", *words, cwd=tmp_path)
    assert names(tmp_path / wheel.name) == names(wheel)


def test_the_generated_messages_are_imported_from_the_installation(bare: Installation):
    program = "import eloquent.api.v1.exchange_pb2 as api; print(api.__file__); print(api.Resume(next=7))"
    tried = bare.run("python", "-c", program)
    assert tried.returncode == 0, tried.stderr
    assert tried.stdout.startswith(str(bare.environment))
    assert "next: 7" in tried.stdout
