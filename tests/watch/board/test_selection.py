"""What the page may ask for, and above all what it may not."""

import pytest
from starlette.datastructures import QueryParams

from eloquent.errors import ConfigurationError
from eloquent.watch.board.selection import POINTS, SPANS, WINDOWS, Selection
from eloquent.watch.panels import STALLS, TESTBED

CLIENTS = ("c1", "c2", "c10")


def parse(text: str) -> Selection:
    return Selection.parse(QueryParams(text), CLIENTS)


def test_nothing_chosen_is_everything():
    selection = parse("dashboard=eloquent-stalls")
    assert (selection.client, selection.scheme, selection.window, selection.span) == (".+", ".+", "30s", 300.0)
    assert list(selection.panels.values()) == list(STALLS.panels)


def test_what_is_chosen_stands_in_the_query():
    selection = parse(
        "dashboard=eloquent-stalls&panel=2&panel=0&client=c1&client=c10&scheme=duplicate-3&window=2m&span=1h"
    )
    assert list(selection.panels) == [0, 2]
    expr = selection.fill(STALLS.panels[0].queries[0])
    assert 'client=~"c1|c10"' in expr
    assert 'scheme=~"duplicate-3"' in expr
    assert "[2m]" in expr


@pytest.mark.parametrize("span", SPANS)
def test_a_chart_has_no_more_points_than_it_can_show(span):
    selection = parse(f"dashboard=eloquent-load&span={span}")
    assert selection.step >= 2
    assert selection.span / selection.step <= POINTS


@pytest.mark.parametrize("dashboard", TESTBED, ids=lambda dashboard: dashboard.title)
@pytest.mark.parametrize("window", WINDOWS)
def test_every_query_of_every_panel_is_filled_in(dashboard, window):
    selection = parse(f"dashboard={dashboard.uid}&client=c2&scheme=grpc&window={window}")
    for panel in selection.panels.values():
        for query in panel.queries:
            assert "$" not in selection.fill(query)


@pytest.mark.parametrize(
    "words",
    [
        "",
        "dashboard=secrets",
        "dashboard=eloquent-stalls&panel=99",
        "dashboard=eloquent-stalls&panel=-1",
        'dashboard=eloquent-stalls&panel=0"}',
        "dashboard=eloquent-stalls&client=c3",
        "dashboard=eloquent-stalls&client=.%2B",
        'dashboard=eloquent-stalls&client=c1"} or up{job=~"',
        "dashboard=eloquent-stalls&client=c1|c2",
        "dashboard=eloquent-stalls&scheme=pigeon",
        "dashboard=eloquent-stalls&scheme=.*",
        'dashboard=eloquent-stalls&scheme=grpc"} or vector(1) or x{a="',
        "dashboard=eloquent-stalls&scheme=grpc%0A",
        "dashboard=eloquent-stalls&window=1y",
        "dashboard=eloquent-stalls&window=30s]) or up or rate(x[1m",
        "dashboard=eloquent-stalls&span=1e9",
    ],
)
def test_whatever_is_in_no_closed_set_is_refused(words):
    with pytest.raises(ConfigurationError):
        parse(words)
