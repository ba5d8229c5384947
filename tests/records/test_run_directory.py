import json

import pytest

from eloquent.errors import ConfigurationError
from eloquent.records.run_directory import RunDirectory, write_json


def test_latest_leads_to_the_newest_run(tmp_path):
    for run_id in ("one", "two"):
        run = RunDirectory.create(tmp_path / "runs", run_id)
        assert (tmp_path / "runs" / "latest").resolve() == run.path.resolve()
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["latest", "one", "two"]


def test_a_run_is_not_written_over(tmp_path):
    RunDirectory.create(tmp_path, "one")
    with pytest.raises(ConfigurationError, match=r"^there is a run .*/one already$"):
        RunDirectory.create(tmp_path, "one")


def test_the_manifest_keeps_what_others_wrote_into_it(run):
    manifest = run.read_manifest()
    assert (manifest.run, manifest.seed, manifest.schemes) == ("small", 1, ("eloquent", "grpc", "duplicate-2"))
    assert manifest.model_dump()["links"][0]["self_test"] == {"rtt_s": 0.4}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"^{path} is not a run: cannot read its manifest.json: No such file or directory$"),
        ("{", r"^{path}/manifest.json: the file: Invalid JSON"),
        ('{"run": "x"}', r"^{path}/manifest.json: scenario: Field required$"),
    ],
)
def test_a_directory_without_a_usable_manifest_is_no_run(tmp_path, content, message):
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ConfigurationError, match=message.format(path=tmp_path)):
        RunDirectory(tmp_path).read_manifest()


def test_the_rows_of_all_files_are_read(run):
    assert len(list(run.sessions())) == 4
    assert {row.session for row in run.tokens()} > {row.session for row in run.sessions()}
    assert {row.scheme for row in run.streams()} == {"eloquent", "grpc"}
    assert {client for client, _ in run.probes()} == {"client1"}
    assert len(list(run.lags())) == 103


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "summary.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["summary.json"]
