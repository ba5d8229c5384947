"""What holds for every test: properties meet the same examples each time, slowness is no failure, CI skips nothing."""

import os
import shutil
from typing import NoReturn

import pytest
from hypothesis import settings

settings.register_profile("reproducible", derandomize=True, deadline=None)
settings.load_profile("reproducible")


def cannot_run(why: str) -> NoReturn:
    """Skip a test with the sentence that says why; in CI, where every lane must run, fail."""
    if os.environ.get("CI"):
        pytest.fail(f"a skip is a failure in CI: {why}")
    pytest.skip(why)


@pytest.fixture(scope="session")
def needs_root() -> None:
    """Network namespaces and devices are root's."""
    if os.geteuid() != 0:
        cannot_run("this test makes network namespaces: run it as root")


@pytest.fixture(scope="session")
def needs_guest_kernel(needs_root: None) -> None:
    """Root starts it in a PID namespace of its own."""
    if shutil.which("linux.uml") is None:
        cannot_run("the guest kernel is missing: Debian's user-mode-linux")


@pytest.fixture(scope="session")
def needs_chromium() -> None:
    """A real browser looks at the board."""
    if shutil.which("chromium") is None:
        cannot_run("the browser is missing: make .build/packages-browser.stamp installs Debian's chromium")


@pytest.fixture(scope="session")
def needs_promtool() -> None:
    """Prometheus's own tool judges rules."""
    if shutil.which("promtool") is None:
        cannot_run("promtool is missing: Debian's prometheus package has it")
