"""The values of the panels, from a real Prometheus."""

import asyncio
import time

import pytest
from starlette.datastructures import QueryParams

from eloquent.watch.board.selection import Selection
from eloquent.watch.board.values import read_values
from eloquent.watch.prometheus import Prometheus, PrometheusError

RATIO, NOW, CLIENTS, LENGTHS, REDUNDANCY = 0, 1, 2, 6, 8  # panels of the dashboard Stalls


def read(url, words):
    async def run():
        prometheus = Prometheus(url)
        try:
            return await read_values(prometheus, Selection.parse(QueryParams(words), ("c1", "c2")))
        finally:
            await prometheus.close()

    return asyncio.run(run())


def values(url, panel, words=""):
    (found,) = read(url, f"dashboard=eloquent-stalls&panel={panel}{words}")["panels"]
    return found


def test_lines_are_named_coloured_and_ordered_as_the_registry_has_them(prometheus):
    series = values(prometheus, RATIO)["series"]
    assert [(one["name"], one["colour"]) for one in series] == [("TCP (gRPC)", "#d55e00"), ("Eloquent", "#0072b2")]
    assert [one["values"][-1] for one in series] == pytest.approx([0.5, 0.05], rel=0.05)


def test_all_charts_share_their_instants_and_what_is_missing_is_null(prometheus):
    answer = read(prometheus, "dashboard=eloquent-stalls&span=6h")
    times = answer["times"]
    assert times[-1] - times[0] == 6 * 3600
    assert abs(times[-1] - time.time()) < 60 + answer["step"]
    assert all(at % answer["step"] == 0 for at in times)
    for panel in answer["panels"]:
        for row in panel.get("rows", [one["values"] for one in panel.get("series", []) if "values" in one]):
            assert len(row) == len(times)
            assert row[0] is None  # Prometheus was not there six hours ago, however long the tests before took


def test_present_values_and_their_choice(prometheus):
    (one,) = values(prometheus, NOW, "&scheme=eloquent&client=c2")["series"]
    assert one["name"] == "Eloquent"
    assert one["value"] == pytest.approx(0.05, rel=0.05)


def test_clients_come_before_schemes_in_the_order_of_the_legend(prometheus):
    names = [one["name"] for one in values(prometheus, CLIENTS)["series"]]
    assert names == ["c1 TCP (gRPC)", "c1 Eloquent", "c2 TCP (gRPC)", "c2 Eloquent"]


def test_a_heat_map_has_a_row_a_bucket_that_holds_this_bucket_alone(prometheus):
    found = values(prometheus, LENGTHS)
    assert found["bounds"][0] == "0.2"
    assert found["bounds"][-1] == "+Inf"
    assert len(found["rows"]) == len(found["bounds"])
    assert {value for row in found["rows"] for value in row} <= {None, 0.0}  # all stalls were before the first scrape


def test_what_nobody_counts_has_no_series(prometheus):
    assert values(prometheus, REDUNDANCY)["series"] == []


def test_a_prometheus_that_is_not_there_is_said_in_a_sentence():
    with pytest.raises(PrometheusError, match="does not answer"):
        values("http://127.0.0.1:1", RATIO)
