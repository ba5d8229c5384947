"""Prometheus's configuration, judged by its own tool, and the door to it."""

import asyncio
import socket
import subprocess

import pytest

from eloquent.emulation import monitoring
from eloquent.emulation.monitoring import Target, make_prometheus, open_door


def test_the_configuration_is_one_that_prometheus_takes(tmp_path):
    targets = [Target("viewer", "c1", "10.255.0.4:9100"), Target("carrier", "lab", "10.255.0.1:9100")]
    make_prometheus(tmp_path / "prometheus", targets, logs=tmp_path)
    checked = subprocess.run(
        ["promtool", "check", "config", str(tmp_path / "prometheus" / "prometheus.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert "rules found" in checked.stdout


@pytest.mark.parametrize("inner_is_up", [True, False])
def test_the_door_carries_a_connection_through(monkeypatch, inner_is_up):
    async def echo(reader, writer):
        writer.write((await reader.read(100)).upper())
        await writer.drain()
        writer.close()

    async def scenario() -> bytes:
        inner = await asyncio.start_server(echo, "127.0.0.1", 0)
        monkeypatch.setattr(monitoring, "LISTEN_PORT", inner.sockets[0].getsockname()[1])
        if not inner_is_up:
            inner.close()
            await inner.wait_closed()
        outside = socket.create_server(("127.0.0.1", 0))
        port = outside.getsockname()[1]
        door = await open_door(outside)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"metrics")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        door.close()
        inner.close()
        return answer

    assert asyncio.run(scenario()) == (b"METRICS" if inner_is_up else b"")
