"""The job of a load test: how it is handed over, and who asks by which scheme."""

from collections import Counter

import pytest

from eloquent.errors import ConfigurationError
from eloquent.load.job import JOB_VARIABLE, read_job

SCHEMES = ("grpc", "sse", "duplicate-2", "eloquent")


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_every_host_has_all_schemes_and_all_schemes_have_as_many_users(make_job, count):
    """Also where the numbers of hosts and schemes have a common divisor."""
    job = make_job(hosts=8, schemes=SCHEMES[:count])
    per_host = [Counter(job.scheme_of(client, user) for user in range(1, 13)) for client in job.clients]
    assert all(set(found.values()) == {12 // count} and len(found) == count for found in per_host)
    firsts = Counter(job.scheme_of(client, 1) for client in job.clients)
    assert max(firsts.values()) - min(firsts.values()) <= 1
    assert len(firsts) == count


def test_a_job_comes_by_a_file_whose_path_is_in_the_environment(make_job, tmp_path, monkeypatch):
    job = make_job(hosts=2, schemes=SCHEMES)
    (tmp_path / "job.json").write_text(job.model_dump_json())
    monkeypatch.setenv(JOB_VARIABLE, str(tmp_path / "job.json"))
    assert read_job() == job


def test_a_process_without_a_job_says_so(tmp_path, monkeypatch):
    monkeypatch.delenv(JOB_VARIABLE, raising=False)
    with pytest.raises(ConfigurationError, match="is run by make load"):
        read_job()
    monkeypatch.setenv(JOB_VARIABLE, str(tmp_path / "missing.json"))
    with pytest.raises(ConfigurationError, match="cannot read the load test's job"):
        read_job()
