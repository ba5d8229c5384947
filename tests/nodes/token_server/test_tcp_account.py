import asyncio
import gc
import os
import socket
from contextlib import ExitStack, contextmanager

import pytest

from eloquent.nodes.common.stream_record import Spent
from eloquent.nodes.token_server.tcp_account import (
    TcpAccountant,
    TcpReading,
    content_spent,
    find_connection,
    spent_between,
)


@contextmanager
def connected(host="127.0.0.1", family=socket.AF_INET):
    with (
        socket.create_server((host, 0), family=family, dualstack_ipv6=family == socket.AF_INET6) as listener,
        socket.create_connection(("127.0.0.1", listener.getsockname()[1])) as client,
        listener.accept()[0] as server,
    ):
        yield server, client, (f"ipv4:127.0.0.1:{client.getsockname()[1]}", ("127.0.0.1", listener.getsockname()[1]))


def receive(client, size):
    client.settimeout(5)
    while size:
        size -= len(client.recv(size))


def test_two_readings_tell_what_was_sent_between_them(until):
    with connected() as (server, client, _):
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


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_connection_is_found_by_its_peer_in_either_family(family):
    if family == socket.AF_INET6 and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with connected("::" if family == socket.AF_INET6 else "127.0.0.1", family) as (server, _, ends):
        found = find_connection(*ends)
        assert found is not None
        with found:
            assert found.getsockname() == server.getsockname()


@pytest.mark.parametrize("peer", ["", "unix:/tmp/x", "ipv4:127.0.0.1:1", "ipv4:nonsense", "ipv6:%5B::1%5D:1"])
def test_a_peer_without_a_connection_has_none(peer):
    assert find_connection(peer, ("127.0.0.1", 1)) is None


@contextmanager
def both_connected(listening="127.0.0.1"):
    """One client whose connections to two listeners of this process leave from the same address and port."""
    with ExitStack() as opened:
        listeners = [opened.enter_context(socket.create_server((listening, 0))) for _ in range(2)]
        ports, servers, clients, source = [one.getsockname()[1] for one in listeners], [], [], 0
        for listener, port in zip(listeners, ports, strict=True):
            client = opened.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            client.bind(("127.0.0.1", source))
            client.connect(("127.0.0.1", port))
            source = client.getsockname()[1]
            clients.append(client)
            servers.append(opened.enter_context(listener.accept()[0]))
        yield servers, clients, f"ipv4:127.0.0.1:{source}", ports


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "localhost"])
def test_of_two_connections_of_one_peer_the_one_to_this_listener_is_found(host):
    with both_connected() as (servers, _, peer, ports):
        for server, port in zip(servers, ports, strict=True):
            found = find_connection(peer, (host, port))
            assert found is not None
            with found:
                assert found.getsockname() == server.getsockname()


def test_looking_at_a_connection_leaves_it_as_it_is():
    with connected() as (server, _, ends):
        server.setblocking(False)
        found = find_connection(*ends)
        assert found is not None
        with found:
            assert not os.get_blocking(server.fileno())


def test_a_connection_to_another_address_of_ours_is_not_taken():
    with connected() as (_, _, (peer, (_, port))):
        assert find_connection(peer, ("127.0.0.2", port)) is None


def test_streams_to_two_listeners_from_one_port_are_accounted_each_for_itself():
    async def run():
        books = Books()
        with both_connected() as (servers, clients, peer, ports):
            ends = [books.begin((peer, ("127.0.0.1", port))) for port in ports]
            for server, client, size in zip(servers, clients, (300, 50), strict=True):
                server.sendall(b"x" * size)
                receive(client, size)
            for end in ends:
                end()
            await books.accountant.settle(5)
        return books

    books = asyncio.run(run())
    assert books.reasons == []
    assert [spent.original_bytes for spent in books.spent] == [300, 50]


class Books:
    """What an accountant said."""

    def __init__(self, **options):
        self.spent, self.reasons = [], []
        self.accountant = TcpAccountant(self.reasons.append, **options)

    def begin(self, ends, **known):
        return self.accountant.begin(*ends, self.spent.append, **known)


def test_streams_one_after_the_other_are_accounted_each_for_itself():
    async def run():
        books = Books()
        with connected() as (server, client, ends):
            for size in (100, 2000):
                end = books.begin(ends)
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
        with connected() as (server, client, ends):
            end = books.begin(ends)
            server.sendall(b"x" * 100)
            receive(client, 100)
            await until(lambda: TcpReading.of(server).waiting == 0)
            end()
            end = books.begin(ends)
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
        with connected() as (_, _, ends):
            first, second, third = [books.begin(ends) for _ in range(3)]
            second()
            await asyncio.sleep(0.2)
            late = books.begin(ends)  # beside the two that are still open
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
        with connected() as (server, _, ends):
            end = books.begin(ends)
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
        with connected() as (server, client, ends):
            end = books.begin(ends)
            server.sendall(b"x" * 70)
            receive(client, 70)
            client.close()
            server.close()
            end()
            await books.accountant.settle(5)
        return books

    assert [spent.original_bytes for spent in asyncio.run(run()).spent] == [70]


def test_a_stream_of_an_unknown_peer_is_told():
    books = Books()
    books.begin(("ipv4:127.0.0.1:1", ("127.0.0.1", 1)))()
    assert books.reasons == ["not_found"]


def test_a_connection_that_the_server_tells_is_not_looked_for(monkeypatch):
    monkeypatch.setattr("eloquent.nodes.token_server.tcp_account.own_tcp_sockets", lambda: pytest.fail("it looked"))

    async def run():
        books = Books()
        with connected() as (server, client, ends):
            end = books.begin(ends, descriptor=server.fileno())
            server.sendall(b"x" * 70)
            receive(client, 70)
            server.close()
            end()
            await books.accountant.settle(5)
        return books

    assert [spent.original_bytes for spent in asyncio.run(run()).spent] == [70]


def test_a_connection_that_is_closed_already_is_told():
    books = Books()
    with connected() as (server, _, ends):
        pass
    books.begin(ends, descriptor=server.fileno())()
    assert books.reasons == ["not_found"]
