"""Datagrams that are forwarded: each as it is, each source apart from the others, and no more of them than a bound."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from eloquent.emulation import udp_forward
from eloquent.emulation.udp_forward import UdpForward

PATIENCE = 20.0  # seconds; only a test that fails waits so long


def bound() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.setblocking(False)
    return made


class Echo(asyncio.DatagramProtocol):
    """A service that answers each datagram with its capitals, and remembers who sent it."""

    def __init__(self) -> None:
        self.heard: list[tuple[bytes, tuple[str, int]]] = []

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.heard.append((data, address))
        self._transport.sendto(data.upper(), address)


@asynccontextmanager
async def forwarding() -> AsyncIterator[tuple[UdpForward, tuple[str, int], Echo]]:
    loop = asyncio.get_running_loop()
    transport, echo = await loop.create_datagram_endpoint(Echo, ("127.0.0.1", 0))
    front = bound()
    forward = UdpForward(front, transport.get_extra_info("sockname"))
    yield forward, front.getsockname(), echo
    forward.close()
    transport.close()
    gc.collect()  # a socket that was left open is an error


async def ask(source: socket.socket, front: tuple[str, int], datagram: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    await loop.sock_sendto(source, datagram, front)
    return await asyncio.wait_for(loop.sock_recv(source, 65535), PATIENCE)


@pytest.mark.parametrize("length", [1, 1200, 1472, 20_000])
def test_a_datagram_goes_there_and_back_as_it_is(length: int):
    async def run() -> None:
        async with forwarding() as (_, front, echo):
            with bound() as source:
                assert await ask(source, front, b"a" * length) == b"A" * length
                assert [data for data, _ in echo.heard] == [b"a" * length]

    asyncio.run(run())


def test_the_service_tells_sources_apart_and_each_gets_its_own_answers():
    async def run() -> None:
        async with forwarding() as (forward, front, echo):
            with bound() as one, bound() as other:
                assert await ask(one, front, b"one") == b"ONE"
                assert await ask(other, front, b"other") == b"OTHER"
                assert await ask(one, front, b"again") == b"AGAIN"
            first, second, third = (address for _, address in echo.heard)
            assert first == third != second
            assert forward.sources == 2

    asyncio.run(run())


def test_sources_beyond_the_bound_are_dropped_until_one_has_been_silent_for_long(monkeypatch: pytest.MonkeyPatch):
    async def run() -> None:
        monkeypatch.setattr(udp_forward, "SOURCES", 2)
        async with forwarding() as (forward, front, _):
            with bound() as one, bound() as other, bound() as late:
                for source in (one, other):
                    await ask(source, front, b"hello")
                await asyncio.get_running_loop().sock_sendto(late, b"hello", front)
                assert await ask(one, front, b"still there?") == b"STILL THERE?"  # later than what was dropped
                assert (forward.sources, forward.dropped) == (2, 1)
                monkeypatch.setattr(udp_forward, "IDLE", 0.0)
                assert await ask(late, front, b"now?") == b"NOW?"
                assert forward.sources == 1

    asyncio.run(run())


def test_a_service_that_is_not_there_and_sources_that_have_gone_end_nothing():
    async def run() -> None:
        nobody = bound()
        address = nobody.getsockname()
        nobody.close()
        front = bound()
        where = front.getsockname()
        forward = UdpForward(front, address)
        with bound() as source:
            for _ in range(5):  # its host refuses them, which the forward's socket is told
                source.sendto(b"anybody?", where)
                await asyncio.sleep(0.02)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Echo, address)
        with bound() as gone:
            gone.sendto(b"hello", where)
        with bound() as source:
            assert await ask(source, where, b"hello") == b"HELLO"
        forward.close()
        transport.close()

    asyncio.run(run())
