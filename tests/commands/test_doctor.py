"""`eloquent doctor` against an origin relay, which is a process, through a path that loses what a seed says."""

import json
import random
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.ports import find_address, find_port
from typer.testing import CliRunner

from eloquent.cli import app

pytestmark = pytest.mark.processes

STEADY = 192  # bytes of the pings that losses are counted of


class LossyPath(threading.Thread):
    """Carries datagrams, and loses pings and pongs in bursts, each direction by a chain of its own; counts what it lost.

    Args:
        to: The origin relay.
        pings: How many pings may be lost; those that follow, and their pongs, are not.
        largest: Bytes of the largest datagram that gets through.
    """

    def __init__(self, to: tuple[str, int], *, pings: int = 0, largest: int = 65535) -> None:
        super().__init__(daemon=True)
        self.inside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.inside.bind(("127.0.0.1", 0))
        self.outside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.outside.connect(to)
        self.lost = {"up": 0, "down": 0}
        self._left = {"up": pings, "down": pings}
        self._is_bad = {"up": False, "down": False}
        self._random = random.Random(7)
        self._largest = largest
        self._client: Any = None
        self._over = False
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.inside.getsockname()[1]}"

    def run(self) -> None:
        while not self._over:
            for readable in select.select([self.inside, self.outside], [], [], 0.1)[0]:
                if readable is self.inside:
                    data, self._client = self.inside.recvfrom(65535)
                    if self._lets_through(data, "up"):
                        self.outside.send(data)
                else:
                    data = self.outside.recv(65535)
                    if self._lets_through(data, "down"):
                        self.inside.sendto(data, self._client)

    def close(self) -> None:
        self._over = True
        self.join()
        self.inside.close()
        self.outside.close()

    def _lets_through(self, data: bytes, way: str) -> bool:
        if len(data) > self._largest:
            return False
        if len(data) != STEADY or not self._left[way]:
            return True
        self._left[way] -= 1
        self._is_bad[way] = self._random.random() < (0.6 if self._is_bad[way] else 0.04)
        self.lost[way] += self._is_bad[way]
        if way == "up":
            self._left["down"] -= self._is_bad[way]  # of which there is no pong
        return not self._is_bad[way]


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("doctor") / "key"
    assert CliRunner().invoke(app, ["key", str(file)]).exit_code == 0
    return str(file)


@pytest.fixture(scope="module")
def origin(key: str) -> Iterator[tuple[str, int]]:
    address = "127.0.0.1", find_port()
    words = ["--key-file", key, "--upstream", "http://127.0.0.1:1", "--listen", "{}:{}".format(*address)]
    process = subprocess.Popen(
        [sys.executable, "-m", "eloquent.cli", "origin", *words], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield address
    process.kill()
    process.wait()
    process.stdout.close()


def ask(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["doctor", "--seconds", "4", *words])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def test_what_a_lossy_path_lost_is_told_by_direction_and_size(origin: tuple[str, int], key: str) -> None:
    """4 s of 50 pings: the counts are those of the path, to the packet."""
    path = LossyPath(origin, pings=200, largest=1400)
    url = "ws://{}:{}/".format(*origin)
    status, output = ask("--origin", path.address, "--key-file", key, "--fallback", url, "--json")
    path.close()
    found = json.loads(output)
    assert status == 0
    udp, tcp = found["udp"], found["tcp"]
    assert found["verdict"].startswith("UDP gets through, and so does TCP")
    assert found["core"] == "pure"
    assert (udp["up"]["sent"], udp["up"]["lost"]) == (200, path.lost["up"])
    assert (udp["down"]["sent"], udp["down"]["lost"]) == (200 - path.lost["up"], path.lost["down"])
    assert path.lost["up"] > 5
    assert path.lost["down"] > 5
    assert udp["up"]["mean_burst"] == pytest.approx(path.lost["up"] / udp["up"]["bursts"])
    assert 0 < udp["round_trips"]["least_s"] <= udp["round_trips"]["median_s"] <= udp["round_trips"]["p95_s"] < 4.0
    assert {size["size"]: bool(size["answered"]) for size in udp["sizes"]} == {
        size["size"]: size["size"] <= 1400 for size in udp["sizes"]
    }
    assert {1200, 1392, 1412, 1472} <= {size["size"] for size in udp["sizes"]}
    assert tcp["trouble"] is None
    assert tcp["round_trips"]["median_s"] > 0
    stalls = found["stall_ratio"]
    assert stalls["tcp"] > stalls["eloquent-packed"] >= 0


def test_it_says_so_in_plain_words_and_without_the_simulator_what_to_install(
    origin: tuple[str, int], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    status, output = ask("--origin", "{}:{}".format(*origin), "--key-file", key)
    assert status == 0
    lines = output.splitlines()
    assert lines[0] == "UDP gets through, and so does TCP, to which an edge falls back where UDP is blocked."
    assert "Lost on the way up: 0 of 200 (0.0%)." in lines
    assert "Datagrams of up to 1472 bytes pass both ways, all that were tried." in lines
    assert "The core is pure (docs/install.md)." in lines
    assert lines[-1].endswith("pip install 'eloquent-testbed[sim]'")


def test_a_blocked_udp_is_one_sentence_and_the_fallback_works(origin: tuple[str, int], key: str) -> None:
    url = "ws://{}:{}/".format(*origin)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hole:
        hole.bind(("127.0.0.1", 0))
        status, output = ask("--origin", f"127.0.0.1:{hole.getsockname()[1]}", "--key-file", key, "--fallback", url)
    assert status == 0
    assert output.splitlines()[0] == (
        "UDP does not get through: it is blocked on the way. The fallback over TCP works, and an edge will use it."
    )


def test_another_key_is_one_sentence(origin: tuple[str, int], tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["key", str(tmp_path / "other")]).exit_code == 0
    status, output = ask("--origin", "{}:{}".format(*origin), "--key-file", str(tmp_path / "other"))
    (line,) = output.splitlines()
    assert status == 1
    assert line.endswith("the origin relay has another key file, or this is none.")


def test_nobody_there_is_one_sentence(key: str) -> None:
    where = find_address()
    status, output = ask("--origin", where, "--key-file", key)
    assert status == 1
    assert output == f"Nobody listens at {where}: start the origin relay there, or name its address.\n"


def test_an_http_server_is_told_from_an_origin_relay(key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        status, output = ask("--origin", f"127.0.0.1:{server.getsockname()[1]}", "--key-file", key)
    (line,) = output.splitlines()
    assert status == 1
    assert line.startswith("Neither carrier works. UDP: nobody listens there.")
    assert line.endswith("TCP: what listens there is no origin relay (HTTP status 404).")


def test_plaintext_cannot_be_tried() -> None:
    result = CliRunner().invoke(app, ["doctor", "--origin", "127.0.0.1:1"], env={"ELOQUENT_EDGE_PLAINTEXT": "1"})
    assert result.exit_code == 1
    assert "nothing can be tried in plaintext" in result.stderr
