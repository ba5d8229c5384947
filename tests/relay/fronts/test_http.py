"""HTTP through the relay pair, on real sockets: what the client gets is what the model server sent, or an error."""

import asyncio
import gzip
import hashlib
import io
import json
import random
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"%d"},"finish_reason":null}]}\n\n'
DONE = b"data: [DONE]\n\n"
CHAT = "/v1/chat/completions"


def test_an_event_stream_arrives_byte_for_byte(relaying: Any) -> None:
    """Line ends of all kinds, comments, several lines of data, an end without a blank line, an event in many pieces."""
    sent = [b": hi\r\n\r\n", b"data: 1\ndata: 2\n\n", b"event: x\r", b"data: \xff\x00\r\r", b"da", b"ta: 3\n", b"\n"]
    sent += [CHUNK % i for i in range(50)] + [DONE, b"data: rest"]

    async def main() -> None:
        async with relaying.pair(relaying.event_stream(*sent)) as pair, pair.client.post(pair.url + CHAT) as response:
            assert response.status == 200
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert response.headers["cache-control"] == "no-cache"
            assert response.headers["x-accel-buffering"] == "no"
            assert response.headers["incremental"] == "?1"
            assert await response.read() == b"".join(sent)

    relaying.run(main())


def test_each_event_comes_when_it_is_sent(relaying: Any) -> None:
    go_on = asyncio.Event

    async def main() -> None:
        more = go_on()

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            await response.write(CHUNK % 1)
            await more.wait()
            await response.write(DONE)
            return response

        async with relaying.pair(handle) as pair, pair.client.post(pair.url + CHAT) as response:
            assert await response.content.readuntil(b"\n\n") == CHUNK % 1
            more.set()
            assert await response.read() == DONE

    relaying.run(main())


def test_requests_and_answers_of_any_kind_pass_untouched(relaying: Any) -> None:
    seen: list[Any] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        seen.append((request.method, request.raw_path, await request.read(), request.headers.getall("x-two", [])))
        seen.append([request.headers.get(name) for name in ("authorization", "connection", "x-hop", "te")])
        if request.method == "HEAD":
            return web.Response(headers={"content-length": "7"})
        if request.method == "DELETE":
            return web.Response(status=204)
        response = web.Response(status=429, reason="Too Many", body=bytes(range(256)), headers={"retry-after": "7"})
        response.headers.add("set-cookie", "a=1")
        response.headers.add("set-cookie", "b=2")
        return response

    async def main() -> None:
        async with relaying.pair(handle) as pair:
            headers = [
                ("x-two", "1"),
                ("x-two", "2"),
                ("authorization", "Bearer k"),
                ("connection", "x-hop"),
                ("x-hop", "1"),
            ]
            url = URL(pair.url + "/v1/embeddings/%2Fx?a=%20b&c", encoded=True)
            async with pair.client.post(url, data=b"\x00\xffbody", headers=headers) as response:
                assert (response.status, response.reason) == (429, "Too Many")
                assert response.headers["retry-after"] == "7"
                assert response.headers["content-length"] == "256"
                assert response.headers.getall("set-cookie") == ["a=1", "b=2"]
                assert await response.read() == bytes(range(256))
            async with pair.client.head(pair.url + "/v1/models") as response:
                assert (response.status, response.headers["content-length"]) == (200, "7")
            async with pair.client.delete(pair.url + "/v1/files/1") as response:
                assert (response.status, await response.read()) == (204, b"")

    relaying.run(main())
    assert seen[0] == ("POST", "/v1/embeddings/%2Fx?a=%20b&c", b"\x00\xffbody", ["1", "2"])
    assert seen[1] == ["Bearer k", None, None, None]


def test_compressed_answers_are_unpacked_on_the_way(relaying: Any) -> None:
    text = (CHUNK % 7) * 20 + DONE

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        headers = {"content-type": "text/event-stream", "content-encoding": "gzip"}
        return web.Response(body=gzip.compress(text, mtime=0), headers=headers)

    async def main() -> None:
        async with relaying.pair(handle) as pair, pair.client.post(pair.url + CHAT) as response:
            assert "content-encoding" not in response.headers
            assert await response.read() == text

    relaying.run(main())


def test_a_request_that_is_too_long_is_refused(relaying: Any) -> None:
    async def main() -> None:
        async with relaying.pair(relaying.event_stream(DONE), max_request=1000) as pair:
            async with pair.client.post(pair.url + CHAT, data=bytes(1000)) as response:
                assert response.status == 200
            async with pair.client.post(pair.url + CHAT, data=bytes(1001)) as response:
                assert response.status == 413
                assert "1000 bytes" in (await response.json())["error"]["message"]

    relaying.run(main())


async def digest(request: web.BaseRequest) -> web.StreamResponse:
    """Answer with what was asked, in short."""
    found = hashlib.sha256()
    async for piece in request.content.iter_any():
        found.update(piece)
    return web.Response(text=found.hexdigest())


def test_the_longest_request_arrives_whole_and_one_byte_more_is_refused(relaying: Any) -> None:
    asked = random.Random(1).randbytes(32_000_000)

    async def main() -> None:
        async with relaying.pair(digest) as pair:
            async with pair.client.post(pair.url + CHAT, data=io.BytesIO(asked)) as response:
                assert await response.text() == hashlib.sha256(asked).hexdigest()
            async with pair.client.post(pair.url + CHAT, data=io.BytesIO(asked + b"x")) as response:
                assert response.status == 413

    relaying.run(main())


def test_a_long_request_outlives_the_path_that_carries_it(relaying: Any) -> None:
    """Twice the session is lost when a part of the request has come, and the session itself asks again but once."""
    asked = random.Random(1).randbytes(3_000_000)

    async def main() -> None:
        async with relaying.pair(digest) as pair:
            pair.path.loss = 0.02
            asking = asyncio.create_task(pair.client.post(pair.url + CHAT, data=io.BytesIO(asked)))
            for carried in (1000, 3000):
                await relaying.until(lambda carried=carried: pair.path.carried > carried)
                await pair.path.rebind()
            async with await asking as response:
                assert (response.status, await response.text()) == (200, hashlib.sha256(asked).hexdigest())

    relaying.run(main())


def test_a_request_that_the_origin_does_not_take_is_an_error_at_once(relaying: Any) -> None:
    async def main() -> None:
        async with (
            relaying.pair(digest, max_accepted=1000) as pair,
            pair.client.post(pair.url + CHAT, data=bytes(1_000_000)) as response,
        ):
            assert (response.status, response.headers["x-should-retry"]) == (503, "true")
            assert "longer than" in (await response.json())["error"]["message"]

    relaying.run(main())


def test_an_edge_holds_only_so_much_of_requests(relaying: Any) -> None:
    async def main() -> None:
        async with relaying.pair(digest, max_held=1_000_000) as pair:
            pair.path.is_down = True
            waiting = asyncio.create_task(pair.client.post(pair.url + CHAT, data=bytes(900_000)))
            await relaying.until(lambda: pair.count("eloquent_held_request_bytes", side="edge") == 900_000)
            async with pair.client.post(pair.url + CHAT, data=bytes(200_000)) as response:
                assert (response.status, response.headers["x-should-retry"]) == (503, "true")
            pair.path.is_down = False
            assert (await waiting).status == 200
            async with pair.client.post(pair.url + CHAT, data=bytes(200_000)) as response:
                assert response.status == 200

    relaying.run(main())


@pytest.mark.parametrize("ends", ["with an answer", "with an error"])
def test_an_origin_holds_only_so_much_of_requests(relaying: Any, ends: str) -> None:
    taken, go_on = [], asyncio.Event()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        taken.append(request)
        await go_on.wait()
        if ends == "with an error":
            assert request.transport is not None
            request.transport.abort()
        return web.Response()

    async def main() -> None:
        async with relaying.pair(handle, max_asked=1_000_000) as pair:
            waiting = asyncio.create_task(pair.client.post(pair.url + CHAT, data=bytes(900_000)))
            await relaying.until(lambda: taken)
            async with pair.client.post(pair.url + CHAT, data=bytes(200_000)) as response:
                assert response.status == 503
                assert "too many long requests" in (await response.json())["error"]["message"]
            go_on.set()
            assert (await waiting).status == (200 if ends == "with an answer" else 502)
            async with pair.client.post(pair.url + CHAT, data=bytes(200_000)) as response:
                assert response.status != 503

    relaying.run(main())


def test_a_model_server_that_is_not_there_is_an_error_of_its_own(relaying: Any) -> None:
    async def main() -> None:
        async with relaying.pair(relaying.event_stream()) as pair:
            pair.origin._http._base = "http://127.0.0.1:1"
            async with pair.client.post(pair.url + CHAT) as response:
                assert response.status == 502
                assert "cannot be asked" in (await response.json())["error"]["message"]

    relaying.run(main())


def test_more_answers_than_the_limit_are_refused_with_a_time_to_wait(relaying: Any) -> None:
    async def forever(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await asyncio.sleep(1000)
        return response

    async def main() -> None:
        async with (
            relaying.pair(forever, max_answers=1) as pair,
            pair.client.post(pair.url + CHAT),
            pair.client.post(pair.url + CHAT) as response,
        ):
            assert (response.status, response.headers["retry-after"]) == (503, "1")

    relaying.run(main())


async def read_broken(response: aiohttp.ClientResponse) -> bytes:
    """Read what comes, and see that it does not end cleanly."""
    data = bytearray()

    async def read() -> None:
        async for piece in response.content.iter_any():
            data.extend(piece)

    with pytest.raises(aiohttp.ClientPayloadError):
        await read()
    return bytes(data)


@pytest.mark.parametrize("ending", ["cut", "clean"])
def test_a_model_server_that_breaks_off_is_an_error_event_and_no_clean_end(relaying: Any, ending: str) -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(CHUNK % 1 + CHUNK % 2)
        if ending == "cut":
            request.transport.close()
        return response

    async def main() -> None:
        async with relaying.pair(handle) as pair, pair.client.post(pair.url + CHAT) as response:
            data = await read_broken(response)
        assert data.startswith(CHUNK % 1 + CHUNK % 2 + b'data: {"error"')
        error = json.loads(data.rpartition(b"data: ")[2])["error"]
        assert "the model server" in error["message"]

    relaying.run(main())


def test_other_content_that_breaks_off_does_not_end_cleanly(relaying: Any) -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-length": "100"})
        await response.prepare(request)
        await response.write(b"half of it")
        request.transport.close()
        return response

    async def main() -> None:
        async with relaying.pair(handle) as pair, pair.client.get(pair.url + "/v1/files/1/content") as response:
            assert await read_broken(response) == b"half of it"

    relaying.run(main())


@pytest.mark.parametrize("who", ["model", "network"])
def test_silence_is_filled_with_comments_and_nothing_is_lost(relaying: Any, who: str) -> None:
    async def main() -> None:
        more = asyncio.Event()

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            await response.write(CHUNK % 1)
            if who == "model":
                await more.wait()
            for i in range(2, 9):
                await response.write(CHUNK % i)
                await asyncio.sleep(0.01)
            await response.write(DONE)
            return response

        async with relaying.pair(handle, keep_alive=0.2) as pair, pair.client.post(pair.url + CHAT) as response:
            assert await response.content.readuntil(b"\n\n") == CHUNK % 1
            pair.path.is_down = who == "network"
            for _ in range(3):
                while (line := await response.content.readuntil(b"\n\n")) != b": keep-alive\n\n":
                    assert line.startswith(b"data: ")
            pair.path.is_down = False
            more.set()
            rest = (await response.read()).replace(b": keep-alive\n\n", b"")
            assert rest.endswith(b"".join(CHUNK % i for i in range(6, 9)) + DONE)

    relaying.run(main())


def test_a_model_that_is_silent_for_too_long_is_given_up(relaying: Any) -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(CHUNK % 1)
        await asyncio.sleep(1000)
        return response

    async def main() -> None:
        async with relaying.pair(handle, silence=0.3) as pair, pair.client.post(pair.url + CHAT) as response:
            assert b'{"error"' in await read_broken(response)

    relaying.run(main())


def test_a_hundred_clients_that_leave_stop_the_model_within_a_second(relaying: Any) -> None:
    async def main() -> None:
        running: list[Any] = []

        async def forever(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            running.append(request)
            try:
                while True:
                    await response.write(CHUNK % 1)
                    await asyncio.sleep(0.1)
            finally:
                running.remove(request)

        async with relaying.pair(forever) as pair:
            asked = [await pair.client.post(pair.url + CHAT) for _ in range(100)]
            for response in asked:
                await response.content.readuntil(b"\n\n")
            assert len(running) == 100
            for response in asked:
                response.close()
            await relaying.until(lambda: not running, 5.0)
            assert not pair.origin._answers

    relaying.run(main())


def test_a_client_that_never_reads_slows_the_model_down(relaying: Any) -> None:
    async def main() -> None:
        given = 0

        async def flood(request: web.BaseRequest) -> web.StreamResponse:
            nonlocal given
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            while True:
                await response.write(b"data: " + b"x" * 1000 + b"\n\n")
                given += 1000

        async with relaying.pair(flood) as pair, pair.client.post(pair.url + CHAT):
            before = -1
            while before != given:
                before = given
                await asyncio.sleep(1.0)
            assert given < 30_000_000

    relaying.run(main())
