"""The figures: both forms of each, and the same bytes from the same numbers, whoever draws them."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from eloquent.sim.paper import limit
from eloquent.sim.paper.plots import draw
from eloquent.sim.paper.reproduction import Plan, reproduce


def test_figures_are_drawn_and_drawn_alike(monkeypatch: pytest.MonkeyPatch):
    few = [
        limit.OutageCase(0.1, 0.4, 0.2),
        *(limit.OutageCase(0.1, 0.4, outage, limit.LIMIT) for outage in (0.5, 0.8, 1.1)),
    ]
    monkeypatch.setattr(limit, "cases", lambda: few)
    plan = Plan(("eloquent", "bound"), sessions=2, headline=1, varied=1)
    reproduction = reproduce(plan, seed=1, session_s=2.0)
    files = dict(draw(reproduction))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        again = dict(draw(reproduction, executor))
    modern = ("frontier-modern-50-text", "frontier-modern-50-openai")
    figures = ("figure-2", "figure-5", "figure-6", "figure-7", "frontier", "limit", "stall-lengths", *modern)
    assert {f"{name}.{form}" for name in figures for form in ("png", "svg")} == {*files}
    assert files.keys() == again.keys()
    for name, content in files.items():
        assert content == again[name], name
