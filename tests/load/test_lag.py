"""How late a load process is: measured in one that stands still for a while."""

import itertools
import time

import gevent
import pytest
from prometheus_client import CollectorRegistry

from eloquent import telemetry
from eloquent.load.lag import INTERVAL, LagSampler
from eloquent.report.run_directory import RunDirectory


def test_a_process_that_stands_still_has_as_many_late_samples_as_it_missed_instants(tmp_path):
    registry = CollectorRegistry()
    log = RunDirectory(tmp_path).lag_writer("c1")
    sampler = LagSampler("c1", telemetry.LoadMetrics(registry).lag, log)
    gevent.spawn(sampler.sample, gevent.sleep)
    gevent.sleep(0.12)
    time.sleep(0.4)  # the real one: no greenlet runs meanwhile
    gevent.sleep(0.12)
    log.close()
    rows = list(RunDirectory(tmp_path).lags())
    assert all(b.at_s - a.at_s == pytest.approx(INTERVAL) for a, b in itertools.pairwise(rows))
    assert max(row.lag_s for row in rows) > 0.3
    assert sum(row.lag_s > INTERVAL for row in rows) >= 6
    assert registry.get_sample_value("eloquent_load_lag_seconds_count", {"client": "c1"}) == len(rows)
