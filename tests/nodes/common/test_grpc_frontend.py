import asyncio
import socket

import grpc.aio

from eloquent.calls.names import GENERATE
from eloquent.nodes.common.admission import Admission
from eloquent.nodes.common.grpc_frontend import GrpcFrontend
from eloquent.nodes.token_server.tcp_account import find_connection


def test_a_connection_outlives_an_outage_that_tcp_outlives():
    timeouts: list[int] = []
    frontend: GrpcFrontend

    async def generate(_: bytes, context: grpc.aio.ServicerContext) -> None:
        with find_connection(context.peer(), frontend.address) as connection:
            timeouts.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))

    async def run():
        nonlocal frontend
        frontend = GrpcFrontend(generate, admission=Admission(1))
        port = await frontend.open("127.0.0.1:0")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            async for _ in channel.unary_stream(GENERATE)(b""):
                pass
        await frontend.drain(1)

    asyncio.run(run())
    assert timeouts == [120_000]
