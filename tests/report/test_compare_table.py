import io

from rich.console import Console

from eloquent.report.compare import compare
from eloquent.report.compare_table import render

CLIENTS = tuple(f"c{number}" for number in range(1, 9))


def printed(comparison):
    console = Console(file=io.StringIO(), width=80)
    console.print(render(comparison))
    return console.file.getvalue()


def test_first_stands_how_the_runs_were_made(make_run):
    first = make_run("a", clients=CLIENTS).path
    made = {"kernel": "[bold]6.1", "warnings": ["the machine was busy"]}
    text = printed(compare(first, make_run("b", clients=CLIENTS, seed=2, made=made).path))
    assert text.index("B: warning: the machine was busy") < text.index("[bold]6.1") < text.index("stall ratio")
    assert "Paired by client and round, 8 pairs" in text
    assert "all 14 comparisons" in text
    assert "…" not in text.split("verdict")[1].split("Paired")[0].replace(" … ", "")  # nothing is cut off


def test_a_shift_and_an_identity_are_told_apart(make_run):
    first = make_run("a", clients=CLIENTS).path
    second = make_run("b", clients=CLIENTS, seed=2, chances={"grpc": 0.3, "eloquent": 0.3}).path
    assert "beyond noise" in printed(compare(first, second)).split("Paired")[0]
    same = printed(compare(first, first)).split("Paired")[0]
    assert "beyond noise" not in same
    assert "Both were made alike" in same
    assert "+0.0 pp" in same


def test_why_something_is_not_comparable_is_told(make_run):
    text = " ".join(printed(compare(make_run("a").path, make_run("b", schedule="other").path)).split())
    assert "Not comparable for Eloquent (stall ratio, at 210 ms," in text
    assert "too few sessions." in text
    assert "Unpaired, 2 against 2" in text
