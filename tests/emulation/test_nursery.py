"""The nursery: nodes that it forks are processes of the lab as any other, each in the network of its host."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from eloquent.emulation.nursery import NodeProcess, Nursery, niceness
from eloquent.errors import EmulationError

REFLECT = ("reflect", "--bind", "127.0.0.1:0")
VIEW = ("--client", "c1", "--schemes", "eloquent", "--edge", "127.0.0.1:1", "--session-seconds", "0.1")
Make = Callable[..., NodeProcess]


def with_nursery(folder: Path, use: Callable[[Make, Nursery], Coroutine[None, None, None]], pid: int) -> None:
    async def run() -> None:
        nursery = Nursery(folder)
        await nursery.start()
        nodes: list[NodeProcess] = []

        def make(node: str, *flags: str, talks: bool = False) -> NodeProcess:
            where = {"host": "c1", "pid": pid, "log": folder / f"{node}.log"}
            nodes.append(NodeProcess(f"the {node} of c1", node, flags, nursery=nursery, talks=talks, **where))
            return nodes[-1]

        try:
            await use(make, nursery)
        finally:
            await asyncio.gather(*(node.stop() for node in nodes))
            await nursery.stop()

    asyncio.run(run())


def process_name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def network_of(pid: int) -> Path:
    return Path(f"/proc/{pid}/ns/net").readlink()


def sockets_of(pid: int) -> list[str]:
    descriptors = [str(descriptor.readlink()) for descriptor in Path(f"/proc/{pid}/fd").iterdir()]
    return [what for what in descriptors if what.startswith("socket:")]


@pytest.fixture
def host(namespace: Callable[[], int]) -> int:
    """A process in a network of its own."""
    return namespace()


@pytest.mark.namespaces
def test_a_node_is_born_ready_and_ends_when_asked(host: int, tmp_path: Path) -> None:
    async def use(make: Make, _: Nursery) -> None:
        node = make("link_probe", *REFLECT)
        await node.start()
        await node.wait_ready()
        pid = node.process.pid
        assert process_name(pid) == "c1-link_probe"
        assert network_of(pid) == network_of(host)
        assert len(sockets_of(pid)) == 1, "its own, none of its siblings' or of the nursery's"
        await node.stop()
        assert node.process.returncode == 0
        with pytest.raises(FileNotFoundError):
            process_name(pid)

    with_nursery(tmp_path, use, host)


@pytest.mark.namespaces
def test_a_node_that_talks_is_heard_and_told(host: int, tmp_path: Path) -> None:
    async def use(make: Make, _: Nursery) -> None:
        viewer = make("viewer", *VIEW, "--start-on-order", talks=True)
        await viewer.start()
        await viewer.wait_ready()
        await viewer.write_line('{"start_at": 0}')
        told = [await viewer.read_line() for _ in range(3)]
        assert '"order_taken"' in told[0]
        assert '"outcome": "unavailable"' in told[1]
        assert '"rounds_done"' in told[2]
        assert await viewer.process.wait() == 0

    with_nursery(tmp_path, use, host)


@pytest.mark.namespaces
@pytest.mark.parametrize(
    ("flags", "end"),
    [
        (("reflect", "--bind", "nowhere"), "exit status 2: error: "),
        (("dance",), "exit status 2: usage: "),
    ],
)
def test_a_node_that_cannot_begin_is_told_with_its_last_words(
    host: int, tmp_path: Path, flags: tuple[str, ...], end: str
) -> None:
    async def use(make: Make, _: Nursery) -> None:
        node = make("link_probe", *flags)
        await node.start()
        with pytest.raises(EmulationError, match=f"the link_probe of c1 ended with {end}"):
            await node.wait_ready()

    with_nursery(tmp_path, use, host)


@pytest.mark.namespaces
def test_one_that_was_killed_says_so_and_its_siblings_live(host: int, tmp_path: Path) -> None:
    async def use(make: Make, _: Nursery) -> None:
        nodes = [make("link_probe", *REFLECT) for _ in range(20)]
        await asyncio.gather(*(node.start() for node in nodes))
        nodes[3].process.kill()
        assert await nodes[3].process.wait() == -9
        assert all(node.is_running for number, node in enumerate(nodes) if number != 3)
        await asyncio.gather(*(node.stop() for node in nodes))

    with_nursery(tmp_path, use, host)


@pytest.mark.namespaces
def test_without_the_nursery_no_node_starts(host: int, tmp_path: Path) -> None:
    async def use(make: Make, nursery: Nursery) -> None:
        await nursery.process.stop()
        with pytest.raises(EmulationError, match="the nursery "):
            await make("link_probe", *REFLECT).start()

    with_nursery(tmp_path, use, host)


def test_a_process_that_works_for_many_hosts_has_the_share_of_many() -> None:
    assert niceness(1) == 0
    for hosts in (2, 25, 50):
        assert 1.25 ** -niceness(hosts) == pytest.approx(hosts, rel=0.12)
    assert niceness(1000) == -19


@pytest.mark.processes
def test_who_imports_it_leaves_no_file_open() -> None:
    words = (sys.executable, "-W", "error", "-c", "import eloquent.emulation.nursery")
    assert subprocess.run(words, capture_output=True, text=True, check=True).stderr == ""
