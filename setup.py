"""Generate code from proto/ whenever the package is built; all else about the package stands in pyproject.toml.

A wheel gets the code by itself; an editable installation finds it among the sources, where git ignores it.

A wheel has its core compiled, by mypyc from the same sources, and is for one kind of machine. Without a compiler of C, or with
ELOQUENT_PURE=1, all of it is pure Python, and for every machine. `build_core` compiles the core for a clone (`make compiled`).
"""

import logging
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

from setuptools import Command, Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError, ExecError

sys.path.insert(0, str(Path(__file__).resolve().parent / "services"))
from eloquent import core

PROTOS = Path("proto")
OPTIMIZATION = "1"  # of the C compiler
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


class BuildExtensions(build_ext):
    """Compiles the files of an extension beside each other, as many as there are processors."""

    def build_extensions(self) -> None:
        """Build the extensions, of which one has nearly all files."""
        compile_all = self.compiler.compile

        def compile_beside(sources: list[str], **options: Any) -> list[str]:
            with ThreadPoolExecutor(os.cpu_count()) as beside:
                made = beside.map(lambda source: compile_all([source], **options), sources)
                return list(chain.from_iterable(made))

        self.compiler.compile = compile_beside
        super().build_extensions()


class BuildWheel(bdist_wheel):
    """Makes a wheel with all of the core compiled, or nothing of it."""

    def run(self) -> None:
        """Compile the core if it is wanted and can be, tell which one it is, and make the wheel."""
        obstacle = "ELOQUENT_PURE asks for it" if core.is_to_be_pure() else self._compile()
        if obstacle:
            self._extend([])
        said = f"pure Python: {obstacle}" if obstacle else "compiled"
        self.announce(f"the core of this wheel is {said}", level=logging.WARNING)
        self.root_is_pure = bool(obstacle)
        super().run()

    def _compile(self) -> str:
        """Compile the core; return why it cannot be done, or nothing."""
        if find_spec("mypyc") is None:
            return "mypy is not installed"
        try:
            self._extend(compile_core(Path(self.get_finalized_command("build").build_base)))
            self.run_command("build_ext")
        except (BaseError, CCompilerError, SystemExit) as error:  # the last is how mypyc ends
            self.announce(str(error), level=logging.WARNING)
            return "it could not be compiled, which needs a compiler of C and Python's header files"
        return ""

    def _extend(self, extensions: list[Extension]) -> None:
        """Set what is compiled: pure packages and others are built in folders of their own."""
        self.distribution.ext_modules = extensions
        self.reinitialize_command("build", reinit_subcommands=True)


class BuildCore(Command):
    """Compiles the core for a clone: into `.build/core`, where `eloquent.core` finds it as long as no source changes."""

    description = "compile the core for an editable installation"
    user_options: ClassVar = []

    def initialize_options(self) -> None:
        """There is nothing to set."""

    def finalize_options(self) -> None:
        """Nor to take from elsewhere."""

    def run(self) -> None:
        """Compile into a new folder, tell of which sources, and put it in the place of an older one."""
        made = core.FOLDER.with_name("core-new")
        shutil.rmtree(made, ignore_errors=True)
        of = core.digest()
        building = self.reinitialize_command("build_ext", build_lib=str(made), build_temp=str(made / "temporary"))
        building.extensions = self.distribution.ext_modules = compile_core(made / "temporary")
        self.run_command("build_ext")
        shutil.rmtree(made / "temporary")
        (made / core.DIGEST).write_text(of, encoding="ascii")
        shutil.rmtree(core.FOLDER, ignore_errors=True)
        made.rename(core.FOLDER)


def compile_core(folder: Path) -> list[Extension]:
    """Translate the core to C, and return what makes extension modules of it.

    Args:
        folder: Where to put the C.
    """
    from mypyc.build import mypycify

    paths = [os.path.relpath(path) for path in core.sources()]
    options = {"opt_level": OPTIMIZATION, "debug_level": "0", "multi_file": True, "group_name": "eloquent"}
    return mypycify(paths, target_dir=str(folder), **options)


build.sub_commands.append(("build_proto", None))
setup(
    cmdclass={
        "bdist_wheel": BuildWheel,
        "build_core": BuildCore,
        "build_ext": BuildExtensions,
        "build_proto": BuildProto,
    },
)
