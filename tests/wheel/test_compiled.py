"""The compiled core of the wheel: the tests of the core hold for it, too, and it keeps nothing of a million datagrams."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.wheel.conftest import REPOSITORY, without_python_variables

pytestmark = [pytest.mark.wheel, pytest.mark.timeout(1200)]

PATIENCE = 1000  # seconds
CORE_TESTS = ("tests/protocol", "tests/baselines", "tests/channel", "tests/sim/engine")
STREAMING = """
import resource
from itertools import count

from eloquent import schemes
from eloquent.protocol import sender

assert sender.__file__.endswith(".so"), sender.__file__


def stream(name, datagrams):
    scheme = schemes.get(name)
    sending, receiving = scheme.make_sender(), scheme.make_receiver()
    crossed = 0
    for number in count():
        now = 0.02 * number
        sending.send_token(b"token %d" % number, now=now)
        for data in sending.datagrams_to_send(now=now):
            receiving.receive_datagram(data, now=now)
            crossed += 1
        while receiving.next_event() is not None:
            pass
        for data in receiving.datagrams_to_send(now=now):
            sending.receive_datagram(data, now=now)
            crossed += 1
        while sending.next_event() is not None:
            pass
        if crossed >= datagrams:
            return


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


for name in ("eloquent", "eloquent-packed"):
    stream(name, 50_000)
    before = peak()
    stream(name, 500_000)
    print(name, peak() - before)
    assert peak() - before < 4096  # KiB; a byte kept of each would be 500
"""


WHICH = "from eloquent.channel import link; from eloquent.protocol import sender; print(link.__file__, sender.__file__)"


@pytest.fixture(scope="module")
def core(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment variables by which the compiled package is found before that of the repository."""
    folder = tmp_path_factory.mktemp("installed")
    words = ("-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, wheel)
    subprocess.run([sys.executable, *words], check=True, timeout=PATIENCE)
    return without_python_variables() | {"PYTHONPATH": str(folder), "ELOQUENT_PURE": "0"}


def test_what_holds_for_the_core_holds_for_the_compiled_one(core: dict[str, str]) -> None:
    which = subprocess.check_output([sys.executable, "-c", WHICH], cwd=REPOSITORY, env=core, text=True).split()
    assert all(file.startswith(core["PYTHONPATH"]) and file.endswith(".so") for file in which), which
    words = ("-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "-m", "not pure", *CORE_TESTS)
    done = subprocess.run(
        [sys.executable, *words],
        cwd=REPOSITORY,
        env=core,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]


def test_nothing_is_kept_of_a_million_datagrams(core: dict[str, str], tmp_path: Path) -> None:
    words = (sys.executable, "-c", STREAMING)
    done = subprocess.run(words, cwd=tmp_path, env=core, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_clone_uses_it_as_long_as_the_sources_are_those_that_were_compiled(
    core: dict[str, str], clean_copy: Path, tmp_path: Path
) -> None:
    installed, services = Path(core["PYTHONPATH"]), tmp_path / "services"
    shutil.copytree(clean_copy / "services", services)
    shutil.copytree(REPOSITORY / "services" / "eloquent" / "api", services / "eloquent" / "api", dirs_exist_ok=True)
    place = tmp_path / ".build" / "core"
    for library in installed.rglob("*.so"):
        (place / library.relative_to(installed)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, place / library.relative_to(installed))

    def run(words: str, **variables: str) -> list[str]:
        environment = core | {"PYTHONPATH": str(services)} | variables
        return subprocess.check_output([sys.executable, "-c", words], cwd=tmp_path, env=environment, text=True).split()

    assert all(file.endswith(".py") for file in run(WHICH))  # of unknown sources
    run("from eloquent import core; (core.FOLDER / core.DIGEST).write_text(core.digest())")
    assert [Path(file).suffix for file in run(WHICH)] == [".so", ".so"]
    assert all(file.startswith(str(place)) for file in run(WHICH))
    assert all(file.endswith(".py") for file in run(WHICH, ELOQUENT_PURE="1"))
    with (services / "eloquent" / "protocol" / "sender.py").open("a") as file:
        file.write("\n")
    assert all(file.endswith(".py") for file in run(WHICH))
