"""Answers that outlive the sessions which carry them."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"%d"},"finish_reason":null}]}\n\n'
DONE = b"data: [DONE]\n\n"
CHAT = "/v1/chat/completions"


@pytest.mark.parametrize("scheme", ["eloquent-packed", "eloquent", "retransmit"])
def test_an_answer_goes_on_after_the_edge_has_moved(relaying: Any, scheme: str) -> None:
    """A NAT that forgets the edge ends its session; the answer is asked for again, and nothing of it is lost or doubled."""
    events = [CHUNK % i for i in range(120)] + [DONE]

    async def main() -> None:
        handler = relaying.event_stream(*events, gap=0.05)
        async with relaying.pair(handler, scheme=scheme) as pair, pair.client.post(pair.url + CHAT) as response:
            await response.content.readuntil(b"\n\n")
            await pair.path.rebind()
            assert CHUNK % 0 + await response.read() == b"".join(events)

    relaying.run(main())


def test_comments_while_an_answer_is_lost_do_not_keep_it_from_being_found_again(relaying: Any) -> None:
    """The silence between two comments is shorter than the pause before an answer is asked for again."""
    events = [CHUNK % i for i in range(80)] + [DONE]

    async def main() -> None:
        handler = relaying.event_stream(*events, gap=0.05)
        async with relaying.pair(handler, keep_alive=0.1) as pair, pair.client.post(pair.url + CHAT) as response:
            await response.content.readuntil(b"\n\n")
            await pair.path.rebind()
            rest = (await response.read()).replace(b": keep-alive\n\n", b"")
            assert CHUNK % 0 + rest == b"".join(events)

    relaying.run(main())


def test_an_answer_that_nobody_comes_back_for_is_ended(relaying: Any) -> None:
    async def main() -> None:
        running: list[Any] = []

        async def forever(request: Any) -> Any:
            running.append(request)
            try:
                return await relaying.event_stream(*[CHUNK % 1] * 10_000, gap=0.05)(request)
            finally:
                running.remove(request)

        async with relaying.pair(forever, keep=0.5) as pair, pair.client.post(pair.url + CHAT) as response:
            await response.content.readuntil(b"\n\n")
            assert running
            pair.path.is_down = True
            for session in pair.origin.server.endpoint.sessions:
                pair.origin.server.close_session(session)
            for key in list(pair.origin._readers):
                pair.origin._detach(*key)
            await relaying.until(lambda: not running, 5.0)

    relaying.run(main())


WITH_IDS = {"eloquent-event-ids": "1"}
ID = re.compile(rb"id: ([0-9a-f]{32}\.\d+)(?:\r\n|\n|\r)")


def take_ids(stream: bytes) -> tuple[bytes, list[str]]:
    """Return an event stream without its ids, and these."""
    return ID.sub(b"", stream), [found.decode() for found in ID.findall(stream)]


@pytest.mark.parametrize("end", [b"\n\n", b"\r\r", b"\r\n\r\n", b"\n\r\n"])
def test_events_get_ids_where_the_client_asks_for_them(relaying: Any, end: bytes) -> None:
    events = [b": hello" + end, *(b"data: %d" % i + end for i in range(3)), b"data: [DONE]" + end, b"data: rest\r\n"]

    async def main() -> None:
        async with relaying.pair(relaying.event_stream(*events)) as pair:
            async with pair.client.post(pair.url + CHAT, headers=WITH_IDS) as response:
                stream, ids = take_ids(await response.read())
            assert stream == b"".join(events)
            assert [number.partition(".")[2] for number in ids] == ["1", "2", "3", "4", "5"]
            async with pair.client.post(pair.url + CHAT) as response:
                assert await response.read() == b"".join(events)

    relaying.run(main())


def gated(events: list[bytes]) -> tuple[Callable[..., Any], list[Any]]:
    """Return a handler that streams events, and those who are being answered by it."""
    running: list[Any] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        running.append(request)
        try:
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            for event in events:
                await response.write(event)
                await asyncio.sleep(0.02)
            return response
        finally:
            running.remove(request)

    return handle, running


def test_a_client_comes_back_for_the_rest(relaying: Any) -> None:
    """He leaves after each tenth event, and the model is asked once."""
    events = [CHUNK % i for i in range(60)] + [DONE]

    async def main() -> None:
        handle, running = gated(events)
        async with relaying.pair(handle) as pair:
            stream, headers = b"", WITH_IDS
            while DONE not in stream:
                async with pair.client.post(pair.url + CHAT, headers=headers) as response:
                    assert response.headers["content-type"].startswith("text/event-stream")
                    for _ in range(10):
                        if event := await response.content.readuntil(b"\n\n"):
                            event, (last,) = take_ids(event)
                            stream += event
                            headers = {"last-event-id": last}
                        if DONE in stream:
                            break
                assert len(running) <= 1
            assert stream == b"".join(events)

    relaying.run(main())


def test_a_client_who_does_not_come_back_stops_the_model(relaying: Any) -> None:
    async def main() -> None:
        handle, running = gated([CHUNK % 1] * 10_000)
        async with relaying.pair(handle, keep=0.5) as pair:
            async with pair.client.post(pair.url + CHAT, headers=WITH_IDS) as response:
                await response.content.readuntil(b"\n\n")
                assert running
            await relaying.until(lambda: not running, 5.0)

    relaying.run(main())


def test_the_rest_of_an_answer_that_is_over_is_there_for_a_while_and_then_an_error(relaying: Any) -> None:
    async def main() -> None:
        events = [CHUNK % i for i in range(5)] + [DONE]
        async with relaying.pair(relaying.event_stream(*events), keep=1.0) as pair:
            async with pair.client.post(pair.url + CHAT, headers=WITH_IDS) as response:
                _, ids = take_ids(await response.read())
            for had, last in enumerate(ids, start=1):
                async with pair.client.post(pair.url + CHAT, headers={"last-event-id": last}) as response:
                    assert take_ids(await response.read())[0] == b"".join(events[had:])
            await relaying.until(lambda: not pair.origin._answers)
            async with pair.client.post(pair.url + CHAT, headers={"last-event-id": ids[2]}) as response:
                assert response.status == 410
                assert "does not have this answer" in (await response.json())["error"]["message"]

    relaying.run(main())


def test_an_event_id_of_the_model_server_is_passed_on(relaying: Any) -> None:
    async def echo(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=request.headers["last-event-id"] + str("eloquent-event-ids" in request.headers))

    async def main() -> None:
        async with relaying.pair(echo) as pair:
            headers = {"last-event-id": "resp_1.7", **WITH_IDS}
            async with pair.client.post(pair.url + CHAT, headers=headers) as response:
                assert await response.text() == "resp_1.7False"

    relaying.run(main())
