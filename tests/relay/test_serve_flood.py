"""A stranger's flood on a relay pair of real processes: what runs is unharmed, memory is flat, and nothing is amplified."""

import asyncio
import random
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import aiohttp
import pytest

from eloquent.relay.sealed.attempt import Attempt
from eloquent.relay.sealed.noise import Psk
from eloquent.relay.sealed.packets import COOKIE, COOKIE_SIZE, INDEX_SIZE, INITIATION, NO_BINDING, PROLOGUE

pytestmark = pytest.mark.processes

EVENTS = [b'data: {"choices":[{"delta":{"content":"word %d"}}]}\n\n' % i for i in range(100)] + [b"data: [DONE]\n\n"]
STREAMS = 4
PORTS = 100  # from which it floods
DATAGRAMS = 20_000
BURST, PAUSE = 40, 0.01  # datagrams, seconds: 4,000 a second where the machine has the time
CONNECTIONS = 100  # over TCP: more than one source may have
AMPLIFICATION = 3
GROWTH = 16 << 20  # bytes by which the origin's memory may grow, allocators and new code paths included


class Flooder:
    """One port of the stranger's, which counts what it sends and what comes back."""

    def __init__(self, origin: tuple[str, int]) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.connect(origin)
        self.sent = self.came = 0
        self.cookie = b""

    def send(self, data: bytes) -> None:
        with suppress(BlockingIOError):
            self.sent += self.socket.send(data)

    def receive(self) -> None:
        with suppress(BlockingIOError):
            while data := self.socket.recv(2048):
                self.came += len(data)
                if data[0] == COOKIE:
                    self.cookie = data[1 + INDEX_SIZE :]


def datagrams(draw: random.Random, heard: list[bytes]) -> Iterator[Callable[[Flooder], bytes]]:
    """Yield what a stranger may say, of each kind in turn: garbage, forgeries, and what he has heard on the path."""
    stranger = Psk(draw.randbytes(32), prologue=PROLOGUE)

    def forged(flooder: Flooder) -> bytes:
        data = Attempt(stranger, draw.randbytes, previous=NO_BINDING, now=0.0).take_initiation(now=0.0)
        assert data is not None
        return data

    def with_cookie(flooder: Flooder) -> bytes:
        data = bytearray(draw.choice([data for data in heard if data[0] == INITIATION]))
        data[-COOKIE_SIZE:] = flooder.cookie or draw.randbytes(COOKIE_SIZE)
        return bytes(data)

    while True:
        yield lambda flooder: draw.randbytes(draw.randrange(1, 1500))
        yield lambda flooder: bytes([draw.choice(b"\x20\x21\x25\x30\x31\x38\x39\x3a")]) + draw.randbytes(1199)
        yield forged
        yield lambda flooder: forged(flooder)[: draw.randrange(1, 1200)]
        yield lambda flooder: forged(flooder) + draw.randbytes(draw.randrange(1, 100))
        yield lambda flooder: draw.choice([data for data in heard if data[0] == INITIATION])
        yield with_cookie
        yield lambda flooder: draw.choice(heard)
        yield lambda flooder: draw.choice(heard)[:-1] + b"\0"


async def flood(origin: tuple[str, int], heard: list[bytes], *, while_: Callable[[], bool]) -> list[Flooder]:
    """Send so many datagrams while something goes on, and return the ports with their counts."""
    draw = random.Random(1)
    flooders = [Flooder(origin) for _ in range(PORTS)]
    saying = datagrams(draw, heard)
    for sent in range(0, DATAGRAMS, BURST):
        if not while_():
            break
        for flooder in draw.choices(flooders, k=BURST):
            flooder.send(next(saying)(flooder))
        await asyncio.sleep(PAUSE)
        if sent % 1000 == 0:
            for flooder in flooders:
                flooder.receive()
    await asyncio.sleep(0.5)
    for flooder in flooders:
        flooder.receive()
        flooder.socket.close()
    return flooders


def test_a_strangers_flood_harms_nobody(make_relays: Any, relaying: Any) -> None:
    async def main() -> None:
        model = relaying.event_stream(*EVENTS, gap=0.08)
        async with relaying.serving(model) as url, aiohttp.ClientSession() as client:
            metrics = relaying.free_address()
            relays = await asyncio.to_thread(make_relays, url, origin=["--metrics", metrics])
            host, port = relays.between.split(":")
            origin = host, int(port)
            path = await relaying.Path.open(origin)
            heard: list[bytes] = []
            path.fate = lambda data: heard.append(data) or data
            edge = relays.add_edge("overheard", "{}:{}".format(*path.address))
            await asyncio.to_thread(relays.start, "edge-overheard")

            async def ask(url: str) -> bytes:
                async with client.post(url) as response:
                    return await response.read()

            asked = [asyncio.create_task(ask(url)) for url in (edge, relays.url) * (STREAMS // 2)]
            await relaying.until(lambda: any(data[0] == INITIATION for data in heard) and len(heard) > 40)
            before = relays.memory("origin")
            with ExitStack() as stack:
                for number in range(CONNECTIONS):
                    connection = stack.enter_context(socket.create_connection(origin))
                    if number % 2:
                        connection.send(random.Random(number).randbytes(1000))
                flooders = await flood(origin, list(heard), while_=lambda: not all(task.done() for task in asked))
            answers = await asyncio.gather(*asked)
            growth = relays.memory("origin") - before
            path.close()
            async with client.get(f"http://{metrics}/metrics") as page:
                said = await page.text()
            dropped = float(re.findall(r"^eloquent_malformed_datagrams_total (.+)$", said, re.MULTILINE)[0])
            assert answers == [b"".join(EVENTS)] * STREAMS
            assert growth < GROWTH
            assert dropped > DATAGRAMS / 10  # so many had room in the kernel's buffer, and were looked at
            assert sum(flooder.sent for flooder in flooders) > 1_000_000
            assert all(flooder.came <= AMPLIFICATION * flooder.sent for flooder in flooders)
            assert any(
                flooder.cookie for flooder in flooders
            )  # the initiations that it has heard were those of a client
            sent, came = (sum(getattr(flooder, name) for flooder in flooders) for name in ("sent", "came"))
            most = max(flooder.came / flooder.sent for flooder in flooders)
            print(
                f"{dropped:.0f} datagrams dropped, {sent} bytes in, {came} out, at most {most:.3f} for one; {growth:+} bytes"
            )
            assert await ask(relays.url) == b"".join(EVENTS)  # and the next question is answered

    relaying.run(main())
