"""The relay pair for real services as a lab runs it, before the token server's HTTP."""

import asyncio
from contextlib import aclosing

from eloquent.asking.sse import AsyncSseClient
from eloquent.calls import names
from eloquent.nodes.common.clients import Ask
from eloquent.records.rows import StreamRow, read_rows

LABELS = {"client": "c1", "scheme": "openai"}


async def ask(client, *, scheme, number):
    metadata = names.owner_metadata(client="c1", scheme=scheme, session=f"c1.{scheme}.r{number}")
    async with aclosing(client.answer(Ask(0.1, 0.02), metadata)) as answer:
        return [(token.index, token.text) async for token in answer]


def test_answers_are_the_token_servers_and_what_they_cost_is_logged_and_counted(server, pair, until, tmp_path):
    log = tmp_path / "origin.csv"

    async def run():
        async with server(http=True) as (port, _), pair(port.http, log=log, clients=["c1"]) as (edge, counts, _):
            client = AsyncSseClient(f"127.0.0.1:{edge}")
            await client.connect()
            answers = [
                await ask(client, scheme=scheme, number=number)
                for scheme, number in (("openai", 0), ("openai", 1), ("openai-duplicate-2", 1))
            ]
            await until(lambda: counts("wire_bytes_total", client="c1", scheme="other") > 0)
            await client.close()
            return answers, counts("wire_bytes_total", **LABELS), counts("original_bytes_total", **LABELS)

    answers, wire, original = asyncio.run(run())
    assert answers == [[(0, "1"), (1, ","), (2, " 2"), (3, ","), (4, " 3")]] * 3
    packed, duplicated = read_rows(log, StreamRow)  # round 0 is counted, and not logged
    assert (packed.session, duplicated.session) == ("c1.openai.r1", "c1.openai-duplicate-2.r1")
    for row in (packed, duplicated):
        assert row.tokens == 5
        assert row.original_bytes > 5 * 200  # chat events, not only their words
        assert row.wire_bytes >= row.packets * (192 + 28)  # sealed and padded
    assert wire >= 1.5 * packed.wire_bytes
    assert original >= 1.9 * packed.original_bytes


def test_a_running_stream_is_shown_and_its_cost_counted_meanwhile(server, pair):
    async def run():
        async with server(http=True) as (port, _), pair(port.http, clients=["c1"]) as (edge, counts, origin):
            client = AsyncSseClient(f"127.0.0.1:{edge}")
            metadata = names.owner_metadata(client="c1", scheme="openai", session="c1.openai.r1")
            async with aclosing(client.answer(Ask(60, 0.02), metadata)) as answer:
                async for token in answer:
                    if token.index == 3:
                        break
                streams = origin.sample()
                first = counts("original_bytes_total", **LABELS)
                origin.sample()
                again = counts("original_bytes_total", **LABELS)
            await client.close()
            return streams, first, again

    streams, first, again = asyncio.run(run())
    assert [scheme for scheme, _ in streams] == ["openai"]
    assert first > 4 * 200
    assert again - first < first  # what is counted is not counted again
