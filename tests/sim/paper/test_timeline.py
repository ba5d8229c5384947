"""Figure 2: who renders what when, after the packets of "go" and "to" were lost."""

from eloquent.channel.schedule import Direction
from eloquent.sim.paper.timeline import SCHEMES, WORDS, columns, table


def test_the_example_of_the_paper_comes_out():
    runs = {column.scheme: column for column in columns()}
    seen = {
        name: {
            word: round(column.trace.rendered_s[column.first + place] - column.start_s, 3)
            for place, word in enumerate(WORDS)
        }
        for name, column in runs.items()
    }
    assert all(words["can"] == 0.2 for words in seen.values())
    # Eloquent: the packet of "watch" brings all three words.
    assert seen["eloquent"]["go"] == seen["eloquent"]["watch"] == 0.5
    # The others wait for a retransmission, although with two copies "to" and "watch" had arrived.
    for name in ("tcp-simple", "duplicate-2"):
        assert seen[name]["go"] >= 0.7
    lost = {
        name: [row.tokens for row in column.trace.packets if row.arrived_s is None and row.direction is Direction.DOWN]
        for name, column in runs.items()
    }
    assert {name: len(rows) for name, rows in lost.items()} == {"tcp-simple": 2, "duplicate-2": 3, "eloquent": 2}


def test_the_table_has_a_row_for_each_word_and_scheme():
    assert len(table(columns()).rows) == len(WORDS) * len(SCHEMES)
