"""Generate code from proto/ whenever the package is built; all else about the package stands in pyproject.toml.

A wheel gets the code by itself; an editable installation finds it among the sources, where git ignores it.

With ELOQUENT_COMPILED=1 a wheel has its core compiled, by mypyc from the same sources: it needs a compiler of C, and is for one
kind of machine. Without, it is pure Python, and for all.
"""

import os
import shutil
import sys
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

from setuptools import Command, Extension, setup
from setuptools.command.build import build
from setuptools.errors import ExecError

PROTOS = Path("proto")
CORE = ("protocol/**/*.py", "baselines/*.py", "channel/link.py")  # where relays and simulator spend their time
STUBS = "protoc-gen-mypy"  # what writes stubs of messages; those of services have a plugin of that name with _grpc


class BuildProto(Command):
    """Generates code from proto/: a sub-command of setuptools' `build`, called as its documentation of `SubCommand` says."""

    description = "generate code from proto/"
    user_options: ClassVar = [("build-lib=", "d", "folder of the package")]

    def initialize_options(self) -> None:
        """Set what setuptools overwrites: the folder, and whether the installation is an editable one."""
        self.build_lib = ""
        self.editable_mode = False

    def finalize_options(self) -> None:
        """Take the folder from the command `build`."""
        if not self.build_lib:
            self.build_lib = self.get_finalized_command("build").build_lib

    def run(self) -> None:
        """Generate messages, services and the stubs of both.

        Raises:
            ExecError: A file cannot be compiled; the compiler has said why.
        """
        from grpc_tools import protoc

        out = self._folder()
        out.mkdir(parents=True, exist_ok=True)
        words = [
            f"--proto_path={PROTOS}",
            f"--proto_path={files('grpc_tools') / '_proto'}",
            f"--python_out={out}",
            f"--grpc_python_out={out}",
            *(f"--plugin={name}={_program(name)}" for name in (STUBS, f"{STUBS}_grpc")),
            f"--mypy_out=quiet:{out}",
            f"--mypy_grpc_out=quiet:{out}",
        ]
        if protoc.main(["protoc", *words, *self.get_source_files()]) != 0:
            raise ExecError("the files of proto/ cannot be compiled")

    def get_source_files(self) -> list[str]:
        """Return what a source distribution has to hold."""
        return sorted(map(str, PROTOS.rglob("*.proto")))

    def get_outputs(self) -> list[str]:
        """Return what is generated."""
        modules = [self._folder() / Path(name).relative_to(PROTOS).with_suffix("") for name in self.get_source_files()]
        suffixes = ("pb2.py", "pb2.pyi", "pb2_grpc.py", "pb2_grpc.pyi")
        return [f"{module}_{suffix}" for module in modules for suffix in suffixes]

    def get_output_mapping(self) -> dict[str, str]:
        """Return which outputs are copies of sources: none."""
        return {}

    def _folder(self) -> Path:
        return Path("services") if self.editable_mode else Path(self.build_lib)


def _program(name: str) -> str:
    """Return the path of a program of the build environment, which need not be active."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    found = shutil.which(name, path=path)
    if found is None:
        raise ExecError(f"{name} is missing: install mypy-protobuf")
    return found


def compiled_core() -> list[Extension]:
    """Return what makes extension modules of the core; none unless they are asked for, and a wheel is."""
    if "bdist_wheel" not in sys.argv or not IS_COMPILED:
        return []
    from mypyc.build import mypycify

    package = Path("services/eloquent")
    return mypycify([str(path) for pattern in CORE for path in sorted(package.glob(pattern))])


IS_COMPILED = os.environ.get("ELOQUENT_COMPILED", "") not in {"", "0"}
build.sub_commands.append(("build_proto", None))
setup(
    cmdclass={"build_proto": BuildProto},
    ext_modules=compiled_core(),
    setup_requires=["mypy==2.4.1"] if IS_COMPILED else [],
)
