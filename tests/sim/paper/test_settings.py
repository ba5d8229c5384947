"""Which schemes stand in the figures, and on which line."""

import re
from dataclasses import replace

import pytest

from eloquent import schemes
from eloquent.protocol.scheme import Family
from eloquent.sim.paper.settings import DUPLICATES, LADDERS, OURS, PRINTED, TCP, baseline_of, in_series, scheme_names


def test_every_registered_family_with_endpoints_is_in_the_figures():
    names = set(scheme_names())
    assert {TCP, *DUPLICATES, OURS, "tcp", "tcp-bbr", "bound"} <= names
    for family in schemes.FAMILIES:
        if schemes.get(family.default).sender is not None:
            assert any(family.pattern.fullmatch(name) for name in names), family.form


def test_no_scheme_stands_there_twice_and_ladders_are_whole():
    names = scheme_names()
    assert len(set(names)) == len(names)
    for ladder in LADDERS:
        assert set(ladder.names) <= set(names)
        assert len(ladder.steps) == len(ladder.names)


def test_a_ladder_is_one_line_and_any_other_scheme_a_point():
    series = in_series(["tcp", "red-1", OURS, "red-4"])
    assert [line.names[0] for line in series] == ["tcp", "red-1", OURS]
    assert series[0].label == "TCP (model, CUBIC)"


def test_a_newly_registered_scheme_is_in_the_figures(monkeypatch: pytest.MonkeyPatch):
    fresh = Family("fresh", re.compile("fresh"), lambda match: replace(schemes.get("red-2"), name=match[0]), "fresh")
    monkeypatch.setattr(schemes, "FAMILIES", (*schemes.FAMILIES, fresh))
    assert scheme_names()[-1] == "fresh"
    assert in_series(scheme_names())[-1].names == ("fresh",)


@pytest.mark.parametrize(
    ("redundancy", "baseline"),
    [
        (0.3, "duplicate-2"),
        (1.27, "duplicate-3"),
        (3.26, "duplicate-5"),
        (4.24, "duplicate-5"),  # above all that the paper has: the largest
    ],
)
def test_the_duplication_to_compare_with_is_the_nearest_above_in_size(redundancy: float, baseline: str):
    tcp, _, copies, _ = PRINTED
    assert baseline_of(copies, redundancy) == baseline
    assert baseline_of(tcp, redundancy) == TCP
