"""The wheel: what is in it, and that a source distribution makes the same one, of pure Python where it is not compiled."""

import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from tests.wheel.conftest import Installation, run

from eloquent import core

pytestmark = [pytest.mark.wheel, pytest.mark.timeout(1200)]  # the first to ask waits for the wheel

WHICH = """
from pathlib import Path
from eloquent import core
from eloquent.channel import link
from eloquent.protocol import sender

assert {"pure": ".py", "compiled": ".so"}[core.kind()] == Path(link.__file__).suffix == Path(sender.__file__).suffix
print(core.kind(), core.PACKAGE.parent)
"""
SDIST = "from setuptools import build_meta; build_meta.build_sdist({!r})"


def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def libraries(wheel: Path) -> set[str]:
    return {name for name in names(wheel) if name.endswith(".so")}


def test_its_core_is_compiled_all_of_it(wheel: Path):
    modules = {path.relative_to(core.PACKAGE.parent).with_suffix("").as_posix() for path in core.sources()}
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    assert libraries(wheel) == {f"{module}{suffix}" for module in {*modules, "eloquent__mypyc"}}
    assert wheel.name.endswith(f"-{sysconfig.get_platform().replace('-', '_')}.whl")


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


@pytest.fixture(scope="module")
def sdist(clean_copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the source distribution of a clone."""
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-c", SDIST.format(str(folder)), cwd=clean_copy)
    (found,) = folder.iterdir()
    return found


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"ELOQUENT_PURE": "1"}, "ELOQUENT_PURE asks for it"),
        ({"CC": "false"}, "it could not be compiled, which needs a compiler of C and Python's header files"),
    ],
    ids=["for the asking", "without a compiler"],
)
def test_a_source_distribution_makes_the_same_wheel_of_pure_python(
    variables: dict[str, str], reason: str, wheel: Path, sdist: Path, tmp_path: Path
):
    built, installed = tmp_path / "dist", tmp_path / "installed"
    pip = (sys.executable, "-m", "pip")
    words = ("wheel", "--verbose", "--no-deps", "--no-build-isolation", "--wheel-dir", built, sdist)
    told = run(*pip, *words, cwd=tmp_path, **variables)
    assert f"the core of this wheel is pure Python: {reason}\n" in told.stdout + told.stderr
    (pure,) = built.iterdir()
    assert pure.name.endswith("-py3-none-any.whl")
    assert names(pure) == names(wheel) - libraries(wheel)
    run(*pip, "install", "--quiet", "--no-deps", "--target", installed, pure, cwd=tmp_path)
    tried = run(sys.executable, "-c", WHICH, cwd=tmp_path, PYTHONPATH=str(installed))
    assert tried.stdout == f"pure {installed}\n"


def test_an_installation_runs_its_compiled_core_and_for_the_asking_its_sources(bare: Installation):
    compiled, pure = bare.run("python", "-c", WHICH), bare.run("python", "-c", WHICH, ELOQUENT_PURE="1")
    assert compiled.stdout.startswith(f"compiled {bare.environment}"), compiled.stderr
    assert pure.stdout.startswith(f"pure {bare.environment}"), pure.stderr


def test_the_generated_messages_are_imported_from_the_installation(bare: Installation):
    program = "import eloquent.api.v1.exchange_pb2 as api; print(api.__file__); print(api.Resume(next=7))"
    tried = bare.run("python", "-c", program)
    assert tried.returncode == 0, tried.stderr
    assert tried.stdout.startswith(str(bare.environment))
    assert "next: 7" in tried.stdout
