"""The job of a load test: how it is handed over."""

import pytest

from eloquent.errors import ConfigurationError
from eloquent.load.job import JOB_VARIABLE, read_job

SCHEMES = ("grpc", "sse", "duplicate-2", "eloquent")


def test_a_job_comes_by_a_file_whose_path_is_in_the_environment(make_job, tmp_path, monkeypatch):
    job = make_job(hosts=3, workers=2, schemes=SCHEMES)
    (tmp_path / "job.json").write_text(job.model_dump_json())
    monkeypatch.setenv(JOB_VARIABLE, str(tmp_path / "job.json"))
    assert read_job() == job


def test_users_come_to_the_hosts_of_all_workers_in_turn(make_job):
    assert make_job(hosts=5, workers=2).clients == ["c1", "c2", "c3", "c4", "c5"]


def test_a_process_without_a_job_says_so(tmp_path, monkeypatch):
    monkeypatch.delenv(JOB_VARIABLE, raising=False)
    with pytest.raises(ConfigurationError, match="is run by make load"):
        read_job()
    monkeypatch.setenv(JOB_VARIABLE, str(tmp_path / "missing.json"))
    with pytest.raises(ConfigurationError, match="cannot read the load test's job"):
        read_job()
