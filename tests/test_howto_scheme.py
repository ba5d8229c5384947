"""docs/howto-scheme.md does what it says: its file and its line make a scheme that can be simulated."""

import re
import types
from pathlib import Path

import pytest

from eloquent import scenarios, schemes
from eloquent.report import styles
from eloquent.sim.engine.batch import Point
from eloquent.sim.engine.experiment import run
from eloquent.sim.engine.session import constant_rate
from eloquent.sim.paper.settings import scheme_names

PAGE = Path(__file__).parents[1] / "docs" / "howto-scheme.md"


def test_the_page_makes_a_scheme(monkeypatch: pytest.MonkeyPatch):
    file, line = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    pairs = types.ModuleType("pairs")
    exec(compile(file, str(PAGE), "exec"), pairs.__dict__)
    assert line.strip() == "pairs.FAMILY,"
    monkeypatch.setattr(schemes, "FAMILIES", (*schemes.FAMILIES, pairs.FAMILY))

    points = [Point(name, scenarios.load("paper-default")) for name in ("pairs", "bound")]
    ours, bound = (result.figures() for result in run(points, sessions=5, generated_s=constant_rate(30.0), seed=1))
    assert (ours.failed, ours.tokens) == (0, 1500)
    assert bound.stall_ratio is not None
    assert ours.stall_ratio is not None
    assert bound.stall_ratio < ours.stall_ratio < 1
    assert "pairs" in scheme_names()
    assert styles.label("pairs") == "pairs"
    assert styles.colour("pairs") in styles.SPARE_COLOURS
