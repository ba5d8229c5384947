"""Who computes: the results do not depend on it."""

import pytest

from eloquent import scenarios
from eloquent.cluster import workers
from eloquent.errors import ConfigurationError
from eloquent.sim.engine.batch import Point
from eloquent.sim.engine.experiment import run
from eloquent.sim.engine.session import constant_rate

POINTS = [Point("eloquent", scenarios.load("paper-default"))]


def test_one_process_is_the_callers_own():
    with workers(processes=1) as executor:
        assert executor is None


@pytest.mark.filterwarnings("default")  # Dask's own
def test_a_dask_cluster_gives_what_one_process_gives():
    serial = run(POINTS, sessions=25, generated_s=constant_rate(3.0), seed=1)
    with workers(processes=2, dask="local") as executor:
        parallel = run(POINTS, sessions=25, generated_s=constant_rate(3.0), seed=1, executor=executor)
    assert parallel[0].figures() == serial[0].figures()


def test_an_address_that_is_none_is_told():
    with pytest.raises(ConfigurationError, match="nonsense"), workers(dask="nonsense"):
        pass
