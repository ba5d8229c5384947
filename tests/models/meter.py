"""Stand before a model server, and let its events go at the pace of a larger model: `meter.py URL FOLDER`; prints its address.

The tiny model of the tests writes two thousand tokens a second. What passes is written to a file of FOLDER for each answer.
"""

import asyncio
import itertools
import socket
import sys
from pathlib import Path

import aiohttp
from aiohttp import web

GAP = 0.020  # seconds between two events
CONGESTION_CONTROL = b"cubic"  # what most of the world has
_OWN = {"transfer-encoding", "content-length", "connection", "keep-alive", "server", "date"}


class Meter:
    """Pass requests on, each event of an answer `GAP` after the one before it."""

    def __init__(self, url: str, folder: Path, client: aiohttp.ClientSession) -> None:
        self._url = url
        self._folder = folder
        self._client = client
        self._numbers = itertools.count()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in {*_OWN, "host"}}
        asking = self._client.request(
            request.method, self._url + request.raw_path, data=await request.read(), headers=headers
        )
        with (self._folder / str(next(self._numbers))).open("wb", buffering=0) as record:
            async with asking as answer:
                kept = {name: value for name, value in answer.headers.items() if name.lower() not in _OWN}
                response = web.StreamResponse(status=answer.status, headers=kept)
                await response.prepare(request)
                while event := await self._next_event(answer):
                    record.write(event)
                    await response.write(event)
                    await asyncio.sleep(GAP)
        return response

    async def _next_event(self, answer: aiohttp.ClientResponse) -> bytes:
        try:
            return await answer.content.readuntil(b"\n\n")
        except asyncio.IncompleteReadError as error:
            return error.partial


async def main(url: str, folder: Path) -> None:
    async with aiohttp.ClientSession(auto_decompress=False) as client:
        runner = web.ServerRunner(web.Server(Meter(url, folder, client).handle, handler_cancellation=True))
        await runner.setup()
        listener = socket.create_server(("0.0.0.0", 0))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CONGESTION_CONTROL)
        await web.SockSite(runner, listener).start()
        print(listener.getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
