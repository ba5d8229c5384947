import asyncio

import grpc
import pytest

from eloquent.serving.admission import Admission, Refused


def test_a_place_is_free_again_when_its_stream_ends_in_whatever_way():
    admission = Admission(1)
    with admission.inside(), pytest.raises(Refused, match="1 streams are open") as caught, admission.inside():
        pass
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    with pytest.raises(ZeroDivisionError), admission.inside():
        raise ZeroDivisionError
    with admission.inside():
        assert admission.active == 1
    assert admission.active == 0


@pytest.mark.parametrize(("needs", "left"), [(1.0, 0), (9.0, 1)])
def test_draining_waits_for_those_inside_and_lets_nobody_in(run_virtually, needs, left):
    admission = Admission(5)

    async def stream():
        with admission.inside():
            await asyncio.sleep(needs)

    async def run():
        streams = asyncio.create_task(stream())
        await asyncio.sleep(0)
        start = asyncio.get_running_loop().time()
        await admission.drain(3.0)
        took = asyncio.get_running_loop().time() - start
        with pytest.raises(Refused) as caught, admission.inside():
            pass
        active = admission.active
        streams.cancel()
        return took, active, caught.value.code

    assert run_virtually(run()) == (min(needs, 3.0), left, grpc.StatusCode.UNAVAILABLE)
