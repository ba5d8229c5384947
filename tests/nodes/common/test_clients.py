"""The viewer's client of server-sent events: whole answers, and every way in which one can fail."""

import asyncio
import json
from contextlib import aclosing, asynccontextmanager

import pytest

from eloquent import schemes
from eloquent.asking.grpc import AsyncGrpcClient
from eloquent.asking.http3 import AsyncQuicClient
from eloquent.asking.sse import AsyncSseClient
from eloquent.calls import chat, names
from eloquent.calls.answer import AnswerFailed
from eloquent.nodes.common.clients import Ask
from eloquent.nodes.token_server.model import Limits

METADATA = names.owner_metadata(client="c1", scheme="sse", session="c1.sse.r1")
ASK = Ask(0.05, 0.01)


def by_grpc(port):
    return AsyncGrpcClient(f"127.0.0.1:{port}")


def by_sse(port):
    return AsyncSseClient(f"127.0.0.1:{port.http}")


def by_quic_stream(port):
    return AsyncQuicClient(f"127.0.0.1:{port.quic}", schemes.get("quic-stream"))


def by_quic_datagrams(port):
    return AsyncQuicClient(f"127.0.0.1:{port.quic}", schemes.get("quic-datagram-stock"))


WAYS = [by_grpc, by_sse, by_quic_stream, by_quic_datagrams]


async def read(client, ask=ASK):
    async with aclosing(client.answer(ask, METADATA)) as answer:
        return [(token.index, token.text) async for token in answer]


@asynccontextmanager
async def script(data, *, end=b""):
    """A server that answers each request with the same bytes, waits until asked on, and closes."""
    connections = []

    async def serve(reader, writer):
        connections.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        if end is not None:
            writer.write(end)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        for writer in connections:
            writer.close()
        server.close()


@pytest.mark.parametrize("make", WAYS)
def test_sessions_one_after_the_other_share_a_connection_and_no_two_at_once(server, make):
    async def run():
        async with server(http=True, quic="reno") as (port, _):
            client = make(port)
            await client.connect()
            answers = [await read(client), await read(client)]
            after_two = len(client._all)
            answers += await asyncio.gather(read(client), read(client))
            connections = len(client._all)
            await client.close()
            return answers, after_two, connections

    answers, after_two, connections = asyncio.run(run())
    assert answers == [[(0, "1"), (1, ","), (2, " 2"), (3, ","), (4, " 3")]] * 4
    assert (after_two, connections) == (1, 2)


@pytest.mark.parametrize("make", WAYS)
def test_a_refusal_has_the_same_outcome_by_every_lane(server, make):
    async def run():
        async with server(http=True, quic="reno", limits=Limits(streams=0)) as (port, _):
            client = make(port)
            with pytest.raises(AnswerFailed) as caught:
                await read(client)
            await client.close()
            return caught.value.outcome

    assert asyncio.run(run()) == "resource_exhausted"


@pytest.mark.parametrize("make", WAYS)
def test_an_answer_without_a_token_has_not_come(server, make):
    async def run():
        async with server(http=True, quic="reno") as (port, _):
            client = make(port)
            with pytest.raises(AnswerFailed) as caught:
                await read(client, Ask(60, 0.05, "Count to 0"))
            await client.close()
            return caught.value.outcome

    assert asyncio.run(run()) == "data_loss"


@pytest.mark.parametrize("make", WAYS)
def test_an_answer_closed_early_is_cancelled_at_the_server(server, until, make):
    async def run():
        async with server(http=True, quic="reno") as (port, counts):
            client = make(port)
            async with aclosing(client.answer(Ask(60, 0.05), METADATA)) as answer:
                await anext(answer)
            await until(lambda: counts("active_generations") == 0)
            again = await read(client)
            await client.close()
            return again, counts("cancelled_streams_total")

    again, cancelled = asyncio.run(run())
    assert len(again) == 5
    assert cancelled == 1


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
FAILED = chat.event(chat.error_body("gone", kind="server_error", code="unavailable"))
SECOND = chat.event({"choices": [{"delta": {"content": "x"}}], "eloquent": {"index": 1, "generated_at_ns": 1}})
FOREIGN = chat.event({"choices": [{"delta": {"content": "x"}}]})


def chunked(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (b"", "unavailable"),
        (HEAD, "unavailable"),
        (HEAD + chunked(b": nothing\n\n"), "unavailable"),
        (HEAD + b"0\r\n\r\n", "data_loss"),
        (HEAD + chunked(chat.DONE) + b"0\r\n\r\n", "data_loss"),
        (HEAD + chunked(SECOND + chat.DONE) + b"0\r\n\r\n", "data_loss"),
        (HEAD + chunked(FOREIGN + chat.DONE) + b"0\r\n\r\n", "data_loss"),
        (HEAD + chunked(FAILED) + b"0\r\n\r\n", "unavailable"),
        (HEAD + chunked(b"data: nonsense\n\n") + b"0\r\n\r\n", "data_loss"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "unimplemented"),
        (b"nonsense\r\n\r\n", "unavailable"),
    ],
)
def test_what_is_no_whole_answer_is_an_outcome(data, outcome):
    async def run():
        async with script(data) as port:
            client = AsyncSseClient(f"127.0.0.1:{port}")
            with pytest.raises(AnswerFailed) as caught:
                await read(client)
            await client.close()
            return caught.value.outcome

    assert asyncio.run(run()) == outcome


def test_a_server_that_falls_silent_meets_the_deadline(monkeypatch):
    monkeypatch.setattr(Ask, "deadline", 0.2)

    async def run():
        async with script(HEAD, end=None) as port:
            client = AsyncSseClient(f"127.0.0.1:{port}")
            with pytest.raises(AnswerFailed) as caught:
                await read(client)
            await client.close()
            return caught.value.outcome

    assert asyncio.run(run()) == "deadline_exceeded"


def test_nobody_there_is_unavailable(free_port):
    async def run():
        client = AsyncSseClient(f"127.0.0.1:{free_port()}")
        await client.connect()  # goes on
        with pytest.raises(AnswerFailed) as caught:
            await read(client)
        await client.close()
        return caught.value.outcome

    assert asyncio.run(run()) == "unavailable"


def test_a_model_of_another_server_is_asked_in_plain_words_and_by_its_key(monkeypatch):
    asked, heads = [], []
    monkeypatch.setenv("UPSTREAM_KEY", "secret")

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head.decode().lower())
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        asked.append(json.loads(await reader.readexactly(length)))
        events = [chat.event({"choices": [{"index": 0, "delta": {"content": text}}]}) for text in ("Hi", "!")]
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + b"".join(events) + chat.DONE)
        writer.close()

    async def run():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        client = AsyncSseClient(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", model="tiny")
        answers = [await read(client, Ask(1.0, 0.1, words)) for words in ("Why?", "")]
        await client.close()
        server.close()
        return answers

    assert asyncio.run(run()) == [[(0, "Hi"), (1, "!")]] * 2
    assert [(one["model"], one["max_tokens"]) for one in asked] == [("tiny", 10)] * 2  # there is always a limit
    assert [one["messages"][0]["content"][:8] for one in asked] == ["Why?", "Count to"]
    assert all("\r\nauthorization: bearer secret\r\n" in head for head in heads)
