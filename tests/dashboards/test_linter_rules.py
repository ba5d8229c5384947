"""The rules of Grafana's dashboard-linter, each under its own name, held against the generated dashboards.

The linter is a Go program that no package of ours brings; these are its rules, read strictly: for every kind of panel,
where the linter itself looks at some. Exclusions are read from the linter's own file, `.lint`, and each states a reason.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any, get_args

import pytest
import yaml

from eloquent.watch.panels import PRODUCTION, Unit

FOLDER = Path(__file__).parents[2] / "dashboards" / "grafana" / "dashboards"
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
EXCLUDED = yaml.safe_load((FOLDER / ".lint").read_text())["exclusions"]

pytestmark = pytest.mark.parametrize("board", DASHBOARDS.values(), ids=DASHBOARDS.keys())

Json = dict[str, Any]


def variables(board: Json, kind: str) -> list[Json]:
    return [one for one in board["templating"]["list"] if one["type"] == kind]


def panels(board: Json) -> list[Json]:
    assert board["panels"]
    return board["panels"]


def targets(board: Json) -> Iterator[tuple[Json, Json]]:
    for panel in panels(board):
        for target in panel["targets"]:
            yield panel, target


def selectors(expr: str) -> list[str]:
    """Find the matchers of each selector, as they stand between braces."""
    found = re.findall(r"\{([^}]*)\}", expr)
    assert len(found) == len(re.findall(r"\b(?:eloquent|process)_[a-z_]+|\bup\b", expr)), (
        f"a selector without braces: {expr}"
    )
    return found


def fill(expr: str) -> str:
    """Put values in the place of Grafana's variables, as the linter does before it parses."""
    return Template(expr.replace("$__rate_interval", "8s")).substitute(
        job="eloquent", instance="a:1", scenario="x", client="c1", scheme="grpc"
    )


def check_template(board: Json, name: str) -> None:
    (variable,) = [one for one in variables(board, "query") if one["name"] == name]
    assert variable["datasource"]["uid"] == "${datasource}"
    assert variable["label"] == name.title()
    assert variable["multi"] is True
    assert variable["allValue"] == ".+"


def check_matcher(board: Json, label: str) -> None:
    for _, target in targets(board):
        for matchers in selectors(target["expr"]):
            assert f'{label}=~"${label}"' in matchers.split(","), target["expr"]


def test_exclusions_have_reasons_and_are_needed(board):
    """An exclusion that nothing needs any longer would hide the day when it does. Relays in production need none."""
    assert set(EXCLUDED) == {"template-instance-rule", "target-instance-rule"}
    assert all(len(one["reason"]) > 40 for one in EXCLUDED.values())
    if board["uid"] == PRODUCTION.uid:
        check_template(board, "instance")
        check_matcher(board, "instance")
        return
    with pytest.raises(ValueError, match="unpack"):
        check_template(board, "instance")
    with pytest.raises(AssertionError):
        check_matcher(board, "instance")


def test_template_datasource_rule(board):
    (variable,) = variables(board, "datasource")
    assert (variable["name"], variable["label"], variable["query"]) == ("datasource", "Data source", "prometheus")


def test_template_job_rule(board):
    check_template(board, "job")


def test_template_label_promql_rule(board, needs_promtool: None, tmp_path):
    exprs = []
    for variable in variables(board, "query"):
        called = re.fullmatch(r"label_values\((.+), ([a-z]+)\)", variable["query"])
        assert called, variable["query"]
        assert called[2] == variable["name"]
        exprs.append(fill(called[1]))
    check_promql(exprs, tmp_path)


def test_template_on_time_change_reload_rule(board):
    assert {variable["refresh"] for variable in variables(board, "query")} == {2}


def test_panel_datasource_rule(board):
    for panel in panels(board):
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])


def test_panel_title_description_rule(board):
    for panel in panels(board):
        assert panel["title"]
        assert len(panel["description"]) > len(panel["title"])


def test_panel_units_rule(board):
    """Ours are a few of the linter's list."""
    for panel in panels(board):
        assert panel["fieldConfig"]["defaults"]["unit"] in get_args(Unit)


def test_panel_no_targets_rule(board):
    assert all(panel["targets"] for panel in panels(board))


def test_target_logql_rule(board):
    """There is no Loki: a query of another language would be a mistake."""
    assert all(target["datasource"]["type"] == "prometheus" for _, target in targets(board))


def test_target_logql_auto_rule(board):
    assert not any("$__auto" in target["expr"] for _, target in targets(board))


def test_target_promql_rule(board, needs_promtool: None, tmp_path):
    check_promql([fill(target["expr"]) for _, target in targets(board)], tmp_path)


def test_target_rate_interval_rule(board):
    for _, target in targets(board):
        assert set(re.findall(r"\[([^\]]*)\]", target["expr"])) <= {"$__rate_interval"}, target["expr"]


def test_target_job_rule(board):
    check_matcher(board, "job")


def test_target_counter_agg_rule(board):
    for _, target in targets(board):
        counters = re.findall(r"(\w+)\((\w+_total)\b", target["expr"])
        assert len(counters) == len(re.findall(r"_total\b", target["expr"]))
        assert {function for function, _ in counters} <= {"rate", "irate", "increase"}


def test_uneditable_dashboard(board):
    assert board["editable"] is False


def test_every_variable_is_used(board):
    """Not a rule of the linter, and still one: a variable that nothing reads is a knob that does nothing."""
    exprs = " ".join(target["expr"] for _, target in targets(board))
    for variable in variables(board, "query"):
        assert f'"${variable["name"]}"' in exprs
    assert set(re.findall(r'"\$([a-z]+)"', exprs)) == {variable["name"] for variable in variables(board, "query")}


def check_promql(exprs: list[str], folder: Path) -> None:
    """Let promtool parse expressions, as those of recording rules."""
    assert exprs
    rules = [{"record": f"expression:{number}", "expr": expr} for number, expr in enumerate(exprs)]
    file = folder / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "expressions", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", str(file)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(exprs)} rules found" in done.stdout
