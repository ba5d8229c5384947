"""Both relays as processes, sealed: whoever is killed or stopped in the middle of an answer, it never looks whole."""

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

EVENTS = [b'data: {"choices":[{"delta":{"content":"%d"}}]}\n\n' % i for i in range(60)] + [b"data: [DONE]\n\n"]
PATIENCE = 60.0  # seconds


class Relays:
    """An origin and an edge, each of which a test may kill, stop and start again."""

    def __init__(self, folder: Path, model: str) -> None:
        self.processes: dict[str, subprocess.Popen[str]] = {}
        key = folder / "key"
        subprocess.run([sys.executable, "-m", "eloquent.cli", "key", str(key)], check=True, timeout=PATIENCE)
        between, front = free_address(socket.SOCK_DGRAM), free_address(socket.SOCK_STREAM)
        self.url = f"http://{front}/v1/chat/completions"
        self._words = {
            "origin": ("--key-file", str(key), "--upstream", model, "--listen", between),
            "edge": ("--key-file", str(key), "--origin", between, "--listen", front),
        }

    def start(self, role: str) -> None:
        words = [sys.executable, "-m", "eloquent.cli", role, *self._words[role]]
        self.processes[role] = process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    def end(self, role: str, by: signal.Signals) -> int:
        process = self.processes.pop(role)
        process.send_signal(by)
        status = process.wait(PATIENCE)
        assert process.stdout is not None
        process.stdout.close()
        return status


def free_address(kind: socket.SocketKind) -> str:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def make_relays(tmp_path: Path) -> Iterator[Any]:
    made: list[Relays] = []

    def make(model: str) -> Relays:
        made.append(Relays(tmp_path, model))
        for role in ("origin", "edge"):
            made[-1].start(role)
        return made[-1]

    yield make
    for relays in made:
        for role in list(relays.processes):
            relays.end(role, signal.SIGKILL)


async def read(response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
    """Return what comes from now on, and whether it ends cleanly."""
    data = bytearray()
    try:
        async for piece in response.content.iter_any():
            data += piece
    except aiohttp.ClientError:
        return bytes(data), False
    return bytes(data), True


@pytest.mark.parametrize("who", ["nobody", "origin", "edge", "model"])
def test_an_answer_is_whole_or_ends_with_an_error_whoever_is_killed(make_relays: Any, relaying: Any, who: str) -> None:
    async def main() -> None:
        cut = asyncio.Event()

        async def stream(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            for event in EVENTS:
                await response.write(event)
                await asyncio.sleep(0.03)
                if cut.is_set() and request.transport is not None:
                    request.transport.abort()
            return response

        async with relaying.serving(stream) as model, aiohttp.ClientSession() as client:
            relays = await asyncio.to_thread(make_relays, model)
            async with client.post(relays.url) as response:
                first = await response.content.readuntil(b"\n\n")
                if who == "model":
                    cut.set()
                elif who != "nobody":
                    await asyncio.to_thread(relays.end, who, signal.SIGKILL)
                    await asyncio.to_thread(relays.start, who)
                rest, is_clean = await read(response)
            whole = b"".join(EVENTS)
            if who == "nobody":
                assert (first + rest, is_clean) == (whole, True)
            else:
                events, _, error = (first + rest).partition(b'data: {"error"')
                assert whole.startswith(events)
                assert not is_clean
                assert bool(error) == (who != "edge")  # which has nobody left to say it
            cut.clear()
            async with client.post(relays.url) as response:  # and the next question is answered
                assert await read(response) == (whole, True)

    relaying.run(main())


@pytest.mark.parametrize("role", ["origin", "edge"])
def test_a_relay_that_is_stopped_ends_what_it_began(make_relays: Any, relaying: Any, role: str) -> None:
    async def main() -> None:
        async with (
            relaying.serving(relaying.event_stream(*EVENTS, gap=0.03)) as model,
            aiohttp.ClientSession() as client,
        ):
            relays = await asyncio.to_thread(make_relays, model)
            async with client.post(relays.url) as response:
                first = await response.content.readuntil(b"\n\n")
                stopping = asyncio.create_task(asyncio.to_thread(relays.end, role, signal.SIGTERM))
                rest, is_clean = await read(response)
            assert (first + rest, is_clean) == (b"".join(EVENTS), True)
            assert await stopping == 0

    relaying.run(main())
