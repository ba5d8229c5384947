"""The scenarios of the QUIC network simulator on real processes: one origin, and for each scenario an edge behind a UDP proxy.

All streams run at the same time. What is decided of each datagram is drawn from a seed; when it comes is the machine's.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from eloquent.channel.link import LinkModel

pytestmark = pytest.mark.processes

EVENTS = [b'data: {"choices":[{"delta":{"content":"word %d"}}]}\n\n' % i for i in range(150)] + [b"data: [DONE]\n\n"]
GAP = 0.1  # seconds between two events: the answer takes two blackholes, three addresses
RATE, QUEUE = 125_000.0, 25  # bytes a second and packets, of a narrow link that somebody else uses


def in_bursts(data: bytes, *, draw: random.Random, left: list[int]) -> bytes | None:
    """Lose 30 % in bursts of three."""
    if not left[0] and draw.random() < 1 / 7:  # 3 lost for 7 that are not
        left[0] = 3
    left[0] -= (lost := left[0] > 0)
    return None if lost else data


def corrupted(data: bytes, *, draw: random.Random, odds: float) -> bytes:
    """Flip a bit of some datagrams."""
    if draw.random() >= odds:
        return data
    bit = draw.randrange(8 * len(data))
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@dataclass(frozen=True)
class Scenario:
    """What a path does.

    Attributes:
        delay: Seconds each way.
        fate: Decides of each datagram.
        meanwhile: Goes on while the answer does.
    """

    delay: float = 0.015
    fate: Callable[[bytes], bytes | None] = lambda data: data
    meanwhile: Callable[[Any], Coroutine[Any, Any, None]] | None = None


async def blackhole(path: Any) -> None:
    """Be on for 5 s and off for 2 s."""
    while True:
        await asyncio.sleep(5.0)
        path.is_down = True
        await asyncio.sleep(2.0)
        path.is_down = False


def rebinding(interval: float, hosts: list[str]) -> Callable[[Any], Coroutine[Any, Any, None]]:
    """Come from another port, and from the next of these addresses."""

    async def go_on(path: Any) -> None:
        while True:
            for host in hosts:
                await asyncio.sleep(interval)
                await path.rebind(host)

    return go_on


async def cross_traffic(path: Any) -> None:
    """Make the path a narrow link whose queue somebody else's datagrams fill in bursts, at nine tenths of its rate."""
    loop = asyncio.get_running_loop()
    link = LinkModel(delay=0.0, rate=RATE, queue=QUEUE, rng=random.Random(1))

    def admitted(size: int) -> bool:
        out = link.admit(size + 28, loop.time(), 0.0)
        if out is not None:
            loop.call_at(out, link.leave)
        return out is not None

    path.fate = lambda data: data if admitted(len(data)) else None
    while True:
        for _ in range(QUEUE + 5):
            admitted(1200)
        await asyncio.sleep((QUEUE + 5) * 1228 / (0.9 * RATE))


def scenarios() -> dict[str, Scenario]:
    draw, left = random.Random(1), [0]
    return {
        "delay": Scenario(delay=0.75),
        "bursts": Scenario(fate=lambda data: in_bursts(data, draw=draw, left=left)),
        "corrupt-2": Scenario(fate=lambda data: corrupted(data, draw=draw, odds=0.02)),
        "corrupt-30": Scenario(fate=lambda data: corrupted(data, draw=draw, odds=0.3)),
        "blackhole": Scenario(meanwhile=blackhole),
        "port-1": Scenario(meanwhile=rebinding(1.0, ["127.0.0.1"])),
        "port-5": Scenario(meanwhile=rebinding(5.0, ["127.0.0.1"])),
        "address": Scenario(meanwhile=rebinding(5.0, [f"127.0.0.{host}" for host in range(2, 9)])),
        "cross": Scenario(meanwhile=cross_traffic),
    }


@pytest.mark.parametrize("carrier", ["udp", "quic"])
def test_every_event_comes_once_and_in_order(make_relays: Any, relaying: Any, carrier: str) -> None:
    asked: list[str] = []

    async def model(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request.headers["scenario"])
        return await relaying.event_stream(*EVENTS, gap=GAP)(request)

    async def main() -> None:
        async with relaying.serving(model) as url, aiohttp.ClientSession() as client:
            relays = await asyncio.to_thread(make_relays, url, carrier=carrier)
            host, port = relays.between.split(":")
            paths, urls = {}, {}
            for name, scenario in scenarios().items():
                paths[name] = path = await relaying.Path.open((host, int(port)))
                path.delay, path.fate = scenario.delay, scenario.fate
                urls[name] = relays.add_edge(name, "{}:{}".format(*path.address))
            await asyncio.to_thread(relays.start, *(f"edge-{name}" for name in urls))
            moving = [
                asyncio.create_task(scenario.meanwhile(paths[name]))
                for name, scenario in scenarios().items()
                if scenario.meanwhile is not None
            ]

            async def ask(name: str) -> bytes:
                async with client.post(urls[name], headers={"scenario": name}) as response:
                    return await response.read()

            answers = await asyncio.gather(*map(ask, urls))
            for task in moving:
                assert not task.done()
                task.cancel()
            for path in paths.values():
                path.close()
            assert dict(zip(urls, answers, strict=True)) == dict.fromkeys(urls, b"".join(EVENTS))
            assert sorted(asked) == sorted(urls)

    relaying.run(main(), within=150.0)
