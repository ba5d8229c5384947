"""What an origin relay keeps and lets in: answers by their ids, and nobody but its model server asked."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from aiohttp import web

from eloquent import schemes
from eloquent.api.v1.exchange_pb2 import Ask, GrpcCall, HttpField, HttpRequest, Outcome
from eloquent.drivers.udp import UdpClient, UdpServer
from eloquent.errors import RemoteProtocolError
from eloquent.protocol.session import StreamEnded, StreamToken
from eloquent.relay.exchange import decode_ask, decode_outcome, encode_begin, encode_resume
from eloquent.relay.origin import Origin
from eloquent.relay.upstreams.base import Sink

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


def test_nothing_is_kept_of_a_request_beyond_the_limit_of_answers(relaying: Any) -> None:
    async def main() -> None:
        async with relaying.pair(answer, max_answers=0) as pair:
            async with pair.client.get(pair.url + "/v1/models", headers={"eloquent-event-ids": "1"}) as response:
                assert response.status == 503
                assert response.headers["x-should-retry"] == "true"
                assert "0 answers" in (await response.json())["error"]["message"]
            assert not pair.origin._answers

    relaying.run(main())


@pytest.mark.parametrize("max_asked", [0, 1_000_000])
def test_what_was_asked_is_not_kept_once_there_is_an_answer(relaying: Any, max_asked: int) -> None:
    """Whoever gives it: the model server, or the relay because it holds too many long requests."""

    async def main() -> None:
        async with relaying.pair(answer, max_asked=max_asked) as pair:
            headers = {"eloquent-event-ids": "1"}
            async with pair.client.post(pair.url + CHAT, data=bytes(100_000), headers=headers) as response:
                assert response.status == (200 if max_asked else 503)
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


class Asked:
    """A model server for calls, which answers with one token and waits; notes who is asked, and who has left.

    Attributes:
        methods: Of the calls that run.
    """

    def __init__(self) -> None:
        self.methods: list[str] = []

    async def ask(self, call: GrpcCall, sink: Sink) -> bytes:
        self.methods.append(call.method)
        try:
            sink.put(b"one")
            await asyncio.Event().wait()
        finally:
            self.methods.remove(call.method)
        raise AssertionError


@asynccontextmanager
async def origin_for_calls(model: Asked, *, keep: float) -> AsyncIterator[Origin]:
    origin = Origin(grpc=model, keep=keep)
    await origin.open("127.0.0.1:0")
    try:
        yield origin
    finally:
        await origin.drain(0.0)
        origin.server.close()


async def ask_raw(origin: Origin, request: bytes) -> tuple[UdpClient, list[Any]]:
    """Send a request, and return the client and what comes."""
    came: list[Any] = []
    client = await UdpClient.connect(origin.server.address, schemes.get, came.append)
    client.open_stream(request, scheme="eloquent")
    return client, came


def test_a_request_that_no_model_server_is_for_is_unsupported_and_nonsense_invalid(relaying: Any) -> None:
    http = encode_begin(b"i" * 16, HttpRequest(method="GET", target="/"))

    async def main() -> None:
        async with origin_for_calls(Asked(), keep=0.0) as origin:
            for request, kind in ((http, Outcome.UNSUPPORTED), (b"\xff\xff", Outcome.INVALID)):
                client, came = await ask_raw(origin, request)
                await relaying.until(lambda came=came: came)
                assert decode_outcome(came[0].trailer).kind == kind
                client.close()

    relaying.run(main())


def test_who_comes_back_before_the_session_is_lost_goes_on_though_nothing_is_kept(relaying: Any) -> None:
    async def main() -> None:
        model = Asked()
        async with origin_for_calls(model, keep=0.0) as origin:
            first, came = await ask_raw(origin, encode_begin(b"i" * 16, GrpcCall(method="m")))
            await relaying.until(lambda: came)
            first.abandon()
            second, more = await ask_raw(origin, encode_resume(b"i" * 16, 0))
            await relaying.until(lambda: more)
            assert more[0].data == b"one"
            assert model.methods == ["m"]
            second.close()
            await relaying.until(lambda: not model.methods)  # whoever leaves does not want it

    relaying.run(main())


@pytest.mark.parametrize("keep", [0.0, 60.0])
def test_the_call_of_a_session_that_is_lost_is_ended_when_it_is_not_kept(relaying: Any, keep: float) -> None:
    async def main() -> None:
        model = Asked()
        async with origin_for_calls(model, keep=keep) as origin:
            client, came = await ask_raw(origin, encode_begin(b"i" * 16, GrpcCall(method="m")))
            await relaying.until(lambda: came)
            client.abandon()
            (session,) = origin.server.endpoint.sessions
            session.lose("nothing came", now=asyncio.get_running_loop().time())
            for event in iter(session.next_event, None):
                origin.on_event(origin.server, session, event)
            await asyncio.sleep(0.1)
            assert model.methods == ([] if keep == 0.0 else ["m"])

    relaying.run(main())


class Strangers:
    """Takes everybody for a stranger whose first byte of the method is `s`, and lets nobody ask for `forbidden`."""

    def restrict(self, ask: Ask, address: Any) -> bool:
        if ask.grpc.method.endswith("forbidden"):
            raise RemoteProtocolError("not this")
        return ask.grpc.method.startswith("s")


def test_strangers_have_a_share_of_the_answers_and_ask_what_they_may(relaying: Any) -> None:
    async def main() -> None:
        model = Asked()
        origin = Origin(grpc=model, keep=0.0, max_answers=4, max_strangers_answers=2)
        server = await origin.admit("127.0.0.1:0", partial(UdpServer.bind, scheme_of=schemes.get), guard=Strangers())
        clients = []

        async def ask(number: int, method: str) -> Any:
            client = await UdpClient.connect(server.address, schemes.get, (came := []).append)
            clients.append(client)
            client.open_stream(encode_begin(bytes([number]) * 16, GrpcCall(method=method)), scheme="eloquent")
            await relaying.until(lambda: came)
            return came[0].data if isinstance(came[0], StreamToken) else decode_outcome(came[0].trailer)

        assert [await ask(number, "stranger") for number in (1, 2)] == [b"one"] * 2
        refused = await ask(3, "stranger")
        assert (refused.kind, "has 2 answers, which is its limit" in refused.message) == (Outcome.REFUSED, True)
        assert [await ask(number, "friend") for number in (4, 5)] == [b"one"] * 2
        assert (await ask(6, "friend")).kind == (await ask(7, "stranger")).kind == Outcome.REFUSED
        forbidden = await ask(8, "s forbidden")
        assert (forbidden.kind, forbidden.message) == (Outcome.INVALID, "not this")
        assert (origin.strangers_answers, origin.refused) == (2, 3)
        assert sorted(model.methods) == ["friend", "friend", "stranger", "stranger"]
        clients[0].close()
        await relaying.until(lambda: origin.strangers_answers == 1)
        assert await ask(9, "stranger") == b"one"
        for client in clients[1:]:
            client.close()
        await origin.drain(0.0)
        origin.close()

    relaying.run(main())
