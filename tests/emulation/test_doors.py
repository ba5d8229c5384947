"""The ports through which the user reaches what runs in the lab."""

import asyncio

import pytest

from eloquent.emulation.doors import PROMETHEUS, Door
from eloquent.errors import ConfigurationError


@pytest.mark.parametrize("inner_is_up", [True, False])
def test_the_door_carries_a_connection_through(inner_is_up):
    async def echo(reader, writer):
        writer.write((await reader.read(100)).upper())
        await writer.drain()
        writer.close()

    async def scenario() -> bytes:
        inner = await asyncio.start_server(echo, "127.0.0.1", 0)
        front = Door("echo", "ECHO_PORT", inner.sockets[0].getsockname()[1])
        if not inner_is_up:
            inner.close()
            await inner.wait_closed()
        outside = front.open_outside(0)
        port = outside.getsockname()[1]
        door = await front.carry(outside)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"metrics")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        door.close()
        inner.close()
        return answer

    assert asyncio.run(scenario()) == (b"METRICS" if inner_is_up else b"")


def test_a_port_in_use_is_refused_with_a_remedy():
    with PROMETHEUS.open_outside(0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port} .* Prometheus .*PROMETHEUS_PORT={port + 1}"):
            PROMETHEUS.open_outside(port)
