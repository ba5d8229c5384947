"""The ports through which the user reaches what runs in the lab."""

import asyncio
import gc
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from eloquent.emulation.inbound_forwards import PROMETHEUS, InboundForward
from eloquent.errors import ConfigurationError


@pytest.mark.parametrize("inner_is_up", [True, False])
def test_a_connection_is_forwarded_inwards(inner_is_up):
    async def echo(reader, writer):
        writer.write((await reader.read(100)).upper())
        await writer.drain()
        writer.close()

    async def scenario() -> bytes:
        inner = await asyncio.start_server(echo, "127.0.0.1", 0)
        front = InboundForward("echo", "ECHO_PORT", inner.sockets[0].getsockname()[1])
        if not inner_is_up:
            inner.close()
            await inner.wait_closed()
        outside = front.listen_outside(0)
        port = outside.getsockname()[1]
        server = await front.serve(outside)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"metrics")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        server.close()
        inner.close()
        return answer

    assert asyncio.run(scenario()) == (b"METRICS" if inner_is_up else b"")


TIMEOUT = 10.0  # seconds, which only a connection that is kept for ever reaches
End = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def through_a_forward() -> AsyncIterator[tuple[End, End]]:
    """Connect a caller and a service, through a forward; both keep their ends open."""
    reached: asyncio.Queue[End] = asyncio.Queue()
    inner = await asyncio.start_server(lambda *end: reached.put(end), "127.0.0.1", 0)
    front = InboundForward("the service", "SERVICE_PORT", inner.sockets[0].getsockname()[1])
    outside = front.listen_outside(0)
    port = outside.getsockname()[1]
    server = await front.serve(outside)
    caller = await asyncio.open_connection("127.0.0.1", port)
    service = await reached.get()
    yield caller, service
    for _, writer in (caller, service):
        writer.transport.abort()
    server.close()
    inner.close()


def reset(end: End) -> None:
    end[1].get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end[1].transport.abort()


def open_connections(*ports: int) -> int:
    """Count the connected sockets of this process at these ports: others' come and go, as those of a page that is scraped."""
    gc.collect()
    found = 0
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed meanwhile, or not connected
            if str(path.readlink()).startswith("socket:"):
                with socket.socket(fileno=os.dup(int(path.name))) as end:
                    found += not {end.getsockname()[1:2], end.getpeername()[1:2]}.isdisjoint((port,) for port in ports)
    return found


@pytest.mark.parametrize("who", ["caller", "service"])
@pytest.mark.parametrize("is_waiting_to_write", [False, True])
def test_a_reset_of_one_side_resets_the_other_and_keeps_no_socket(who: str, is_waiting_to_write: bool):
    async def run() -> None:
        async with through_a_forward() as (caller, service):
            ports = caller[1].get_extra_info("peername")[1], service[1].get_extra_info("sockname")[1]
            assert open_connections(*ports) == 4
            (one, other) = (caller, service) if who == "caller" else (service, caller)
            if is_waiting_to_write:  # more than all buffers hold, to one who does not read
                other[1].write(bytes(30_000_000))
                await asyncio.sleep(0.3)
            reset(one)
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(other[0].read(), TIMEOUT)
            other[1].transport.abort()
            for _ in range(500):
                await asyncio.sleep(TIMEOUT / 500)
                if not open_connections(*ports):
                    return
            pytest.fail(f"{open_connections(*ports)} of 4 connections are still open")

    asyncio.run(run())


def test_one_side_may_end_before_the_other():
    """As a caller does who has asked, and waits for the answer."""

    async def run() -> bytes:
        async with through_a_forward() as (caller, service):
            caller[1].write(b"question")
            caller[1].write_eof()
            assert await service[0].read() == b"question"
            service[1].write(b"answer")
            service[1].close()
            return await caller[0].read()

    assert asyncio.run(run()) == b"answer"


def test_what_nobody_takes_is_not_kept():
    """A caller who does not read stops the service, instead of filling the memory of the lab."""

    async def run() -> int:
        async with through_a_forward() as (caller, service):
            caller[1].transport.pause_reading()
            service[1].transport.set_write_buffer_limits(0)
            sent, chunk = 0, bytes(65536)
            with suppress(TimeoutError):
                while sent < 100_000_000:
                    service[1].write(chunk)
                    await asyncio.wait_for(service[1].drain(), 1.0)
                    sent += len(chunk)
            return sent

    assert asyncio.run(run()) < 50_000_000  # what the kernel's buffers of two connections hold


def test_a_port_in_use_is_refused_with_a_remedy():
    with PROMETHEUS.listen_outside(0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port} .* Prometheus .*PROMETHEUS_PORT={port + 1}"):
            PROMETHEUS.listen_outside(port)
