"""What is done with measurements: medians, ratios, tables."""

from bench.tables import Column, Table, medians, render

from bench import relays

TABLE = Table("Things", "What they take.", "thing", (Column("cost", "µs", 1), Column("kept", "%")), compared="cost")


def test_medians_are_of_each_figure_over_the_rounds_that_have_it():
    rounds = [{"a": {"cost": 3.0}}, {"a": {"cost": 1.0}, "b": {"cost": 7.0}}, {"a": {"cost": 2.0}}]
    assert medians(rounds) == {"a": {"cost": 2.0}, "b": {"cost": 7.0}}


def test_a_row_stands_beside_the_baseline():
    text = render(TABLE, {"a": {"cost": 30.0, "kept": 1234.5}, "b": {"cost": 5.0}}, {"a": {"cost": 20.0}})
    assert text.splitlines() == [
        "## Things",
        "",
        "What they take.",
        "",
        "| thing | µs | % | µs: of the baseline's |",
        "| --- | ---: | ---: | ---: |",
        "| a | 30.0 | 1,234 | × 1.50 |",
        "| b | 5.0 |  |  |",
    ]


def test_relays_stand_beside_what_else_carries_as_many_streams():
    rows = relays.derive(
        {
            "UDP echo, 10": {"server": 10.0, "client": 30.0, "kept": 1.0},
            "grpc.aio, 10": {"server": 60.0, "client": 60.0, "kept": 1.0},
            "relays, HTTP, sealed, 10": {"server": 50.0, "client": 30.0, "kept": 0.5},
            "relays, HTTP, sealed, 100": {"server": 40.0, "client": 40.0, "kept": 1.0},
        }
    )
    assert rows["relays, HTTP, sealed, 10"] == {
        "server": 50.0,
        "client": 30.0,
        "both": 80.0,
        "carried": 12_500.0,
        "of echo": 0.5,
        "of grpc": 1.5,
        "kept": 50.0,
    }
    assert rows["grpc.aio, 10"]["of grpc"] == 1.0
    assert "of grpc" not in rows["relays, HTTP, sealed, 100"]
