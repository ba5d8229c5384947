import asyncio
import gc
import os
import socket
from contextlib import contextmanager

import pytest

from eloquent.nodes.common.stream_record import Spent
from eloquent.nodes.token_server.tcp_account import (
    TcpAccountant,
    TcpReading,
    content_spent,
    spent_between,
)


@contextmanager
def connected():
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
        listener.accept()[0] as server,
    ):
        yield server, client


def receive(client, size):
    client.settimeout(5)
    while size:
        size -= len(client.recv(size))


def test_two_readings_tell_what_was_sent_between_them(until):
    with connected() as (server, client):
        before = TcpReading.of(server)
        server.sendall(b"x" * 1000)
        receive(client, 1000)
        asyncio.run(until(lambda: TcpReading.of(server).waiting == 0))
        spent = spent_between(before, TcpReading.of(server))
    assert (spent.original_bytes, spent.redundant_bytes) == (1000, 0)
    assert spent.packets >= 1
    assert spent.wire_bytes == 1000 + 52 * spent.packets


def test_retransmissions_are_the_redundant_part():
    before, after = TcpReading(100, 10, 3, 0), TcpReading(1400, 310, 8, 0)
    assert spent_between(before, after) == Spent(1000, 300, 5, 1300 + 5 * 52)


@pytest.mark.parametrize(
    ("sent_once", "retransmitted", "content", "redundant"), [(3100, 310, 1570, 157), (3000, 100, 50, 2), (0, 0, 0, 0)]
)
def test_content_has_its_share_of_what_the_connection_repeated(sent_once, retransmitted, content, redundant):
    spent = content_spent(Spent(sent_once, retransmitted, 5, 4000), content)
    assert spent == Spent(content, redundant, 5, 4000)


def test_looking_at_a_connection_leaves_it_as_it_is():
    with connected() as (server, client):
        server.setblocking(False)
        asyncio.run(account_one(Books(), server, client))
        assert not os.get_blocking(server.fileno())


class Books:
    """What an accountant said."""

    def __init__(self, **options):
        self.spent, self.reasons = [], []
        self.accountant = TcpAccountant(self.reasons.append, **options)

    def begin(self, server):
        return self.accountant.begin(server.fileno(), self.spent.append)


async def account_one(books, server, client):
    end = books.begin(server)
    server.sendall(b"x" * 70)
    receive(client, 70)
    end()
    await books.accountant.settle(5)


def test_streams_one_after_the_other_are_accounted_each_for_itself():
    async def run():
        books = Books()
        with connected() as (server, client):
            for size in (100, 2000):
                end = books.begin(server)
                server.sendall(b"x" * size)
                receive(client, size)
                end()
                await books.accountant.settle(5)
        return books

    books = asyncio.run(run())
    assert [spent.original_bytes for spent in books.spent] == [100, 2000]
    assert books.reasons == []


def test_a_stream_that_begins_right_after_another_closes_its_account(until, caplog):
    async def run():
        books = Books()
        with connected() as (server, client):
            end = books.begin(server)
            server.sendall(b"x" * 100)
            receive(client, 100)
            await until(lambda: TcpReading.of(server).waiting == 0)
            end()
            end = books.begin(server)
            server.sendall(b"x" * 50)
            receive(client, 50)
            end()
            await books.accountant.settle(5)
        return books

    books = asyncio.run(run())
    assert [spent.original_bytes for spent in books.spent] == [100, 50]
    gc.collect()  # tasks that have failed say so when they are collected
    assert caplog.messages == []


def test_streams_that_share_a_connection_get_no_number():
    async def run():
        books = Books()
        with connected() as (server, _):
            first, second, third = [books.begin(server) for _ in range(3)]
            second()
            await asyncio.sleep(0.2)
            late = books.begin(server)  # beside the two that are still open
            for end in (first, third, late):
                end()
            await books.accountant.settle(5)
        return books

    books = asyncio.run(run())
    assert books.spent == []
    assert books.reasons == ["shared"] * 4


def test_a_connection_that_does_not_settle_gets_no_number():
    async def run():
        books = Books(settle_time=0.3)
        with connected() as (server, _):
            end = books.begin(server)
            server.setblocking(False)
            while server.send(bytes(1_000_000)) == 1_000_000:
                pass  # the client never reads
            end()
            await books.accountant.settle(5)
        return books

    books = asyncio.run(run())
    assert books.spent == []
    assert books.reasons == ["unsettled"]


def test_a_connection_that_is_closed_meanwhile_is_still_accounted():
    async def run():
        books = Books()
        with connected() as (server, client):
            end = books.begin(server)
            server.sendall(b"x" * 70)
            receive(client, 70)
            client.close()
            server.close()
            end()
            await books.accountant.settle(5)
        return books

    assert [spent.original_bytes for spent in asyncio.run(run()).spent] == [70]


def test_a_connection_that_is_closed_already_is_told():
    books = Books()
    with connected() as (server, _):
        pass
    books.begin(server)()
    assert books.reasons == ["closed"]
