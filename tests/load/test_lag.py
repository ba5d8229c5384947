"""How late a load process is: measured in one that stands still for a while."""

import asyncio
import itertools
import time

import gevent
import pytest
from prometheus_client import CollectorRegistry

from eloquent import telemetry
from eloquent.load.lag import INTERVAL, LagSampler
from eloquent.records.run_directory import RunDirectory


def test_a_process_that_stands_still_has_as_many_late_samples_as_it_missed_instants(tmp_path):
    registry = CollectorRegistry()
    log = RunDirectory(tmp_path).lag_writer("c1")
    sampler = LagSampler("c1", telemetry.LoadMetrics(registry).lag, log)
    measuring = gevent.spawn(sampler.sample, gevent.sleep)
    gevent.sleep(0.12)
    time.sleep(0.4)  # the real one: no greenlet runs meanwhile
    gevent.sleep(0.12)
    sampler.end()
    measuring.join()
    log.close()
    rows = [row for _, row in RunDirectory(tmp_path).lags()]
    assert all(b.at_s - a.at_s == pytest.approx(INTERVAL) for a, b in itertools.pairwise(rows))
    assert max(row.lag_s for row in rows) > 0.3
    assert sum(row.lag_s > INTERVAL for row in rows) >= 6
    assert registry.get_sample_value("eloquent_load_lag_seconds_count", {"client": "c1"}) == len(rows)


def test_the_end_is_measured_no_more(tmp_path):
    log = RunDirectory(tmp_path).lag_writer("c1")
    sampler = LagSampler("c1", telemetry.LoadMetrics(CollectorRegistry()).lag, log)
    measuring = gevent.spawn(sampler.sample, gevent.sleep)
    gevent.sleep(0.12)
    sampler.end()
    time.sleep(0.4)
    measuring.join()
    log.close()
    assert max(row.lag_s for _, row in RunDirectory(tmp_path).lags()) < 0.3


def test_a_loop_that_stands_still_is_late_alike(tmp_path):
    log = RunDirectory(tmp_path).lag_writer("c1")
    sampler = LagSampler("c1", telemetry.LoadMetrics(CollectorRegistry()).lag, log)

    async def stand_still():
        measuring = asyncio.create_task(sampler.sample_loop())
        await asyncio.sleep(0.12)
        time.sleep(0.4)  # noqa: ASYNC251  (the real one)
        await asyncio.sleep(0.12)
        sampler.end()
        await measuring

    asyncio.run(stand_still())
    log.close()
    assert sum(row.lag_s > INTERVAL for _, row in RunDirectory(tmp_path).lags()) >= 6
