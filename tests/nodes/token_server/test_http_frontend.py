"""The token server's HTTP endpoint, asked over real sockets."""

import asyncio
import contextlib
import json
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import httpx
import pytest

from eloquent.calls import chat, names
from eloquent.measure.asking import OpenAiAsker, ask_once
from eloquent.nodes.token_server.model import Limits
from eloquent.records.rows import StreamRow, read_rows

PATH = "/v1/chat/completions"


def asking(prompt="Count to 3", *, gap=0.01, stream=True, **more):
    extension = {"token_gap_s": gap} | more.pop("eloquent", {})
    messages = [{"role": "user", "content": prompt}]
    return {"model": "m", "stream": stream, "messages": messages, "eloquent": extension} | more


def owner(number, client="c1"):
    return dict(names.owner_metadata(client=client, scheme="sse", session=f"{client}.sse.r{number}"))


@asynccontextmanager
async def http(port):
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client:
        yield client


def events_of(text):
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


def test_an_answer_is_streamed_as_openai_does(server):
    async def run():
        async with server(http=True) as (port, counts), http(port.http) as client:
            before = time.monotonic_ns()
            response = await client.post(PATH, json=asking(stream_options={"include_usage": True}))
            return response, before, time.monotonic_ns(), counts("generated_tokens_total")

    response, before, after, generated = asyncio.run(run())
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert response.text.endswith("data: [DONE]\n\n")
    role, *contents, end, usage = events_of(response.text)
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [event["choices"][0]["delta"]["content"] for event in contents] == ["1", ",", " 2", ",", " 3"]
    assert [event["eloquent"]["index"] for event in contents] == [0, 1, 2, 3, 4]
    times = [event["eloquent"]["generated_at_ns"] for event in contents]
    assert before < times[0] < times[4] < after
    assert times == sorted(times)
    assert end["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    assert usage["usage"] == {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    assert {event["object"] for event in (role, *contents, end, usage)} == {"chat.completion.chunk"}
    assert len({event["id"] for event in (role, *contents, end, usage)}) == 1
    assert generated == 5


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_an_answer_may_be_whole_and_be_cut(server, field):
    async def run():
        async with server(http=True) as (port, _), http(port.http) as client:
            return [await client.post(PATH, json=asking(stream=False, **{field: most})) for most in (3, 5)]

    cut, whole = (response.json() for response in asyncio.run(run()))
    assert cut["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "1, 2"}, "finish_reason": "length"}
    ]
    assert whole["choices"][0]["finish_reason"] == "stop"


def test_each_token_is_a_write_of_its_own_at_once(server):
    """The pieces that arrive are the events, at the pace of the tokens."""

    async def run():
        async with server(http=True) as (port, _), http(port.http) as client:
            async with client.stream("POST", PATH, json=asking(gap=0.1)) as response:
                pieces = [(time.monotonic(), piece) async for piece in response.aiter_raw()]
            return [(at, piece) for at, piece in pieces if b'"eloquent"' in piece]

    pieces = asyncio.run(run())
    assert [piece.count(b'"eloquent"') for _, piece in pieces] == [1] * 5
    assert pieces[-1][0] - pieces[0][0] > 0.3


def accepted_from(client):
    """Return a duplicate of the server's end, which is in this process, of a client's connection."""
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            connection = socket.socket(fileno=os.dup(int(descriptor.name)))
        except OSError:  # no socket, or the descriptor of that list itself
            continue
        with contextlib.suppress(OSError):  # not connected
            if connection.getpeername() == client:
                return connection
        connection.close()
    raise AssertionError(f"nobody is connected from {client}")


def test_small_writes_wait_for_no_acknowledgement(server):
    async def run():
        async with (
            server(http=True) as (port, _),
            http(port.http) as client,
            client.stream("POST", PATH, json=asking()) as response,
        ):
            with accepted_from(response.extensions["network_stream"].get_extra_info("client_addr")) as connection:
                return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    assert asyncio.run(run())


def test_the_first_token_may_be_delayed(server):
    async def run():
        async with server(http=True) as (port, _), http(port.http) as client:
            start = time.monotonic()
            await client.post(PATH, json=asking(gap=0, eloquent={"first_token_delay_s": 0.2}))
            return time.monotonic() - start

    assert asyncio.run(run()) >= 0.2


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        (
            asking(eloquent={"token_gap_s": 10.5}),
            "eloquent.token_gap_s",
            "eloquent.token_gap_s is 10.5 s; this server takes 0 s to 10 s",
        ),
        (
            asking(eloquent={"first_token_delay_s": -1}),
            "eloquent.first_token_delay_s",
            "eloquent.first_token_delay_s is -1 s",
        ),
        (
            asking(eloquent={"source": "nobody"}),
            "eloquent.source",
            "eloquent.source cannot be used: no token source 'nobody'",
        ),
        (asking(max_tokens=101), "max_tokens", "max_tokens is 101; this server gives at most 100"),
        (
            asking(max_completion_tokens=101),
            "max_completion_tokens",
            "max_completion_tokens is 101; this server gives at most 100",
        ),
        (asking("é" * 501), "messages", "messages: the prompt has 1002 bytes; this server takes 1000"),
        (asking(max_tokens=0), "max_tokens", "max_tokens: Input should be greater than or equal to 1"),
        (asking(eloquent={"token_gap": 0.1}), "eloquent.token_gap", "no such field"),
        (asking(tool_choice="required"), "tool_choice", "tool_choice: this model calls no tools"),
        ({"model": "m", "messages": []}, "messages", "messages: "),
        ({"messages": [{"role": "user", "content": "x"}]}, "model", "model: Field required"),
        ([], None, "an object"),
        (None, None, "JSON"),
    ],
)
def test_what_is_out_of_range_is_a_bad_request(server, body, param, message):
    async def run():
        limits = Limits(tokens=100, prompt_bytes=1000)
        async with server(limits=limits, http=True) as (port, _), http(port.http) as client:
            return await client.post(PATH, content=b"{" if body is None else json.dumps(body))

    response = asyncio.run(run())
    error = response.json()["error"]
    assert (response.status_code, error["type"], error["code"]) == (400, "invalid_request_error", "invalid_argument")
    assert error["param"] == param
    assert message in error["message"]


def test_models_health_and_what_is_not_there(server):
    async def run():
        async with server(http=True) as (port, _), http(port.http) as client:
            return [await client.get(path) for path in ("/v1/models", "/health", "/v1/nothing", PATH)]

    models, health, missing, wrong = asyncio.run(run())
    assert [model["object"] for model in models.json()["data"]] == ["model"]
    assert health.status_code == 200
    for response, status in ((missing, 404), (wrong, 405)):
        assert response.status_code == status
        assert response.json()["error"]["type"] == "invalid_request_error"


def test_a_model_is_told_by_its_name(server):
    async def run():
        async with server(http=True) as (port, _), http(port.http) as client:
            listed = (await client.get("/v1/models")).json()["data"]
            known = await client.get(f"/v1/models/{listed[0]['id']}")
            return listed, known, [await client.get(f"/v1/models/{name}") for name in ("gpt-4o", "some/model", "")]

    listed, known, unknown = asyncio.run(run())
    assert (known.status_code, known.json()) == (200, listed[0])
    for response in unknown:
        error = response.json()["error"]
        assert (response.status_code, error["code"], error["param"]) == (404, "not_found", "model")
        assert "only 'eloquent'" in error["message"]


def test_both_doors_share_one_limit(server, client, until):
    async def run():
        async with (
            server(limits=Limits(streams=1), http=True) as (port, counts),
            client(port) as asker,
            http(port.http) as chats,
        ):
            call = asker.ask("Count to 1000", gap=0.05)
            await call.read()
            refused = await chats.post(PATH, json=asking())
            call.cancel()
            await until(lambda: counts("active_generations") == 0)
            response = await chats.post(PATH, json=asking())
            async with chats.stream("POST", PATH, json=asking("Count to 1000")) as stream:
                pieces = stream.aiter_raw()  # kept: one that is collected closes the answer
                await anext(pieces)
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await asker.answer("Count to 3")
            return refused, response, caught.value.code()

    refused, response, code = asyncio.run(run())
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "resource_exhausted"
    assert "1 streams" in refused.json()["error"]["message"]
    assert response.status_code == 200
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_the_production(server, until, stream):
    async def run():
        async with server(http=True) as (port, counts):
            async with http(port.http) as client:
                call = asyncio.create_task(client.post(PATH, json=asking("Count to 1000", gap=0.02, stream=stream)))
                await until(lambda: counts("generated_tokens_total") >= 3)
                call.cancel()
            await until(lambda: counts("active_generations") == 0)
            generated = counts("generated_tokens_total")
            await asyncio.sleep(0.2)
            assert counts("generated_tokens_total") == generated
            return generated, counts("cancelled_streams_total")

    generated, cancelled = asyncio.run(run())
    assert generated < 100
    assert cancelled == 1


def test_a_client_that_leaves_before_the_first_token_is_noticed(server, until):
    async def run():
        async with server(http=True) as (port, counts):
            async with http(port.http) as client:
                call = asyncio.create_task(client.post(PATH, json=asking(eloquent={"first_token_delay_s": 60})))
                await until(lambda: counts("active_generations") == 1)
                call.cancel()
            await until(lambda: counts("active_generations") == 0)

    asyncio.run(run())


def test_streams_are_accounted_as_grpc_s_are(server, until, tmp_path):
    log = tmp_path / "server.csv"

    async def run():
        async with server(http=True, log=log, clients=["c1"]) as (port, counts), http(port.http) as client:
            for number in (0, 1, 2):  # one right after the other, on one connection
                await client.post(PATH, json=asking(), headers=owner(number))
            await until(lambda: counts("original_bytes_total", client="c1", scheme="sse") > 0)

    asyncio.run(run())
    rows = list(read_rows(log, StreamRow))
    assert [row.session for row in rows] == ["c1.sse.r1", "c1.sse.r2"]  # round 0 is background
    for row in rows:
        assert (row.scheme, row.tokens) == ("sse", 5)
        assert row.redundant_bytes <= row.original_bytes  # a starved loopback repeats its tail, too
        assert row.wire_bytes > row.original_bytes + 52 * row.packets  # framing and headers


def test_the_measurement_study_can_ask_it(server):
    async def run():
        async with server(http=True) as (port, _):
            asker = OpenAiAsker(url=f"http://127.0.0.1:{port.http}/v1", model="m", prompt="Count to 2")
            return await asyncio.to_thread(ask_once, asker)

    answer = asyncio.run(run())
    assert (answer.outcome, len(answer.tokens)) == ("ok", 3)


def test_as_a_process_it_drains_and_cuts_what_outlasts_the_grace_time(start_node, free_port):
    port = free_port()
    listeners = ("--listen", f"127.0.0.1:{free_port()}", "--http", f"127.0.0.1:{port}")
    node = start_node("token_server", *listeners, "--grace", 1.5)
    with (
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client,
        client.stream("POST", PATH, json=asking("Count to 900", gap=0.05)) as long,
    ):
        pieces = long.iter_raw()
        next(pieces)
        with client.stream("POST", PATH, json=asking("Count to 5", gap=0.1)) as short:
            rest = short.iter_raw()
            next(rest)
            node.process.terminate()
            assert b"".join(rest).endswith(chat.DONE)
        refused = client.post(PATH, json=asking())
        with pytest.raises(httpx.RemoteProtocolError):
            list(pieces)
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "unavailable"
    assert node.wait() == (0, "")


def test_as_a_process_that_ends_it_says_so_and_refuses_a_whole_answer_it_cannot_complete(start_node, free_port):
    port = free_port()
    listeners = ("--listen", f"127.0.0.1:{free_port()}", "--http", f"127.0.0.1:{port}")
    node = start_node("token_server", *listeners, "--grace", 1.5)
    with (
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client,
        ThreadPoolExecutor() as others,
    ):
        assert (client.get("/health").status_code, client.get("/health").json()) == (200, {"status": "ok"})
        long, short = (
            others.submit(client.post, PATH, json=asking(f"Count to {number}", gap=0.1, stream=False))
            for number in (900, 5)
        )
        time.sleep(0.3)
        node.process.terminate()
        time.sleep(0.3)
        health = client.get("/health")
        cut, whole = long.result(), short.result()
    status, said = node.wait()
    assert (health.status_code, health.json()) == (503, {"status": "draining"})
    assert whole.json()["choices"][0]["message"]["content"] == "1, 2, 3, 4, 5"
    assert (cut.status_code, cut.json()["error"]["code"]) == (503, "unavailable")
    assert "shutting down" in cut.json()["error"]["message"]
    assert status == 0
    assert said == ""


def test_a_port_in_use_is_one_sentence_and_exit_status_2(start_node, free_port):
    port = free_port()
    start_node("token_server", "--listen", f"127.0.0.1:{port}")
    listeners = ("--listen", f"127.0.0.1:{free_port()}", "--http", f"127.0.0.1:{port}")
    status, error = start_node("token_server", *listeners, ready=False).wait()
    assert status == 2
    assert f"cannot listen on 127.0.0.1:{port}" in error
    assert "Traceback" not in error
