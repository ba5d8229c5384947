import asyncio
import os
import socket

import grpc.aio

from eloquent.calls.names import GENERATE
from eloquent.rpc.server import Call
from eloquent.serving.admission import Admission
from eloquent.serving.grpc_server import GrpcServer, metadata_of


def test_a_connection_outlives_an_outage_that_tcp_outlives():
    timeouts: list[int] = []

    async def generate(_: bytes, call: Call) -> None:
        with socket.socket(fileno=os.dup(call.descriptor)) as connection:
            timeouts.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))

    async def run():
        server = GrpcServer(generate, admission=Admission(1))
        port = await server.open("127.0.0.1:0")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            async for _ in channel.unary_stream(GENERATE)(b""):
                pass
        await server.drain(1)

    asyncio.run(run())
    assert timeouts == [120_000]


def test_metadata_that_repeats_has_all_its_values():
    assert metadata_of([("x-tag", "a"), ("x-eloquent-client", "c1"), ("x-tag", "b")]) == {
        "x-tag": "a,b",
        "x-eloquent-client": "c1",
    }
