"""Sealed endpoints on real sockets, through a NAT that chooses another port every so often, and beside strangers."""

import asyncio
import random
from typing import Any

import pytest

from eloquent import schemes
from eloquent.drivers.udp import UdpServer
from eloquent.protocol.session import StreamEnded, StreamFailed, StreamRequested, StreamToken
from eloquent.relay.sealed import udp

KEY = bytes(range(32))
PATIENCE = 60.0  # seconds
TOKENS = [f"token {i} ".encode() for i in range(60)]


class Nat(asyncio.DatagramProtocol):
    """Forwards what a client says from a port that can be changed; what comes for an earlier port is lost."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.inside: Any = None
        self.outside: Any = None
        self.client: Any = None
        self.ports: set[int] = set()
        self.wire: list[bytes] = []

    async def open(self) -> Any:
        self.inside, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        await self.rebind()
        return self.inside.get_extra_info("sockname")

    async def rebind(self) -> None:
        nat = self

        class Outside(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                nat.wire.append(data)
                nat.inside.sendto(data, nat.client)

        before = self.outside  # kept open until the new port is there, so that it is another one
        self.outside, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            Outside, local_addr=("127.0.0.1", 0)
        )
        self.ports.add(self.outside.get_extra_info("sockname")[1])
        if before is not None:
            before.close()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.client = addr
        self.wire.append(data)
        self.outside.sendto(data, self.server)

    def close(self) -> None:
        self.inside.close()
        self.outside.close()


class Answerer:
    """Answers every request with the tokens, 20 ms apart."""

    def __init__(self) -> None:
        self.server: UdpServer
        self.tasks: list[asyncio.Task[None]] = []

    def __call__(self, session: Any, event: Any) -> None:
        if isinstance(event, StreamRequested):
            self.tasks.append(asyncio.get_running_loop().create_task(self.answer(session, event.stream_id)))

    async def answer(self, session: Any, stream_id: int) -> None:
        for token in TOKENS:
            self.server.send_token(session, stream_id, token)
            await asyncio.sleep(0.02)
        self.server.finish(session, stream_id)


class Reader:
    def __init__(self) -> None:
        self.tokens: list[bytes] = []
        self.ends: list[Any] = []
        self.over = asyncio.Event()

    def __call__(self, event: Any) -> None:
        if isinstance(event, StreamToken):
            self.tokens.append(event.data)
        elif isinstance(event, StreamEnded | StreamFailed):
            self.ends.append(event)
            self.over.set()


async def serve() -> UdpServer:
    answerer = Answerer()
    answerer.server = await udp.bind(("127.0.0.1", 0), schemes.get, answerer, key=KEY)
    return answerer.server


@pytest.mark.parametrize("scheme", ["eloquent", "eloquent-packed", "retransmit"])
def test_row_5_a_real_nat_that_rebinds_three_times_costs_no_token(scheme: str) -> None:
    async def main() -> None:
        server = await serve()
        nat, reader = Nat(server.address), Reader()
        client = await udp.connect(await nat.open(), schemes.get, reader, key=KEY)
        client.open_stream(b"a secret question", scheme=scheme)
        async with asyncio.timeout(PATIENCE):
            for moved in (10, 25, 40):
                while len(reader.tokens) < moved:  # noqa: ASYNC110 - a reader's progress is no event
                    await asyncio.sleep(0.005)
                await nat.rebind()
            await reader.over.wait()
        assert reader.tokens == TOKENS
        assert reader.ends == [StreamEnded(0, b"")]
        assert len(nat.ports) == 4
        assert not any(b"token" in data or b"secret" in data for data in nat.wire)
        assert sum(data[0] == 0x39 for data in nat.wire) == 1
        client.close()
        nat.close()
        server.close()

    asyncio.run(main())


def test_strangers_on_real_sockets_get_no_answer_and_harm_nobody() -> None:
    async def main() -> None:
        server = await serve()
        loop, draw, heard = asyncio.get_running_loop(), random.Random(1), []

        class Stranger(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                heard.append(data)

        strangers = [(await loop.create_datagram_endpoint(Stranger, remote_addr=server.address))[0] for _ in range(5)]
        reader = Reader()
        client = await udp.connect(server.address, schemes.get, reader, key=KEY)
        other = await udp.connect(server.address, schemes.get, Reader(), key=b"x" * 32)
        client.open_stream(b"question", scheme="eloquent")
        other.open_stream(b"question", scheme="eloquent")
        async with asyncio.timeout(PATIENCE):
            while not reader.ends:
                for stranger in strangers:
                    stranger.sendto(draw.choice([b"\x30", b"\x31", b"\x21"]) + draw.randbytes(draw.randrange(1200)))
                    stranger.sendto(b"\x30" + draw.randbytes(1199))
                await asyncio.sleep(0.01)
        assert reader.tokens == TOKENS
        assert heard == []
        assert server.malformed > 100
        assert len(server.endpoint.sessions) == 1
        for end in (*strangers, client, other, server):
            end.close()

    asyncio.run(main())
