"""`eloquent check-host`: what this machine can do, and which core it does it with."""

import pytest
from typer.testing import CliRunner

from eloquent.cli import app
from eloquent.emulation import capabilities


def test_check_host_tells_which_core_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "CAPABILITIES", ())
    done = CliRunner().invoke(app, ["check-host"])
    assert done.exit_code == 0
    assert done.output.endswith("The core is pure (docs/install.md).\n")
