"""Every way to the answers, against a real token server and real relays; and from which network each asks."""

import asyncio
import time
import urllib.request
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import ExitStack, aclosing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from eloquent import asking, process
from eloquent.asking import Addresses, AsyncClient
from eloquent.asking.grpc import AsyncGrpcClient
from eloquent.asking.library import AsyncLibraryClient
from eloquent.asking.sse import AsyncSseClient
from eloquent.calls import names
from eloquent.calls.answer import AnswerFailed, AnswerToken
from eloquent.errors import ConfigurationError
from eloquent.records.run_directory import RunDirectory

pytestmark = pytest.mark.processes

COUNT_TO_3 = ["1", ",", " 2", ",", " 3"]
WAYS = [
    "grpc",
    "sse",
    "quic-stream",
    "quic-datagram-stock",
    "openai",
    "eloquent-quic",
    "eloquent/edge",
    "eloquent/library",
    "duplicate-2/library",
]
PATIENCE = 20.0  # seconds


@dataclass(frozen=True)
class Asked:
    """A question; the fields of `asking.Question`."""

    prompt: str = "Count to 3"
    max_tokens: int = 100
    token_gap: float = 0.01
    deadline: float = PATIENCE

    @property
    def tokens(self) -> int:
        return self.max_tokens


LONG = Asked("Count to 1000", 2000, 0.1)


@dataclass(frozen=True)
class Way:
    """A client in a test, and the server that it asks."""

    client: AsyncClient
    scheme: str
    metrics: str = ""

    def answer(self, asked: Asked, *, of: str = "c1") -> AsyncGenerator[AnswerToken, None]:
        metadata = names.owner_metadata(client=of, scheme=self.scheme, session=f"{of}.{self.scheme}.r1")
        return self.client.answer(asked, metadata)

    async def read(self, asked: Asked | None = None, *, of: str = "c1") -> list[str]:
        async with aclosing(self.answer(asked or Asked(), of=of)) as answer:
            return [token.text async for token in answer]

    async def outcome(self, asked: Asked | None = None) -> str:
        with pytest.raises(AnswerFailed) as caught:
            await self.read(asked)
        return caught.value.outcome

    async def generating(self, wanted: int) -> None:
        """Wait until the server is generating so many answers."""
        async with asyncio.timeout(PATIENCE):
            while await asyncio.to_thread(self._generating) != wanted:  # noqa: ASYNC110  (the server sets no event)
                await asyncio.sleep(0.02)

    def _generating(self) -> float:
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=5) as page:
            lines = page.read().decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("eloquent_active_generations "))


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on a loop such as nodes have."""
    with asyncio.Runner(loop_factory=process.new_loop) as runner:
        return runner.run(work)


Test = Callable[[Way], Coroutine[Any, Any, Any]]


@pytest.fixture(params=WAYS)
def run_by(request: pytest.FixtureRequest, servers: Any) -> Callable[[Test], Any]:
    """Runs a test with a client of each way."""
    scheme, _, via = request.param.partition("/")
    addresses, metrics = servers

    async def with_client(test: Test) -> Any:
        client = asking.connect(scheme, addresses, via=via or "edge", shares=True)
        try:
            return await test(Way(client, scheme, metrics))
        finally:
            await client.close()

    return lambda test: run(with_client(test))


def test_sessions_one_after_the_other_and_side_by_side(run_by: Any) -> None:
    async def test(way: Way) -> list[list[str]]:
        await way.client.connect()
        one_by_one = [await way.read(), await way.read()]
        return one_by_one + await asyncio.gather(*(way.read() for _ in range(10)))

    assert run_by(test) == [COUNT_TO_3] * 12


def test_tokens_say_when_they_were_made(run_by: Any) -> None:
    async def test(way: Way) -> list[float]:
        async with aclosing(way.answer(Asked())) as answer:
            return [token.generated_s async for token in answer]

    before = time.monotonic()
    assert all(before < made_s < time.monotonic() for made_s in run_by(test))


def test_the_answer_is_as_long_as_was_asked_for(run_by: Any) -> None:
    assert len(run_by(lambda way: way.read(Asked("Tell me a story", 17, 0)))) == 17


def test_an_answer_that_is_closed_is_cancelled_at_the_server(run_by: Any) -> None:
    async def test(way: Way) -> list[str]:
        async with aclosing(way.answer(LONG)) as answer:
            assert (await anext(answer)).text == "1"
            await way.generating(1)
        await way.generating(0)
        return await way.read()

    assert run_by(test) == COUNT_TO_3


def test_a_reader_that_is_cancelled_leaves_at_once(run_by: Any) -> None:
    async def test(way: Way) -> list[str]:
        reading = asyncio.create_task(way.read(replace(LONG, token_gap=10.0, deadline=60.0)))
        await way.generating(1)
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(reading, 5)
        await way.generating(0)
        return await way.read()

    assert run_by(test) == COUNT_TO_3


def test_a_deadline_that_passes_is_an_outcome(run_by: Any) -> None:
    async def test(way: Way) -> str:
        outcome = await way.outcome(replace(LONG, token_gap=0.05, deadline=0.4))
        await way.generating(0)
        return outcome

    assert run_by(test) == "deadline_exceeded"


def test_what_the_server_refuses_has_the_same_outcome_by_every_way(run_by: Any) -> None:
    async def test(way: Way) -> list[str]:
        outcomes = [await way.outcome(Asked(token_gap=11.0))]
        readers = [asyncio.create_task(way.read(LONG)) for _ in range(20)]
        await way.generating(20)
        outcomes.append(await way.outcome())
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        await way.generating(0)
        return outcomes

    assert run_by(test) == ["invalid_argument", "resource_exhausted"]


def test_an_answer_without_a_token_has_not_come(run_by: Any) -> None:
    assert run_by(lambda way: way.outcome(Asked("Count to 0"))) == "data_loss"


@pytest.mark.parametrize(
    "make",
    [AsyncGrpcClient, AsyncSseClient, lambda target: AsyncLibraryClient(target, "eloquent")],
    ids=["grpc", "sse", "library"],
)
def test_nobody_there(make: Callable[[str], AsyncClient], free_port: Callable[[], int]) -> None:
    async def ask() -> str:
        client = make(f"127.0.0.1:{free_port()}")
        await client.connect()
        outcome = await Way(client, "grpc").outcome(Asked(deadline=0.5))
        await client.close()
        return outcome

    assert run(ask()) in {"unavailable", "deadline_exceeded"}  # a relay may yet come up


def test_a_scheme_that_does_not_exist_and_an_address_that_is_none(servers: Any) -> None:
    with pytest.raises(ConfigurationError, match="'pigeon' is not a scheme"):
        asking.connect("pigeon", servers[0])
    with pytest.raises(ConfigurationError, match="'nowhere' is not an address"):
        asking.connect("sse", replace(servers[0], http_server="nowhere"))


@pytest.mark.namespaces
def test_each_connection_leaves_from_the_network_of_its_host(
    namespace: Callable[[], int], node: Any, tmp_path: Path
) -> None:
    """The same addresses are other nodes in each network: whom they served, their logs tell."""
    ways = [("grpc", "edge"), ("sse", "edge"), ("quic-stream", "edge"), ("quic-datagram-stock", "edge")]
    ways += [("eloquent", "edge"), ("eloquent", "library"), ("duplicate-2", "library")]
    ports = Addresses(*(f"127.0.0.1:{port}" for port in (50051, 8000, 8443, 50052, 8001, 8002, 7000)))
    hosts = {name: Path(f"/proc/{namespace()}/ns/net") for name in ("c1", "c2")}

    async def ask_all() -> None:
        clients = [
            (host, Way(asking.connect(scheme, ports, network=network, via=via, shares=shares), scheme))
            for host, network in hosts.items()
            for scheme, via in ways
            for shares in (True, False)
        ]
        try:
            answers = await asyncio.gather(*(way.read(of=host) for host, way in clients for _ in range(3)))
        finally:
            for _, way in clients:
                await way.client.close()
        assert answers == [COUNT_TO_3] * len(clients) * 3

    with ExitStack() as nodes:
        for name, network in hosts.items():
            logs = ("--run-dir", tmp_path / name, "--known-clients", ",".join(hosts))
            listeners = ("--listen", ports.token_server, "--http", ports.http_server, "--quic", ports.quic_server)
            nodes.enter_context(node("token_server", *listeners, *logs, network=network))
            upstream = ("--listen", ports.origin_relay, "--schemes", "any", "--upstream", ports.token_server)
            nodes.enter_context(node("origin_relay", *upstream, *logs, network=network))
            edge = ("--listen", ports.edge_relay, "--origin", ports.origin_relay)
            nodes.enter_context(node("edge_relay", *edge, network=network))
        run(ask_all())
        for name in hosts:
            served = {row.client for row in RunDirectory(tmp_path / name).streams()}
            assert served == {name}
