"""Tables of simulations."""

from pathlib import Path

from eloquent import scenarios
from eloquent.sim.engine.batch import Point
from eloquent.sim.engine.experiment import run
from eloquent.sim.engine.session import constant_rate
from eloquent.sim.engine.tables import SessionsFile, Table, figures_table, gaps_table

TABLE = Table("name", "Title", ("scheme", "stall_ratio"), (("eloquent", 0.25), ("bound", None)))


def test_a_table_is_written_as_csv_and_as_markdown():
    assert TABLE.to_csv() == "scheme,stall_ratio\neloquent,0.250000\nbound,\n"
    assert TABLE.to_markdown() == (
        "### Title\n\n| scheme | stall ratio |\n| --- | ---: |\n| eloquent | 0.250 |\n| bound | - |\n"
    )


def test_sessions_are_logged_while_they_are_done(tmp_path: Path):
    points = [Point("eloquent", scenarios.load("paper-default"))]
    with SessionsFile(tmp_path) as log:
        results = run(points, sessions=3, generated_s=constant_rate(3.0), seed=1, each=log.add)
    lines = (tmp_path / "sessions.csv").read_text().splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("scenario,choices,scheme,session,outcome,tokens")
    assert lines[1].startswith("paper-default,defaults,eloquent,0,ok,30")
    table = figures_table(results, name="figures", title="Figures")
    assert dict(zip(table.headings, table.rows[0], strict=True))["tokens"] == 90
    assert sum(row[3] for row in gaps_table(results, name="gaps", title="Gaps").rows) == 87


def test_without_a_folder_nothing_is_logged():
    with SessionsFile(None) as log:
        run([Point("eloquent", scenarios.load("clean"))], sessions=1, generated_s=(0.0,), seed=1, each=log.add)
