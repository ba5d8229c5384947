"""What an origin relay keeps and lets in: answers by their ids, and nobody but its model server asked."""

import asyncio
import socket
from typing import Any

import pytest
from aiohttp import web

from eloquent import schemes
from eloquent.api.v1.exchange_pb2 import HttpField, HttpRequest
from eloquent.drivers.udp import UdpClient
from eloquent.errors import RemoteProtocolError
from eloquent.protocol.session import StreamEnded
from eloquent.relay.exchange import decode_ask, encode_begin, encode_resume

CHAT = "/v1/chat/completions"


async def answer(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text=request.raw_path)


def test_answers_that_were_delivered_are_not_kept(relaying: Any) -> None:
    """The limit is of answers at once: what was delivered takes no place, however long others are kept."""

    async def main() -> None:
        async with relaying.pair(answer, max_answers=2) as pair:
            for _ in range(10):
                async with pair.client.get(pair.url + "/v1/models") as response:
                    assert (response.status, await response.read()) == (200, b"/v1/models")
            await relaying.until(lambda: not pair.origin._answers)

    relaying.run(main())


def test_a_target_that_would_lead_elsewhere_is_not_asked(relaying: Any) -> None:
    """Appended to the base, it would name another host (a target is a path, RFC 9112 §3.2.1)."""

    async def main() -> None:
        async with relaying.pair(answer) as pair, relaying.serving(answer) as elsewhere:
            host = elsewhere.removeprefix("http://")
            for target in (f"@{host}/v1/models", f"http://{host}/v1/models", f".{host}/"):
                reader, writer = await asyncio.open_connection(*pair.url.removeprefix("http://").split(":"))
                writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                status = (await reader.read()).split(b" ")[1]
                assert status == b"400", target
                writer.close()
                await writer.wait_closed()

    relaying.run(main())


def test_a_field_name_that_http_does_not_know_is_refused() -> None:
    request = HttpRequest(method="GET", target="/", fields=[HttpField(name="na\u0161", value=b"x")])
    with pytest.raises(RemoteProtocolError, match="not ASCII"):
        decode_ask(encode_begin(bytes(16), request))


@pytest.mark.parametrize("max_answers", [0, 10])
@pytest.mark.parametrize("max_asked", [0, 1_000_000])
def test_what_was_asked_is_not_kept_once_there_is_an_answer(relaying: Any, max_answers: int, max_asked: int) -> None:
    """Whoever gives it: the model server, or the relay because of one of its limits."""

    async def main() -> None:
        async with relaying.pair(answer, max_answers=max_answers, max_asked=max_asked) as pair:
            headers = {"eloquent-event-ids": "1"}
            async with pair.client.post(pair.url + CHAT, data=bytes(100_000), headers=headers) as response:
                assert response.status == (200 if max_answers and max_asked else 503)
            (kept,) = pair.origin._answers.values()
            assert kept.request.body == b""

    relaying.run(main())


def test_a_stop_tells_the_clients_of_answers_that_are_cut(relaying: Any) -> None:
    async def main() -> None:
        asked = asyncio.Event()

        async def forever(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            await response.write(b"data: 1\n\n")
            asked.set()
            await asyncio.sleep(1000)
            return response

        async with relaying.pair(forever) as pair, pair.client.post(pair.url + CHAT) as response:
            await asked.wait()
            await response.content.readuntil(b"\n\n")
            last = asyncio.create_task(response.content.readuntil(b"\n\n"))
            await asyncio.sleep(0)
            await pair.origin.drain(0.1)
            assert b'"message": "the answer was cut"' in await last

    relaying.run(main())


def test_a_stream_on_a_dead_path_does_not_hold_back_who_comes_for_its_answer(relaying: Any) -> None:
    """The answer is far longer than what waits for a reader who does not acknowledge."""
    events = [b"data: %d\n\n" % i for i in range(4000)]

    async def main() -> None:
        async with relaying.pair(relaying.event_stream(*events)) as pair:
            came: dict[str, list[Any]] = {"first": [], "second": []}
            first = await UdpClient.connect(pair.path.address, schemes.get, came["first"].append)
            first.open_stream(encode_begin(b"i" * 16, HttpRequest(method="GET", target="/")), scheme="eloquent")
            await relaying.until(lambda: came["first"])
            pair.path.is_down = True
            second = await UdpClient.connect(pair.origin.server.address, schemes.get, came["second"].append)
            second.open_stream(encode_resume(b"i" * 16, 1), scheme="eloquent")
            async with asyncio.timeout(10.0):
                await relaying.until(lambda: came["second"] and isinstance(came["second"][-1], StreamEnded))
            assert [event.data for event in came["second"][:-1]] == events
            first.close()
            second.close()

    relaying.run(main())


def test_the_metrics_hold_what_there_is(relaying: Any) -> None:
    async def main() -> None:
        async with relaying.pair(answer) as pair:
            async with pair.client.get(pair.url + "/v1/models") as response:
                assert response.status == 200
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.sendto(b"garbage", pair.origin.server.address)
            await relaying.until(lambda: pair.count("eloquent_sessions", side="origin") == 1)
            await relaying.until(lambda: pair.count("eloquent_sessions", side="edge") == 1)
            await relaying.until(lambda: pair.count("eloquent_malformed_datagrams_total", side="origin") == 1)

    relaying.run(main())
