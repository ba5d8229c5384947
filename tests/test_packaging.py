"""What pyproject.toml says about the package, held against what the package does."""

import re
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
API = REPOSITORY / "services" / "eloquent" / "api" / "v1"
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))

EXTRAS = PYPROJECT["project"]["optional-dependencies"]
DECLARED = [*PYPROJECT["project"]["dependencies"], *(one for extra in EXTRAS.values() for one in extra)]


def floor(library: str) -> str:
    """Return the oldest release that is declared to do."""
    (found,) = {one for requirement in DECLARED for one in re.findall(rf"^{library}>=([0-9.]+)", requirement)}
    return found


def asked_for(pattern: str, suffix: str) -> set[str]:
    """Return the versions of its libraries that generated code refuses to do without."""
    return {
        ".".join(match.groups()) for path in API.glob(f"*{suffix}") for match in re.finditer(pattern, path.read_text())
    }


def test_no_release_is_allowed_that_the_generated_code_refuses():
    assert asked_for(r"PUBLIC,\s*(\d+),\s*(\d+),\s*(\d+),", "_pb2.py") == {floor("protobuf")}
    assert asked_for(r"GRPC_GENERATED_VERSION = '(.*)'", "_pb2_grpc.py") == {floor("grpcio")}


def test_an_editable_installation_is_built_with_what_a_wheel_is_built_with():
    assert set(PYPROJECT["build-system"]["requires"]) <= {*DECLARED}
    assert set(EXTRAS["build"]) < set(PYPROJECT["build-system"]["requires"])
