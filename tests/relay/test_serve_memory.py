"""Memory of a relay pair of real processes, whose clients do not read and whose edge falls silent: it is flat."""

import asyncio
import random
import secrets
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from eloquent import schemes
from eloquent.api.v1.exchange_pb2 import HttpRequest
from eloquent.protocol.session import StreamToken
from eloquent.relay.exchange import ANSWER_ID_SIZE, encode_begin
from eloquent.relay.sealed import udp
from eloquent.relay.sealed.key import load_key

pytestmark = pytest.mark.processes

ANSWERS = 8
EVENT = b"data: " + random.Random(1).randbytes(2000).hex().encode() + b"\n\n"
REST = 2.0  # seconds without a further event of the model's, after which no more is taken
OF_AN_ANSWER = 8 << 20  # bytes: 1 MiB that the origin keeps, and what is under way, with what Python takes for it
BUFFERS = 16 << 20  # bytes of the kernel's, for a connection


class EndlessModel:
    """A model server that writes as fast as it may, without an end."""

    def __init__(self) -> None:
        self.events = 0
        self.wrote_at = 0.0

    async def stream(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        transport = request.transport
        try:
            while True:
                await response.write(EVENT)
                self.events += 1
                self.wrote_at = asyncio.get_running_loop().time()
        finally:
            if transport is not None:
                transport.abort()  # what waits will not be read

    def rests(self) -> bool:
        return asyncio.get_running_loop().time() - self.wrote_at > REST


async def grown(relays: Any, model: EndlessModel, before: dict[str, int], relaying: Any) -> dict[str, int]:
    """Wait until the model is held up, and return the bytes by which each relay has grown."""
    await relaying.until(model.rests, patience=60.0)
    return {role: relays.memory(role) - bytes_before for role, bytes_before in before.items()}


def test_clients_that_stop_reading_hold_up_the_model_and_take_little(make_relays: Any, relaying: Any) -> None:
    async def main() -> None:
        model = EndlessModel()
        async with relaying.serving(model.stream) as url, aiohttp.ClientSession(read_bufsize=1 << 12) as client:
            relays = await asyncio.to_thread(make_relays, url)
            before = {role: relays.memory(role) for role in ("origin", "edge")}
            responses = [await client.post(relays.url) for _ in range(ANSWERS)]
            for response in responses:
                await response.content.readany()
            growth = await grown(relays, model, before, relaying)
            print(f"{ANSWERS} clients that do not read: {growth}, {model.events * len(EVENT)} bytes of the model's")
            assert all(more < ANSWERS * OF_AN_ANSWER for more in growth.values())
            assert model.events * len(EVENT) < ANSWERS * (OF_AN_ANSWER + BUFFERS)
            for response in responses:
                response.close()

    relaying.run(main(), within=120.0)


@pytest.mark.parametrize("scheme", ["eloquent-packed", "retransmit"])
def test_a_peer_that_asks_and_falls_silent_takes_little(make_relays: Any, relaying: Any, scheme: str) -> None:
    async def main() -> None:
        model = EndlessModel()
        async with relaying.serving(model.stream) as url:
            relays = await asyncio.to_thread(make_relays, url)
            host, port = relays.between.split(":")
            before = {"origin": relays.memory("origin")}
            begun: set[int] = set()

            def on_event(event: Any) -> None:
                if isinstance(event, StreamToken):
                    begun.add(event.stream_id)

            path = await relaying.Path.open((host, int(port)))
            peer = await udp.connect(path.address, schemes.get, on_event, key=load_key(relays.key_file))
            for _ in range(ANSWERS):
                asked = HttpRequest(method="POST", target="/v1/chat/completions")
                peer.open_stream(encode_begin(secrets.token_bytes(ANSWER_ID_SIZE), asked), scheme=scheme)
            await relaying.until(lambda: len(begun) == ANSWERS)
            path.is_down = True
            growth = await grown(relays, model, before, relaying)
            print(
                f"{ANSWERS} answers of a silent peer, {scheme}: {growth}, {model.events * len(EVENT)} bytes of the model's"
            )
            assert growth["origin"] < ANSWERS * OF_AN_ANSWER
            assert model.events * len(EVENT) < ANSWERS * (OF_AN_ANSWER + BUFFERS)
            peer.close()
            path.close()

    relaying.run(main(), within=120.0)
