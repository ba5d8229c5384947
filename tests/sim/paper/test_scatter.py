"""Points of a figure: a marker for each series, and hollow where sessions failed."""

from eloquent.sim.paper.scatter import markers
from eloquent.sim.paper.settings import in_series, scheme_names


def test_each_series_has_a_marker_of_its_own():
    names = scheme_names()
    chosen = markers(names)
    assert len(chosen) == len(in_series(names)) == len(set(chosen))
    assert markers(["eloquent", "bound"]) == ["*", "D"]
