"""HTTP/3 at the token server, asked by the testbed's own client on loopback."""

import asyncio
import json
from contextlib import aclosing

import pytest

from eloquent import schemes
from eloquent.calls import chat, names
from eloquent.calls.answer import AnswerFailed
from eloquent.http3.chat import ask_chat
from eloquent.http3.client import Http3Client
from eloquent.records.rows import StreamRow, read_rows

BETWEEN = [None, "eloquent-packed", "eloquent", "retransmit"]


def scheme_of(between):
    return None if between is None else schemes.get(between)


def owner(scheme, number=1):
    return dict(names.owner_metadata(client="c1", scheme=scheme, session=f"c1.{scheme}.r{number}"))


async def texts(client, prompt, *, gap=0.01, headers=None, between=None):
    question = chat.question(prompt, token_gap_s=gap)
    async with aclosing(ask_chat(client, question, headers or {}, scheme_of(between))) as tokens:
        return [token.text async for token in tokens]


async def whole(client, method, path, content=b"", **named):
    """Return a response's status and body."""
    status, body = 0, b""
    async with client.ask(method, path, content=content, **named) as answer:
        async for came in answer:
            if isinstance(came, int):
                status = came
            else:
                body += came
    return status, body


def serving(server, work, **options):
    """Run some work against a server; its client and the server's metrics go in."""

    async def run():
        async with server(quic="cubic", **options) as (port, counts):
            client = Http3Client(f"127.0.0.1:{port.quic}")
            try:
                return await work(client, counts)
            finally:
                await client.close()

    return asyncio.run(run())


@pytest.mark.parametrize("between", BETWEEN)
def test_many_answers_at_once_on_one_connection(server, between):
    async def work(client, _):
        return await asyncio.gather(*(texts(client, f"Count to {n}", gap=0.005, between=between) for n in range(1, 21)))

    answers = serving(server, work)
    assert ["".join(answer) for answer in answers] == [
        ", ".join(str(one) for one in range(1, n + 1)) for n in range(1, 21)
    ]


@pytest.mark.parametrize(("scheme", "between"), [("quic-stream", None), ("quic-datagram-stock", "eloquent-packed")])
def test_an_answer_that_had_its_connection_alone_is_accounted(server, until, tmp_path, scheme, between):
    async def work(client, counts):
        for number in (1, 2):
            before = counts("wire_bytes_total", client="c1", scheme=scheme)
            await texts(client, "Count to 20", headers=owner(scheme, number), between=between)
            await until(lambda: counts("wire_bytes_total", client="c1", scheme=scheme) > before)  # noqa: B023
        return counts

    counts = serving(server, work, log=tmp_path / "streams.csv", clients=("c1",))
    rows = list(read_rows(tmp_path / "streams.csv", StreamRow))
    assert [row.session for row in rows] == [f"c1.{scheme}.r1", f"c1.{scheme}.r2"]
    for row in rows:
        assert row.tokens == 39
        assert row.original_bytes > 39 * 2
        assert row.redundant_bytes >= 0
        assert 0 < row.packets < 400
        # A packet has headers of IPv4 and UDP, a byte, eight of the connection id, a packet number and the seal's 16.
        assert row.wire_bytes > 28 * row.packets + 26 * row.packets
        assert row.congestion_control == ""
    assert counts("wire_bytes_total", client="c1", scheme=scheme) == sum(row.wire_bytes for row in rows)


def test_answers_that_share_a_connection_have_no_account(server, tmp_path):
    async def work(client, counts):
        await asyncio.gather(*(texts(client, "Count to 5", headers=owner("quic-stream", n)) for n in (1, 2)))
        return counts

    counts = serving(server, work, log=tmp_path / "streams.csv")
    assert not list(read_rows(tmp_path / "streams.csv", StreamRow))
    assert counts("unaccounted_streams_total", reason="shared") == 2


def test_all_else_that_the_server_tells_over_http_is_told_here_too(server):
    async def work(client, _):
        return [
            await whole(client, "GET", "/health"),
            await whole(client, "GET", "/nowhere"),
            await whole(client, "POST", chat.PATH, b"nonsense"),
            await whole(client, "POST", chat.PATH, b"x" * 9_000_000),
            await whole(client, "POST", chat.PATH, b"nonsense", scheme=schemes.get("eloquent")),
        ]

    (health, body), *refused = serving(server, work)
    assert (health, json.loads(body)) == (200, {"status": "ok"})
    assert [status for status, _ in refused] == [404, 400, 400, 400]
    for _, body in refused:
        assert json.loads(body)["error"]["type"] == "invalid_request_error"


def test_what_is_no_scheme_of_datagrams_is_answered_on_the_stream(server):
    async def work(client, _):
        question = chat.question("Count to 3", token_gap_s=0)
        return [
            await whole(client, "POST", chat.PATH, question, headers={"x-eloquent-datagrams": name})
            for name in ("nonsense", "grpc", "openai")
        ]

    for status, body in serving(server, work):
        assert status == 200
        assert body.endswith(chat.DONE)


@pytest.mark.parametrize("between", BETWEEN[:2])
def test_a_server_that_ends_breaks_the_answer_off(server, between):
    async def run():
        async with server(quic="reno") as (port, counts):
            client = Http3Client(f"127.0.0.1:{port.quic}")
            asking = asyncio.create_task(texts(client, "Count to 1000", gap=0.05, between=between))
            while counts("active_generations") == 0:  # noqa: ASYNC110  (what is waited for sets no event)
                await asyncio.sleep(0.01)
        with pytest.raises(AnswerFailed) as caught:
            await asyncio.wait_for(asking, 10)
        await client.close()
        return caught.value.outcome

    assert asyncio.run(run()) == "unavailable"


def test_a_client_connects_again_when_its_connection_has_ended(server):
    async def run():
        async with server(quic="reno") as (port, _):
            client = Http3Client(f"127.0.0.1:{port.quic}")
            first = await texts(client, "Count to 2")
            client._connection.close()
            async with asyncio.timeout(10):
                while client._connection.is_open:  # noqa: ASYNC110  (what is waited for sets no event)
                    await asyncio.sleep(0.01)
            second = await texts(client, "Count to 2")
            await client.close()
            return first, second

    assert asyncio.run(run()) == (["1", ",", " 2"], ["1", ",", " 2"])
