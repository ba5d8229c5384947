"""A lab that its machine starves does not look right: it says so first, names the cause, compares nothing, and fails."""

import contextlib
import json
import time
import urllib.request

import pytest

from eloquent.report.table import NOTHING_COMPARED

pytestmark = pytest.mark.lab

SESSION = 3  # seconds


def test_a_starved_lab_is_told_everywhere_with_the_cause(limited_group, testbed):
    """As `docker run --cpus` would, a limit stops all of the lab that it may stop, while it streams."""

    def starve(_: int) -> None:
        limited_group.allow(0.05)
        for pid in testbed.lab_pids():
            with contextlib.suppress(OSError):  # it has ended; or the carrier, whose real time a group may not have
                limited_group.processes.write_text(str(pid))
        time.sleep(2 * SESSION)
        limited_group.allow(None)

    words = ("--clients", "2", "--session", str(SESSION), "--schemes", "grpc,eloquent")
    assert testbed.up_until(words, "streaming 4 sessions", starve, may_be_invalid=False) == 1
    flaws = testbed.manifest()["flaws"]
    assert any(flaw.startswith("a control group's processor limit") for flaw in flaws), flaws
    assert any("who render lagged by more than 20 ms" in flaw for flaw in flaws), flaws
    assert any("relays and servers lagged by more than 20 ms" in flaw for flaw in flaws), flaws
    summary = (testbed.run / "summary.md").read_text()
    for text in (testbed.output, summary):
        assert NOTHING_COMPARED in text
        assert "against" not in text
    with urllib.request.urlopen(f"{testbed.url('the board')}/api/run", timeout=20) as answer:
        assert json.load(answer)["flaws"] == {"the rounds": flaws}
    assert "the rounds, not valid: a control group's processor limit" in testbed.call("top", "--once").stdout
