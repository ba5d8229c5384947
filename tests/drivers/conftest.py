"""A loop whose clock jumps to the next deadline, and UDP that never leaves the process."""

import asyncio
import selectors
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

Address = tuple[str, int]


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """The selector loop with virtual time: where it would sleep, its clock jumps instead.

    Datagram sockets made on it are in memory: `fate` says, for each datagram, after how many seconds (none or several) it
    arrives. `log` keeps what was sent, with instant and sender.
    """

    def __init__(self, fate: Callable[[Address, bytes], list[float]]) -> None:
        super().__init__(_JumpingSelector(self))
        self.clock = 0.0
        self.fate = fate
        self.log: list[tuple[float, Address, bytes]] = []
        self.sockets: dict[Address, MemoryTransport] = {}
        self._clock_resolution = 1e-12  # seconds: a timer fires at its instant, not a tick before

    def time(self) -> float:
        return self.clock

    async def create_datagram_endpoint(  # type: ignore[override]  # only what the driver uses
        self, factory: Any, local_addr: Address | None = None, remote_addr: Address | None = None
    ) -> Any:
        address = local_addr if local_addr and local_addr[1] else ("10.0.0.1", 1000 + len(self.sockets))
        protocol = factory()
        transport = MemoryTransport(self, protocol, address, remote_addr)
        self.sockets[address] = transport
        return transport, protocol


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise AssertionError("nothing will ever happen")
        scheduled = self._loop._scheduled  # type: ignore[attr-defined]  # the exact instant, not a difference that rounds
        if timeout > 0 and scheduled:
            self._loop.clock = max(self._loop.clock, scheduled[0]._when)
        return super().select(0)


class MemoryTransport:
    """What the driver needs of a datagram transport."""

    def __init__(self, loop: VirtualTimeLoop, protocol: Any, address: Address, remote: Address | None) -> None:
        self._loop, self._protocol, self._address, self._remote = loop, protocol, address, remote

    def sendto(self, data: bytes, addr: Address | None = None) -> None:
        target = addr or self._remote
        assert target is not None
        self._loop.log.append((self._loop.time(), self._address, data))
        for delay in self._loop.fate(self._address, data):
            self._loop.call_at(self._loop.time() + delay, self._arrive, target, data)

    def _arrive(self, target: Address, data: bytes) -> None:
        if (other := self._loop.sockets.get(target)) is not None:
            other._protocol.datagram_received(data, self._address)

    def get_extra_info(self, name: str) -> Any:
        assert name == "sockname"
        return self._address

    def close(self) -> None:
        self._loop.sockets.pop(self._address, None)


@pytest.fixture
def virtual() -> Iterator[Any]:
    loops: list[VirtualTimeLoop] = []

    def run(main: Callable[[VirtualTimeLoop], Any], fate: Callable[[Address, bytes], list[float]]) -> VirtualTimeLoop:
        loop = VirtualTimeLoop(fate)
        loops.append(loop)
        loop.run_until_complete(main(loop))
        return loop

    yield SimpleNamespace(run=run)
    for loop in loops:
        loop.close()
