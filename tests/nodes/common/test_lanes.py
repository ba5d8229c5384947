"""The viewer's lane of server-sent events: whole answers, and every way in which one can fail."""

import asyncio
from contextlib import aclosing, asynccontextmanager

import pytest

from eloquent.calls import chat, names
from eloquent.calls.answer import AnswerFailed
from eloquent.nodes.common.lanes import Ask, GrpcLane, SseLane
from eloquent.nodes.token_server.model import Limits

METADATA = names.owner_metadata(client="c1", scheme="sse", session="c1.sse.r1")
ASK = Ask(0.05, 0.01)


async def read(lane, ask=ASK):
    async with aclosing(lane.answer(ask, METADATA)) as answer:
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


def test_sessions_one_after_the_other_share_a_connection_and_no_two_at_once(server):
    async def run():
        async with server(http=True) as (port, _):
            lane = SseLane(f"127.0.0.1:{port.http}")
            await lane.connect()
            answers = [await read(lane), await read(lane)]
            after_two = len(lane._all)
            answers += await asyncio.gather(read(lane), read(lane))
            connections = len(lane._all)
            await lane.close()
            return answers, after_two, connections

    answers, after_two, connections = asyncio.run(run())
    assert answers == [[(0, "1"), (1, ","), (2, " 2"), (3, ","), (4, " 3")]] * 4
    assert (after_two, connections) == (1, 2)


@pytest.mark.parametrize("lane_class", [SseLane, GrpcLane])
def test_a_refusal_has_the_same_outcome_by_every_lane(server, lane_class):
    async def run():
        async with server(http=True, limits=Limits(streams=0)) as (port, _):
            lane = lane_class(f"127.0.0.1:{port.http if lane_class is SseLane else port}")
            with pytest.raises(AnswerFailed) as caught:
                await read(lane)
            await lane.close()
            return caught.value.outcome

    assert asyncio.run(run()) == "resource_exhausted"


@pytest.mark.parametrize("lane_class", [SseLane, GrpcLane])
def test_an_answer_without_a_token_has_not_come(server, lane_class):
    async def run():
        async with server(http=True) as (port, _):
            lane = lane_class(f"127.0.0.1:{port.http if lane_class is SseLane else port}")
            with pytest.raises(AnswerFailed) as caught:
                await read(lane, Ask(60, 0.05, "Count to 0"))
            await lane.close()
            return caught.value.outcome

    assert asyncio.run(run()) == "data_loss"


@pytest.mark.parametrize("lane_class", [SseLane, GrpcLane])
def test_an_answer_closed_early_is_cancelled_at_the_server(server, until, lane_class):
    async def run():
        async with server(http=True) as (port, counts):
            lane = lane_class(f"127.0.0.1:{port.http if lane_class is SseLane else port}")
            async with aclosing(lane.answer(Ask(60, 0.05), METADATA)) as answer:
                await anext(answer)
            await until(lambda: counts("active_generations") == 0)
            again = await read(lane)
            await lane.close()
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
            lane = SseLane(f"127.0.0.1:{port}")
            with pytest.raises(AnswerFailed) as caught:
                await read(lane)
            await lane.close()
            return caught.value.outcome

    assert asyncio.run(run()) == outcome


def test_a_server_that_falls_silent_meets_the_deadline(monkeypatch):
    monkeypatch.setattr(Ask, "deadline", 0.2)

    async def run():
        async with script(HEAD, end=None) as port:
            lane = SseLane(f"127.0.0.1:{port}")
            with pytest.raises(AnswerFailed) as caught:
                await read(lane)
            await lane.close()
            return caught.value.outcome

    assert asyncio.run(run()) == "deadline_exceeded"


def test_nobody_there_is_unavailable(free_port):
    async def run():
        lane = SseLane(f"127.0.0.1:{free_port()}")
        await lane.connect()  # goes on
        with pytest.raises(AnswerFailed) as caught:
            await read(lane)
        await lane.close()
        return caught.value.outcome

    assert asyncio.run(run()) == "unavailable"
